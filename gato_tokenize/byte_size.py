"""Sizes in bytes as a person writes and reads them."""

import re

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def size_of(text: str) -> int:
    """Return the bytes of a size as a person writes it. Raises ValueError for anything else.

    >>> size_of("2G"), size_of("1.5G"), size_of("3000000000")
    (2147483648, 1610612736, 3000000000)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)", text)
    if not found:
        raise ValueError(f"a size is written like 2G or 1500M, not {text!r}")
    return int(float(found[1]) * _UNITS[found[2]])


def size_text(count: int) -> str:
    """Write a number of bytes in the units that `size_of` reads.

    >>> size_text(999), size_text(2_500_000), size_text(2**31), size_text(1 << 45)
    ('999 bytes', '2.4 MiB', '2 GiB', '32 TiB')
    """
    for letter, unit in reversed(_UNITS.items()):
        if letter and count >= unit:
            return f"{count / unit:,.1f}".removesuffix(".0") + f" {letter}iB"
    return f"{count:,} bytes"
