"""McapFile: an MCAP file by the index at its end."""

import functools
import zlib
from collections.abc import Collection, Iterator
from typing import Any

from mcap.reader import NonSeekingReader, SeekingReader
from mcap.summary import Summary

from gato_tokenize.spec import join_path
from gato_tokenize.storage.remote_file import open_file
from pipelines.sources.formats.limits import MAX_FIELD_BYTES
from pipelines.sources.formats.places import size_of_open
from pipelines.sources.recordings.decoding import decode
from pipelines.sources.recordings.recording import Decoder, Message, Recording, Topic

MAGIC = b"\x89MCAP0\r\n"  # at the start and at the end
FOOTER = 8 + 8 + 4  # bytes at the end of the footer: the start of the summary, that of its offsets, and its CRC
BAG = "rosbag2"  # the metadata in which ROS 2 repeats what its metadata.yaml says
RECOVER = "MCAP's command line tool makes a sound file of what is whole: mcap recover FILE -o NEW"


class McapFile(Recording):
    """An open MCAP file, of which only the summary is read until messages are asked for.

    Raises ValueError if it is no MCAP file, if it was cut or not closed, or if its summary is missing or damaged.
    """

    def __init__(self, path: str) -> None:
        self._file = open_file(path)
        try:
            self._size = size_of_open(self._file)
            self._summary = self._checked_summary()
            self.topics = self._topics()
            counted = self._summary.statistics
            chunks = self._summary.chunk_indexes
            times = [one.message_start_time for one in chunks], [one.message_end_time for one in chunks]
            self.start = counted.message_start_time if counted else min(times[0], default=0)
            self.end = counted.message_end_time if counted else max(times[1], default=0)
            self.texts = {
                functools.reduce(join_path, (one.name, key), "metadata"): text
                for one in self._reader().iter_metadata()
                if one.name != BAG
                for key, text in sorted(one.metadata.items())
            }
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        self._file.close()

    def messages(self, topics: Collection[str], start: int | None = None) -> Iterator[Message]:
        wanted = frozenset(topics)
        if self._summary.chunk_indexes:
            found: Any = self._reader().iter_messages(wanted, starting_at=start)
        else:  # no chunks, no index: in the order of the file, which must be that of time
            self._file.seek(0)
            reader = NonSeekingReader(self._file, validate_crcs=True, record_size_limit=MAX_FIELD_BYTES)
            found = reader.iter_messages(wanted, starting_at=start, log_time_order=False)
        for _, channel, message in found:
            yield Message(channel.topic, message.log_time, message.data, self._decoder(channel))

    def _reader(self) -> SeekingReader:
        self._file.seek(0)
        return SeekingReader(self._file, validate_crcs=True, record_size_limit=MAX_FIELD_BYTES)

    def _decoder(self, channel: Any) -> Decoder:
        schema = self._summary.schemas.get(channel.schema_id)
        described = (schema.name, schema.encoding, schema.data) if schema else ("", "", b"")
        return functools.partial(decode, channel.message_encoding, *described)

    def _topics(self) -> dict[str, Topic]:
        """The topics; several channels may be of one."""
        found: dict[str, Topic] = {}
        counted = self._summary.statistics
        for number, channel in sorted(self._summary.channels.items()):
            schema = self._summary.schemas.get(channel.schema_id)
            count = counted.channel_message_counts.get(number, 0) if counted else None
            if before := found.get(channel.topic):
                count = None if count is None or before.count is None else count + before.count
            found[channel.topic] = Topic(schema.name if schema else "", count)
        return dict(sorted(found.items()))

    def _checked_summary(self) -> Summary:
        self._file.seek(0)
        begins = self._file.read(len(MAGIC))
        if begins != MAGIC:
            raise ValueError(f"it is no MCAP file: it begins with {begins!r}")
        self._file.seek(max(0, self._size - FOOTER - len(MAGIC)))
        footer = self._file.read(FOOTER)
        if self._size < FOOTER + 2 * len(MAGIC) or self._file.read() != MAGIC:
            raise ValueError(f"it was cut, or its recorder did not close it: its end is missing; {RECOVER}")
        start, crc = int.from_bytes(footer[:8], "little"), int.from_bytes(footer[16:], "little")
        if not 0 < start < self._size:
            raise ValueError(f"it has no summary, which says what lies where; {RECOVER}")
        self._file.seek(start)
        stored = self._file.read(self._size - len(MAGIC) - 4 - start)
        if crc and zlib.crc32(stored) != crc:
            raise ValueError(f"its summary is damaged: its checksum is wrong; {RECOVER}")
        summary = self._reader().get_summary()
        if summary is None:
            raise ValueError(f"it has no summary, which says what lies where; {RECOVER}")
        self._check(summary)
        return summary

    def _check(self, summary: Summary) -> None:
        """Raise ValueError unless the summary lists what it counts, in a file of this size."""
        counted = summary.statistics
        if counted and (counted.channel_count, counted.schema_count) > (len(summary.channels), len(summary.schemas)):
            raise ValueError(f"its summary does not repeat the channels and schemas; {RECOVER}")
        for chunk in summary.chunk_indexes:
            stop = chunk.chunk_start_offset + chunk.chunk_length
            if stop > self._size or chunk.uncompressed_size > MAX_FIELD_BYTES:
                raise ValueError(
                    f"its summary states a chunk of {chunk.uncompressed_size} bytes that ends at byte {stop}, and the"
                    f" file has {self._size}"
                )
        if not summary.chunk_indexes and counted and counted.chunk_count:
            raise ValueError(f"its summary does not say where its chunks are; {RECOVER}")
