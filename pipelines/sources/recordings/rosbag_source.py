"""RosbagSource: the episodes of bags of ROS 1 and ROS 2, read without ROS, an episode a bag."""

import contextlib
import os
from collections.abc import Callable, Sequence
from typing import Any

from pipelines.sources.errors import SourceError
from pipelines.sources.formats.matching import Matches, files_in, matching
from pipelines.sources.formats.places import Size, is_file, is_folder, total
from pipelines.sources.on_disk import OnDisk
from pipelines.sources.recordings.recording import Recording
from pipelines.sources.recordings.ros_bags import Ros1Bag, Ros2Bag, files_of
from pipelines.sources.recordings.source import RecordingSource

METADATA = "metadata.yaml"  # in the folder of a ROS 2 bag
MARK = b"rosbag2_bagfile_information"  # at its start
ROS1, ROS2 = ".bag", ".db3"


class RosbagSource(RecordingSource):
    """`rosbag:folder?fps=10&action=/cmd_vel`, or a pattern: an episode is a .bag file or the folder of a ROS 2 bag, and
    has that path as its id."""

    domain = "rosbag"
    looks_for = "files called .bag or .db3, or metadata.yaml with `rosbag2_bagfile_information`"

    @classmethod
    def recognises(cls, lying: OnDisk) -> str | None:
        marked = any(os.path.basename(path) == METADATA and _is_marked(path) for path in lying.ending(METADATA))
        return lying.path if marked or lying.ending(ROS1, ROS2) else None

    def matches(self, argument: str) -> Matches:
        if is_file(os.path.join(argument, METADATA)):
            return Matches([argument.rstrip("/") or "/"], [])
        if is_folder(argument):
            found = [_matches(files_in, argument, (METADATA, ROS1, ROS2))]
        else:
            found = [_matches(matching, pattern) for pattern in (os.path.join(argument, METADATA), argument)]
        files = [path for one in found for path in one.files]
        folders = {os.path.dirname(path) for path in files if os.path.basename(path) == METADATA}
        bags = folders | {path for path in files if os.path.dirname(path) not in folders}
        if not bags:
            raise SourceError(f"no bag matches {argument!r}: a .bag or .db3 file, or a folder with {METADATA}")
        return Matches(sorted(bags, key=os.fsencode), [name for one in found for name in one.left_out])

    def sizes(self, paths: Sequence[str]) -> dict[str, Size]:
        return {path: total(files_of(path).values()) for path in paths}

    def opened(self, path: str) -> Recording:
        return Ros1Bag(path) if path.endswith(ROS1) else Ros2Bag(path)


def _matches(search: Callable[..., Matches], *arguments: Any) -> Matches:
    with contextlib.suppress(SourceError):
        return search(*arguments)
    return Matches([], [])


def _is_marked(path: str) -> bool:
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return MARK in file.read(4096)
    return False
