"""Ros1Bag and Ros2Bag: bags of ROS by their indexes, read with `rosbags`."""

import functools
import heapq
import os
import struct
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from backports import zstd  # as `rosbags` does
from rosbags.interfaces import MessageDefinitionFormat
from rosbags.rosbag1 import Reader as Ros1Reader
from rosbags.rosbag2 import Reader as Ros2Reader

from gato_tokenize.spec import join_path
from gato_tokenize.storage.remote_file import open_file
from pipelines.sources.formats.limits import check_field
from pipelines.sources.formats.places import Size, files_in_folder, is_folder, size_of, size_of_open, sizes_of
from pipelines.sources.recordings.away_path import readable
from pipelines.sources.recordings.decoding import decode
from pipelines.sources.recordings.recording import Decoder, Message, Recording, Topic

SCHEMAS = {MessageDefinitionFormat.MSG: "ros2msg", MessageDefinitionFormat.IDL: "ros2idl"}
UNINDEXED = "Bag is not indexed"  # how `rosbags` begins to say so
DATABASE = ".db3"
JOURNALS = ("-wal", "-journal")  # beside a database whose recorder did not close it


class Ros1Bag(Recording):
    """A bag of ROS 1, format 2.0.

    Raises ValueError if it has no index because its recorder did not close it; an error of `rosbags` if it is no bag,
    or if its index is damaged.
    """

    texts: Mapping[str, str] = {}

    def __init__(self, path: str) -> None:
        self._reader = Ros1Reader(readable(path))
        try:
            self._reader.open()
        except Exception as error:
            if str(error).startswith(UNINDEXED):
                raise ValueError(
                    "it has no index, because its recorder did not close it; ROS 1's own tool makes one: rosbag reindex"
                    " FILE"
                ) from error
            raise
        self.topics = _topics(self._reader.connections)
        self.start, self.end = _times(self._reader)

    def close(self) -> None:
        self._reader.close()

    def messages(self, topics: Collection[str], start: int | None = None) -> Iterator[Message]:
        wanted = [one for one in self._reader.connections if one.topic in topics]
        decoders = {
            one.id: functools.partial(decode, "ros1", one.msgtype, "ros1msg", one.msgdef.data.encode())
            for one in wanted
        }
        for connection, time, data in self._reader.messages(wanted, start) if wanted else ():
            yield Message(connection.topic, time, data, decoders[connection.id])


class Ros2Bag(Recording):
    """A bag of ROS 2: a folder with metadata.yaml and its SQLite or MCAP files, or one SQLite file without the folder.

    Bags of ROS 2 before Iron hold no definitions: then types are those of ROS 2 itself.

    Raises ValueError if the database was not closed by its recorder, or was cut; an error of `rosbags` or of SQLite if
    files are missing or damaged otherwise.
    """

    def __init__(self, path: str) -> None:
        folder = is_folder(path)
        for file, size in files_of(path).items():
            if file.endswith(JOURNALS) and size:
                raise ValueError(
                    f"{os.path.basename(file)} shows that its recorder did not close it: open the database once with"
                    " sqlite3, or run: ros2 bag reindex FOLDER"
                )
            if file.endswith(DATABASE):
                _check_length(file)
        self._reader = Ros2Reader(readable(path))
        self._reader.open()
        # The files one by one: `rosbags` passes over topics whose quality of service in metadata.yaml is written
        # otherwise than in the files, as it is in many bags.
        bag: Any = self._reader.storage
        self._files = list(bag.storages) if folder else [bag]
        self._packed = self._reader.compression_mode == "message"
        told = _topics(self._reader.connections)
        stored = _topics([one for file in self._files for one in file.connections])
        self.topics = {topic: told.get(topic, stored[topic]) for topic in sorted(stored)} | {
            topic: one for topic, one in told.items() if topic not in stored
        }
        self.start, self.end = _times(self._reader)
        custom = bag.metadata.custom if folder else None
        self.texts = {join_path("metadata", key): str(text) for key, text in sorted((custom or {}).items())}

    def close(self) -> None:
        self._reader.close()

    def messages(self, topics: Collection[str], start: int | None = None) -> Iterator[Message]:
        parts = [self._part(file, topics, start) for file in self._files]
        yield from heapq.merge(*parts, key=lambda message: message.time)

    def _part(self, file: Any, topics: Collection[str], start: int | None) -> Iterator[Message]:
        """The messages in one file of the bag."""
        wanted = [one for one in file.connections if one.topic in topics]
        decoders = {one.id: self._decoder(one) for one in wanted}
        for connection, time, data in file.messages(wanted, start) if wanted else ():
            yield Message(connection.topic, time, data, decoders[connection.id])

    def _decoder(self, connection: Any) -> Decoder:
        definition = connection.msgdef
        schema = SCHEMAS.get(definition.format, "")
        text = definition.data if schema else ""
        plain = functools.partial(
            decode, connection.ext.serialization_format, connection.msgtype, schema, text.encode()
        )
        return functools.partial(_unpacked, plain) if self._packed else plain


def _unpacked(decoder: Decoder, data: bytes) -> Any:
    check_field("a message", "what it unpacks to", zstd.get_frame_info(data).decompressed_size or 0)
    return decoder(zstd.decompress(data))


def _times(reader: Any) -> tuple[int, int]:
    """The times of the first and the last message, in nanoseconds; the reader's end is one after the last."""
    return reader.start_time, max(reader.start_time, reader.end_time - 1)


def files_of(path: str) -> dict[str, Size]:
    """{path: bytes} of the files of a bag: those in its folder, or the file itself and what lies beside a database."""
    if is_folder(path):
        return files_in_folder(path)
    journals = [path + end for end in JOURNALS if path.endswith(DATABASE)]
    beside = zip(journals, sizes_of(journals), strict=True)
    return {path: size_of(path)} | {name: size for name, size in beside if size is not None}


def _check_length(path: str) -> None:
    """Raise ValueError if a database of SQLite is shorter than its header states: SQLite may read zeros there."""
    with open_file(path) as file:
        head = file.read(100)
        size = size_of_open(file)
    page, (changed, pages) = int.from_bytes(head[16:18], "big"), struct.unpack(">II", head[24:32].ljust(8, b"\0"))
    valid = int.from_bytes(head[92:96], "big")  # the change after which the number of pages was written
    stated = (65536 if page == 1 else page) * pages
    if len(head) < 100 or (changed == valid and size < stated):
        raise ValueError(f"{os.path.basename(path)} was cut: it has {size} bytes, and its header states {stated}")


def _topics(connections: Collection[Any]) -> dict[str, Topic]:
    """The topics; several connections may be of one."""
    found: dict[str, Topic] = {}
    for one in connections:
        before = found.get(one.topic)
        found[one.topic] = Topic(one.msgtype, one.msgcount + ((before.count or 0) if before else 0))
    return dict(sorted(found.items()))
