"""AlohaSource: the episodes of ALOHA and ACT, an HDF5 file each."""

import dataclasses
import functools
import os
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import h5py

from gato_tokenize import Episode, EpisodeMetadata
from gato_tokenize.array_spaces import PictureFiles, Text
from gato_tokenize.field_spec import ImageSpec
from pipelines.sources.aloha.fields import AlohaFields, read_fields
from pipelines.sources.aloha.pictures import CameraRows
from pipelines.sources.episode_options import EpisodeOptions
from pipelines.sources.formats.files import names_and_sizes
from pipelines.sources.formats.hdf5 import child, node_at, opened, text_attribute
from pipelines.sources.formats.hdf5_files import SUFFIXES, members_of
from pipelines.sources.formats.hdf5_steps import Rows
from pipelines.sources.formats.matching import Matches, files_in
from pipelines.sources.formats.places import Size, known_sizes, stamped
from pipelines.sources.on_disk import OnDisk
from pipelines.sources.options import option, parse_options
from pipelines.sources.pieces import RECORD_BYTES, Piece, pack, step_bytes
from pipelines.sources.source import Candidate
from pipelines.sources.step_reading import StepReading
from pipelines.sources.step_source import StepSource

LOOK = 2  # files that are looked at for their fields
LOSSY, RESIZED = "{}: image is from lossy JPEG", "{}: image resized while it was read"


@dataclasses.dataclass(frozen=True)
class AlohaOptions(EpisodeOptions):
    colours: Literal["rgb", "bgr"] = option(
        "rgb",
        "`bgr` exchanges red and blue, for pictures that were recorded so: look at one. OpenCV writes such a JPEG if it"
        " is given an RGB array",
    )


class AlohaSource(StepSource):
    """`aloha:folder?resize=96x128`, or a pattern: each file is an episode, which has the file's path as its id.

    Planning looks into the first files only. Pictures are brought to their size while they are read, so that no episode
    is in memory at its full size.
    """

    Options = AlohaOptions
    reads_addresses = True
    looks_for = "an HDF5 file with the array `action` and the group `observations`"

    def __init__(self, argument: str, options: dict[str, str]) -> None:
        self._argument, self._options = argument, parse_options(AlohaOptions, options)
        self._options.splits_of(())  # these files are in no splits

    @classmethod
    def recognises(cls, lying: OnDisk) -> str | None:
        return lying.path if {"action", "observations/"} <= members_of(lying) else None

    @functools.cached_property
    def _matches(self) -> Matches:
        return files_in(self._argument, SUFFIXES)

    @functools.cached_property
    def _sizes(self) -> dict[str, Size]:
        return known_sizes(self._matches.files)

    @functools.cached_property
    def _fields(self) -> AlohaFields:
        return read_fields(list(self._sizes.items()), LOOK)

    @functools.cached_property
    def _reading(self) -> StepReading:
        return StepReading(self._fields.step_fields, self._options)

    @functools.cached_property
    def _task(self) -> str:
        folders = [os.path.dirname(path) for path in self._matches.files]
        return self._options.task_of(os.path.basename(os.path.commonpath(folders)) or "aloha")

    def readings(self) -> Mapping[str, StepReading]:
        return {self._task: self._reading}

    def notes(self) -> list[str]:
        return self._matches.left_out + self._reading.notes

    def inputs(self) -> list[dict[str, Any]]:
        return [names_and_sizes(self._argument, self._sizes.items())]

    def partitions(self) -> list[dict[str, Any]]:
        """{"count", "files": [[path, bytes]]}, and the stamp after the bytes of a file at an address."""
        fields = self._fields
        each = step_bytes(self._reading.spec) * fields.steps / max(1, fields.bytes)
        pieces = [
            Piece([path, size, *stamped(size).values()], RECORD_BYTES + int(size * each))
            for path, size in self._sizes.items()
        ]
        return [{"count": len(files), "files": files} for files in pack(pieces, self.shard_bytes)]

    def candidates(self, partition: dict[str, Any]) -> Iterator[Candidate]:
        for path, size, *stamp in partition["files"]:
            said = {"stamp": stamp[0]} if stamp else {}
            yield Candidate(path, path, 0, functools.partial(self._load, path, size, said))

    def _load(self, path: str, size: int, said: dict[str, str]) -> Episode:
        with opened(path, size, said) as file:
            domain = "aloha-sim" if file.attrs.get("sim") else "aloha"
            metadata = EpisodeMetadata(path, domain=domain, task=self._task, source_uri=path)
            arrays = {place: self._values(file, name, place) for name, place in self._reading.places.items()}
            return self._reading.episode(arrays, metadata, notes=self._notes(file, arrays))

    def _values(self, file: h5py.File, name: str, place: str) -> Any:
        found = self._fields.arrays
        if place not in found.keys:
            return _checked_text(text_attribute(file, place), place)
        keys, space = found.keys[place], found.spaces[place]
        node, path = node_at(file, keys), "/".join(keys)
        if isinstance(space, PictureFiles):
            field = self._reading.spec.fields[name]
            assert isinstance(field, ImageSpec) and field.resize is not None and space.shape is not None
            return CameraRows(node, path, space.shape, field.resize, self._options.colours == "bgr")
        if isinstance(space, Text) and isinstance(node, h5py.Dataset) and node.size == 1:
            return _checked_text(node.asstr()[()] if node.ndim == 0 else node.asstr()[0], path)
        return Rows(node, path)

    def _notes(self, file: h5py.File, arrays: Mapping[str, Any]) -> dict[str, int]:
        kept = len(self._reading.kept(len(child(file, "action", ""))))
        cameras = {path: rows for path, rows in arrays.items() if isinstance(rows, CameraRows)}
        notes = {RESIZED.format(path): kept for path, rows in cameras.items() if rows.resizes}
        return notes | {LOSSY.format(path): kept for path, rows in cameras.items() if rows.decodes}


def _checked_text(text: str, path: str) -> str:
    if not text:
        raise ValueError(f"{path}: the text is missing")
    return text
