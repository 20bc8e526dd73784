"""McapSource: the episodes of MCAP files with messages of ROS 2, ROS 1, Protobuf or JSON, an episode a file."""

import collections
import os
from collections.abc import Sequence

from pipelines.sources.formats.matching import Matches, files_in
from pipelines.sources.formats.places import Size, is_file, known_sizes
from pipelines.sources.on_disk import OnDisk
from pipelines.sources.recordings.mcap_file import McapFile
from pipelines.sources.recordings.source import RecordingSource

BAG = "metadata.yaml"  # in the folder of a ROS 2 bag, whose recorder may divide it into several files


class McapSource(RecordingSource):
    """`mcap:folder?fps=10&action=/cmd_vel`, or a pattern: each file is an episode, which has the file's path as its
    id."""

    domain = "mcap"
    looks_for = "files called .mcap"
    by_endings = True

    @classmethod
    def recognises(cls, lying: OnDisk) -> str | None:
        return lying.path if lying.ending(".mcap") else None

    def matches(self, argument: str) -> Matches:
        return files_in(argument, (".mcap",))

    def sizes(self, paths: Sequence[str]) -> dict[str, Size]:
        return known_sizes(paths)

    def opened(self, path: str) -> McapFile:
        return McapFile(path)

    def notes(self) -> list[str]:
        folders = collections.Counter(os.path.dirname(path) for path in self._matches.files)
        bags = [one for one, count in folders.items() if count > 1 and is_file(os.path.join(one, BAG))]
        divided = [f"{one} is a ROS 2 bag in several files: rosbag:{one} makes one episode of it" for one in bags]
        return divided + super().notes()
