"""TFRecord files: framing, checksums, and the index beside a shard. TensorFlow is not needed.

uint64 length | uint32 masked crc32c(length) | data | uint32 masked crc32c(data)        all little-endian
"""

import contextlib
import dataclasses
import hashlib
import itertools
import os
import re
import struct
from array import array
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import google_crc32c

from gato_tokenize.storage.durable import durable_file
from gato_tokenize.storage.ranges import open_stream
from gato_tokenize.storage.remote_file import open_file
from gato_tokenize.storage.store_path import Place, place

HEADER, FOOTER = 12, 4  # bytes around a record's data
MAX_RECORD_BYTES = (1 << 31) - 1  # protobuf's own limit; `ShardWriter` writes none that is longer


@dataclasses.dataclass(frozen=True)
class Damage:
    """A record that could not be read: which one, where, why, and whether the records after it are lost too."""

    path: str
    record: int  # -1: only the offset is known
    offset: int
    reason: str
    ends_shard: bool

    def __str__(self) -> str:
        rest = ", and with it the rest of the shard" if self.ends_shard else ""
        number = "the record" if self.record < 0 else f"record {self.record}"
        return f"{self.path}: {number} at byte {self.offset} is lost{rest}: {self.reason}"


class CorruptRecordError(ValueError):
    """A record is damaged; `.damage` says which."""

    def __init__(self, damage: Damage) -> None:
        super().__init__(str(damage))
        self.damage = damage

    def __reduce__(self) -> tuple[type["CorruptRecordError"], tuple[Damage]]:
        return CorruptRecordError, (self.damage,)


def masked_crc32c(data: bytes) -> int:
    """TFRecord's checksum: CRC-32C rotated right by 15 bits plus a constant.

    >>> hex(masked_crc32c(b"123456789"))
    '0xc78ab0e5'
    """
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def check_record_size(size: int) -> None:
    """Raise ValueError for a record of more bytes than any reader accepts."""
    if size > MAX_RECORD_BYTES:
        raise ValueError(f"a record of {size} bytes: readers accept at most {MAX_RECORD_BYTES}")


def frame(data: bytes) -> bytes:
    """Return one record with its framing, as it stands in the file."""
    length = struct.pack("<Q", len(data))
    return b"".join((length, struct.pack("<I", masked_crc32c(length)), data, struct.pack("<I", masked_crc32c(data))))


class ShardWriter:
    """One shard being written: `write` appends a record. Made by `shard_writer`."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self._lengths = array("Q")  # 8 bytes a record: a shard of short documents has a million of them
        self.bytes = 0

    def write(self, data: bytes) -> tuple[int, int]:
        """Append a record; returns (its offset, its length with the framing). Raises ValueError if it is too long."""
        check_record_size(len(data))
        framed = frame(data)
        self._file.write(framed)
        self._sha256.update(framed)
        extent = self.bytes, len(framed)
        self._lengths.append(len(framed))
        self.bytes += len(framed)
        return extent

    @property
    def records(self) -> int:
        return len(self._lengths)

    @property
    def extents(self) -> Iterator[tuple[int, int]]:
        """Yield what `write` returned for each record."""
        offsets = itertools.accumulate(self._lengths, initial=0)
        return zip(offsets, self._lengths, strict=False)

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()


@contextlib.contextmanager
def shard_writer(path: "str | os.PathLike[str]") -> Iterator[ShardWriter]:
    """Open a new shard at `path`. It and its index appear when the block ends well, and neither before.

    A process that is killed between the two renames leaves only the index: every shard has its index.
    """
    index = index_path(path)
    with durable_file(path) as file:
        shard = ShardWriter(file)
        yield shard
        file.flush()
        os.fsync(file.fileno())  # a full disk must be noticed before the index appears
        index.parent.mkdir(exist_ok=True)
        with durable_file(index) as text:
            text.write(index_text(shard.extents).encode())


def read_frames(path: "str | os.PathLike[str]", damaged: "list[Damage] | None" = None) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, data) of each record of a shard, with its checksums checked.

    A damaged record raises CorruptRecordError, or, if a list `damaged` is given, is appended to it and skipped. The
    shard's index (`index_path`), if there is one, leads past a damaged length, and records that it lists after the
    file's end are damage as well. Without an index a damaged length ends the shard, and a file that was cut between two
    records looks whole. Raises ValueError for a malformed index: delete it to read without one.
    """
    index = index_path(path)
    ends = [offset + length for offset, length in read_index(index)] if index.exists() else []
    with open_stream(place(path)) as file:
        size = file.seek(0, os.SEEK_END)
        offset = record = 0
        while offset < size:
            data, reason, after = _read_frame(file, offset, size)
            if data is not None:
                yield offset, data
            else:
                if after is None:  # the length cannot be trusted: go on where the index says
                    after = next((end for end in ends if offset < end <= size), None)
                _report(Damage(os.fspath(path), record, offset, reason, ends_shard=after is None), damaged)
            if after is None:
                return
            offset, record = after, record + 1
    if record < len(ends):
        reason = f"the file ends here, its index knows {len(ends)} records"
        _report(Damage(os.fspath(path), record, offset, reason, ends_shard=True), damaged)


