"""Shards: writing the records of a file, and reading them back."""

import os
import re
from collections.abc import Iterable, Iterator
from typing import Literal

from gato_tokenize.output import counted
from gato_tokenize.storage.ranges import open_stream
from gato_tokenize.storage.records import Record
from gato_tokenize.storage.store_path import place
from gato_tokenize.storage.tfrecord import (
    FOOTER,
    HEADER,
    CorruptRecordError,
    Damage,
    frame_at,
    index_path,
    read_frames,
    read_index,
    shard_writer,
)

_SHARD = r"([a-z][a-z0-9_]*)-([a-z]+)\.tfrecord-(\d{5,})-of-(\d{5,})"  # what `shard_name` writes


def shard_name(dataset: str, split: str, index: int, count: int) -> str:
    """The file name of a shard, as TFDS has it.

    >>> shard_name("toy", "train", 3, 32)
    'toy-train.tfrecord-00003-of-00032'
    """
    return f"{dataset}-{split}.tfrecord-{index:05d}-of-{count:05d}"


def parse_shard_name(name: str) -> tuple[str, str, int, int]:
    """The inverse of `shard_name`. Raises ValueError for any other name.

    >>> parse_shard_name("toy-train.tfrecord-00003-of-00032")
    ('toy', 'train', 3, 32)
    """
    match = re.fullmatch(_SHARD, name, re.ASCII)
    if match is None:
        raise ValueError(f"{name!r} is not the name of a shard, such as 'toy-train.tfrecord-00003-of-00032'")
    return match[1], match[2], int(match[3]), int(match[4])


def write_records(path: "str | os.PathLike[str]", records: Iterable[Record]) -> int:
    """Write one shard, and its index into `index/` beside it; neither appears before both are whole.

    Returns the number of records. An existing shard of this name is replaced only at the end.
    """
    with shard_writer(path) as shard:
        for record in records:
            shard.write(record.to_bytes())
    return shard.records


def read_records(
    path: "str | os.PathLike[str]",
    on_corrupt: Literal["raise", "skip"] = "raise",
    damaged: "list[Damage] | None" = None,
    dataset: str = "",
) -> Iterator[Record]:
    """Yield the records of one shard, with their checksums checked. `dataset`: see `Record.from_bytes`.

    A damaged record raises CorruptRecordError, which names shard, record and offset. With `on_corrupt="skip"` only the
    damaged records are lost. Each is appended to `damaged`, which must then be given: nothing is skipped silently.
    """
    if on_corrupt not in ("raise", "skip"):
        raise ValueError(f"on_corrupt is 'raise' or 'skip', not {on_corrupt!r}")
    if on_corrupt == "skip" and damaged is None:
        raise ValueError("on_corrupt='skip' needs a list `damaged` for the lost records")
    lost: list[Damage] = [] if damaged is None else damaged
    before, unreadable = len(lost), 0
    for count, (offset, data) in enumerate(read_frames(path, lost if on_corrupt == "skip" else None)):
        number = count + len(lost) - before - unreadable  # `count` leaves out damaged frames
        try:
            record = _record(path, number, offset, data, dataset)
        except CorruptRecordError as error:
            if on_corrupt == "raise":
                raise
            unreadable += 1
            lost.append(error.damage)
        else:
            yield record


def read_record(path: "str | os.PathLike[str]", number: int, dataset: str = "") -> Record:
    """Read record `number` of a shard, found through its index without reading the others. `dataset`: see
    `Record.from_bytes`.

    Raises FileNotFoundError if there is no index, IndexError beyond the last record, CorruptRecordError.
    """
    extents = read_index(index_path(path))
    if not 0 <= number < len(extents):
        raise IndexError(f"{os.fspath(path)} has {counted(len(extents), 'record')}, so there is no record {number}")
    offset, length = extents[number]
    with open_stream(place(path)) as file:
        data = frame_at(file, path, offset, number)
    if len(data) + HEADER + FOOTER != length:
        reason = f"the index says {length} bytes, the file {len(data) + HEADER + FOOTER}"
        raise CorruptRecordError(Damage(os.fspath(path), number, offset, reason, ends_shard=False))
    return _record(path, number, offset, data, dataset)


def _record(path: "str | os.PathLike[str]", number: int, offset: int, data: bytes, dataset: str) -> Record:
    try:
        return Record.from_bytes(data, dataset)
    except ValueError as error:  # the checksums are right, but it is not a record
        raise CorruptRecordError(Damage(os.fspath(path), number, offset, str(error), ends_shard=False)) from error
