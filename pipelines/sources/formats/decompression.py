"""Decompression of .gz, .zst, .xz and .bz2 as a stream of chunks, in constant memory whatever the data claims."""

import bz2
import gzip
import lzma
import os
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from gato_tokenize.byte_size import size_text

CHUNK = 2**18
MAX_WINDOW = 2**27  # bytes of content that a decompressor keeps to look back at; zstd's own limit
ZSTD_STEP = 2**10  # a zstd block of 4 bytes can grow to 128 KiB, so 1 KiB of input gives at most 32 MiB at once
_ZSTD_HEADER = 18  # bytes at most
_XZ_OVERHEAD = 2**20  # memory of a decompressor besides its window


class LimitError(ValueError):
    """Sound data that needs more than this program allows: it is no damage, and the message says how to go on."""


def decompressor(path: str) -> Callable[[BinaryIO], Iterator[bytes]] | None:
    """Return what decompresses a file of this name, None for one that is not compressed.

    It yields chunks, and never ends as if truncated data were whole: it raises EOFError for that, OSError for damage,
    and LimitError for data that needs too much memory.
    """
    return _DECOMPRESSORS.get(os.path.splitext(path)[1])


def _gunzipped(file: BinaryIO) -> Iterator[bytes]:
    unpacked = gzip.GzipFile(fileobj=file)
    while chunk := unpacked.read1(CHUNK):  # read() would lose the data before a fault
        yield chunk


def _unzstd(file: BinaryIO) -> Iterator[bytes]:
    import zstandard

    frame, header = None, b""  # zstandard's own stream reader ends a truncated frame as if it were whole
    while data := file.read(ZSTD_STEP):
        while data:
            if frame is None:
                frame, header = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).decompressobj(), b""
            header = (header + data)[:_ZSTD_HEADER]
            try:
                chunk = frame.decompress(data)
            except zstandard.ZstdError as error:
                _check_window(header)
                raise OSError(str(error)) from error
            if chunk:
                yield chunk
            data, frame = (frame.unused_data, None) if frame.eof else (b"", frame)
    if frame:
        raise EOFError("the last frame has no end")


def _check_window(header: bytes) -> None:
    import zstandard

    try:
        window = zstandard.get_frame_parameters(header).window_size
    except zstandard.ZstdError:
        return
    if window > MAX_WINDOW:
        raise LimitError(
            f"it needs a window of {size_text(window)} to be decompressed, and at most {size_text(MAX_WINDOW)} are"
            " allowed: write it again, as by `zstd -dc --long=31 OLD | zstd -o NEW`"
        )


def _unxz(file: BinaryIO) -> Iterator[bytes]:
    memory = MAX_WINDOW + _XZ_OVERHEAD
    try:
        yield from _streams(file, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=memory))
    except lzma.LZMAError as error:
        if "memory usage limit" not in str(error).lower():
            raise OSError(str(error)) from error
        raise LimitError(
            f"it needs a window of more than {size_text(MAX_WINDOW)} to be decompressed: write it again, as by"
            " `xz -dc OLD | xz -9 > NEW`"
        ) from error


def _unbz2(file: BinaryIO) -> Iterator[bytes]:
    return _streams(file, bz2.BZ2Decompressor)


def _streams(file: BinaryIO, start: Callable[[], Any]) -> Iterator[bytes]:
    """Decompress one stream after the other, between which there may be zeros."""
    stream, data = None, b""
    while True:
        if not data and (stream is None or stream.needs_input):
            data = file.read(CHUNK)
            if not data:
                break
        if stream is None and not (data := data.lstrip(b"\0")):
            continue
        stream = stream or start()
        chunk = stream.decompress(data, CHUNK)
        data, stream = (stream.unused_data, None) if stream.eof else (b"", stream)
        if chunk:
            yield chunk
    if stream:
        raise EOFError("the last stream has no end")


_DECOMPRESSORS: dict[str, Callable[[BinaryIO], Iterator[bytes]]] = {
    ".gz": _gunzipped,
    ".tgz": _gunzipped,
    ".zst": _unzstd,
    ".xz": _unxz,
    ".bz2": _unbz2,
}
