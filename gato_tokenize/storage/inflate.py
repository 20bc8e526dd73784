"""inflate: zlib data to bytes, by zlib-ng where it is installed. It is several times as fast as Python's zlib."""

import zlib
from typing import Any

FASTEST: Any
try:
    from zlib_ng import zlib_ng as FASTEST
except ImportError:  # the standalone package goes without it
    FASTEST = zlib


def inflate(data: bytes, length: int, library: Any = FASTEST) -> bytes:
    """Return the `length` bytes that `data` holds; never inflates more than one byte beyond them, whatever it claims.

    library: `zlib`, or a module with its functions.

    Raises ValueError if `data` is no zlib data, is cut short, or holds another number of bytes.

    >>> inflate(zlib.compress(b"abc"), 3)
    b'abc'
    """
    decoder = library.decompressobj()
    try:
        raw: bytes = decoder.decompress(data, length + 1)
    except library.error as error:
        raise ValueError(f"is no zlib data: {error}") from error
    if len(raw) != length or not decoder.eof:
        raise ValueError(f"does not inflate to {length} bytes")
    return raw