def _report(damage: Damage, damaged: "list[Damage] | None") -> None:
    if damaged is None:
        raise CorruptRecordError(damage)
    damaged.append(damage)


def read_frame_at(path: "str | os.PathLike[str]", offset: int, record: int = -1) -> bytes:
    """Read the record that starts at byte `offset` of a file, which may lie at an address.

    Raises CorruptRecordError, which names the record as `record`.
    """
    with open_file(path) as file:
        return frame_at(file, path, offset, record)


def frame_at(file: BinaryIO, path: "str | os.PathLike[str]", offset: int, record: int = -1) -> bytes:
    """Read the record that starts at byte `offset` of an open file, which is that of `path`; raises as
    `read_frame_at` does."""
    data, reason, _ = _read_frame(file, offset, file.seek(0, os.SEEK_END))
    if data is None:
        raise CorruptRecordError(Damage(os.fspath(path), record, offset, reason, ends_shard=False))
    return data


def record_offsets(path: "str | os.PathLike[str]") -> Iterator[int]:
    """Yield the byte offset at which each record of a file starts; it may lie at an address. Only the headers are read,
    and no index.

    Raises CorruptRecordError where the next record cannot be found, because a length is damaged. A last record that is
    cut short has an offset as well.
    """
    with open_file(path) as file:
        size = file.seek(0, os.SEEK_END)
        offset = record = 0
        while offset < size:
            file.seek(offset)
            length, reason = _length(file.read(HEADER))
            if reason:
                raise CorruptRecordError(Damage(os.fspath(path), record, offset, reason, ends_shard=True))
            yield offset
            offset, record = offset + HEADER + length + FOOTER, record + 1


def _length(header: bytes) -> tuple[int, str]:
    """(the length of a record's data, what is wrong with its header)."""
    if len(header) < HEADER:
        return 0, f"the file ends inside its header, {HEADER - len(header)} bytes short"
    length, crc = struct.unpack("<QI", header)
    if masked_crc32c(header[:8]) != crc:
        return 0, "the checksum of its length does not match"
    if length > MAX_RECORD_BYTES:
        return 0, f"its length is given as {length} bytes, and no record has more than {MAX_RECORD_BYTES}"
    return length, ""


def _read_frame(file: BinaryIO, offset: int, size: int) -> tuple[bytes | None, str, int | None]:
    """Return (data or None, what is wrong, the offset of the next record or None if it cannot be known)."""
    file.seek(offset)
    length, reason = _length(file.read(HEADER))
    if reason:
        return None, reason, None
    after = offset + HEADER + length + FOOTER
    if after > size:
        return None, f"the file ends {after - size} bytes before its end", None
    body = file.read(length + FOOTER)
    if masked_crc32c(body[:length]) != struct.unpack("<I", body[length:])[0]:
        return None, "the checksum of its data does not match", after
    return body[:length], "", after


def index_path(shard: "str | os.PathLike[str]") -> Place:
    """The path of a shard's index: `index/<shard>.idx` beside it."""
    shard = place(shard)
    return shard.parent / "index" / f"{shard.name}.idx"


def index_text(extents: Iterable[tuple[int, int]]) -> str:
    """Lines of `offset length`, the format of DALI's tfrecord2idx; the length includes the framing."""
    return "".join(f"{offset} {length}\n" for offset, length in extents)


def read_index(path: "str | os.PathLike[str]") -> list[tuple[int, int]]:
    """Read (offset, length) of each record.

    Raises ValueError naming a line that is not such a pair, or does not start where the record before it ends.
    """
    extents: list[tuple[int, int]] = []
    end = 0
    for number, line in enumerate(place(path).read_bytes().splitlines(keepends=True), 1):
        pair = re.fullmatch(rb"([0-9]{1,19}) ([0-9]{1,19})\n", line)
        if not pair or int(pair[1]) != end:
            expected = f"expected `{end} length` and a line end"
            raise ValueError(f"{os.fspath(path)}:{number}: {expected}, got {line.decode(errors='replace')!r}")
        extents.append((end, int(pair[2])))
        end += int(pair[2])
    return extents
