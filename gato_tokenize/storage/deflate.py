"""deflate and inflate: bytes to zlib data and back, by zlib-ng, which is several times as fast as Python's zlib."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from zlib_ng import zlib_ng

_LEVEL = 2  # on frames faster than any level of zlib, and smaller than zlib's level 1
_ERROR: Any = zlib_ng.error  # its stub says that it is no class
_ZLIB_HEADER = 2  # bytes before the deflated ones
_FED = 1 << 14  # bytes that are inflated at a time: what comes out is copied while the processor's cache still holds it


def deflate(data: bytes | memoryview) -> bytes:
    """Compress to zlib data: the same bytes for the same data and the same version of zlib-ng.

    >>> inflate(deflate(b"abc"), 3)
    b'abc'
    """
    return bytes(zlib_ng.compress(data, _LEVEL))


def inflate(data: bytes, length: int) -> bytes:
    """Return the `length` bytes that `data` holds; never inflates more than one byte beyond them, whatever it claims.

    Raises ValueError if `data` is no zlib data, is cut short, or holds another number of bytes.
    """
    decoder = zlib_ng.decompressobj()
    try:
        raw: bytes = decoder.decompress(data, length + 1)
    except _ERROR as error:
        raise ValueError(f"is no zlib data: {error}") from error
    if len(raw) != length or not decoder.eof:
        raise ValueError(f"does not inflate to {length} bytes")
    return raw


def inflate_parts(data: bytes, length: int, parts: Sequence[tuple[int, NDArray[np.uint8]]]) -> None:
    """Inflate as `inflate` does, and keep only parts: each array, uint8[n], is filled with the bytes from its start on.

    The checksum at the end of the zlib data is not read, as the record has its own. Raises ValueError as `inflate`
    does; the arrays may be filled in part by then.

    >>> part = np.zeros(2, np.uint8)
    >>> inflate_parts(deflate(b"abcde"), 5, [(2, part)])
    >>> part.tobytes()
    b'cd'
    """
    if len(data) < _ZLIB_HEADER or data[0] & 15 != zlib_ng.DEFLATED or int.from_bytes(data[:_ZLIB_HEADER]) % 31:
        raise ValueError("is no zlib data: its header is another")
    decoder, at, view = zlib_ng.decompressobj(-zlib_ng.MAX_WBITS), 0, memoryview(data)
    for first in range(_ZLIB_HEADER, len(data), _FED):
        try:
            piece = np.frombuffer(decoder.decompress(view[first : first + _FED], length - at + 1), np.uint8)
        except _ERROR as error:
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
