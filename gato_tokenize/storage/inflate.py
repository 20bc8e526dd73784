"""inflate: zlib data to bytes, by zlib-ng where it is installed. It is several times as fast as Python's zlib."""

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

FASTEST: Any
try:
    from zlib_ng import zlib_ng as FASTEST
except ImportError:  # the standalone package goes without it
    FASTEST = zlib

_ZLIB_HEADER = 2  # bytes before the deflated ones
_FED = 1 << 14  # bytes that are inflated at a time: what comes out is copied while the processor's cache still holds it


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


def inflate_parts(
    data: bytes, length: int, parts: Sequence[tuple[int, NDArray[np.uint8]]], library: Any = FASTEST
) -> None:
    """Inflate as `inflate` does, and keep only parts: each array, uint8[n], is filled with the bytes from its start on.

    The checksum at the end of the zlib data is not read, as the record has its own. Raises ValueError as `inflate`
    does; the arrays may be filled in part by then.

    >>> part = np.zeros(2, np.uint8)
    >>> inflate_parts(zlib.compress(b"abcde"), 5, [(2, part)])
    >>> part.tobytes()
    b'cd'
    """
    if len(data) < _ZLIB_HEADER or data[0] & 15 != zlib.DEFLATED or int.from_bytes(data[:_ZLIB_HEADER]) % 31:
        raise ValueError("is no zlib data: its header is another")
    decoder, at, view = library.decompressobj(-zlib.MAX_WBITS), 0, memoryview(data)
    for first in range(_ZLIB_HEADER, len(data), _FED):
        try:
            piece = np.frombuffer(decoder.decompress(view[first : first + _FED], length - at + 1), np.uint8)
        except library.error as error:
            raise ValueError(f"is no zlib data: {error}") from error
        stop = at + len(piece)
        for start, into in parts:
            if start < stop and at < start + len(into):
                low, high = max(start, at), min(start + len(into), stop)
                into[low - start : high - start] = piece[low - at : high - at]
        at = stop
        if at > length or decoder.eof:
            break
    if at != length or not decoder.eof:
        raise ValueError(f"does not inflate to {length} bytes")
