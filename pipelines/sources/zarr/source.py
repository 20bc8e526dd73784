"""ZarrSource: the episodes of a replay buffer in Zarr, as diffusion policy and UMI write it."""

import contextlib
import dataclasses
import functools
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import numpy as np

from gato_tokenize import Episode, EpisodeMetadata
from gato_tokenize.array_spaces import PictureFiles, Text
from gato_tokenize.field_spec import ImageSpec
from gato_tokenize.installing import how_to_install
from gato_tokenize.modalities.image import resized
from gato_tokenize.storage.address import RemoteError, full
from pipelines.sources.episode_options import EpisodeOptions
from pipelines.sources.errors import SourceError
from pipelines.sources.formats.files import names_and_sizes
from pipelines.sources.formats.places import is_file, is_folder
from pipelines.sources.on_disk import OnDisk
from pipelines.sources.options import option, parse_options
from pipelines.sources.pieces import RECORD_BYTES, partition_bytes, runs, step_bytes
from pipelines.sources.source import Candidate
from pipelines.sources.step_reading import StepReading
from pipelines.sources.step_source import StepSource
from pipelines.sources.zarr.fields import ReplayFields, are_bytes, read_fields
from pipelines.sources.zarr.rows import ArrayRows, Slice
from pipelines.sources.zarr.store import ZarrStore, files_of, has_ends

RESIZED = "{}: image resized while it was read"


@dataclasses.dataclass(frozen=True)
class ZarrOptions(EpisodeOptions):
    missing: Literal["reject", "fill"] = option(
        "reject",
        "a chunk that is not stored was lost, or was left out because it holds nothing but the fill value: `reject`"
        " rejects the episodes that need it, `fill` takes it for the fill value",
    )


class ZarrSource(StepSource):
    """`zarr:pusht_cchi_v7_replay.zarr`, or `zarr:dataset.zarr.zip?action=...`: a folder or a .zip file.

    Episode 7 is "pusht_cchi_v7_replay.zarr#7". The task is called after the folder or file.
    """

    Options = ZarrOptions
    reads_addresses = True
    looks_for = "the array meta/episode_ends, in a folder or a .zip file"

    def __init__(self, argument: str, options: dict[str, str]) -> None:
        self._path, self._options = full(argument), parse_options(ZarrOptions, options)
        self._options.splits_of(())  # a replay buffer has no splits

    @classmethod
    def recognises(cls, lying: OnDisk) -> str | None:
        return lying.path if has_ends(lying) else None

    @functools.cached_property
    def _fields(self) -> ReplayFields:
        if not (is_file(self._path) or is_folder(self._path)):
            raise SourceError(f"{self._path} does not exist: give the folder or the .zip file of a replay buffer")
        store = None
        try:
            store = ZarrStore(self._path)
            return read_fields(store)
        except RemoteError:
            raise
        except Exception as error:  # zarr, its codecs and zipfile raise errors of many kinds
            raise SourceError(f"{self._path} cannot be read: {_said(error)}") from error
        finally:
            if store is not None:
                store.close()

    @functools.cached_property
    def _reading(self) -> StepReading:
        return StepReading(self._fields.step_fields, self._options)

    @functools.cached_property
    def _task(self) -> str:
        name = os.path.basename(os.path.normpath(self._path))
        return self._options.task_of(re.sub(r"(\.zarr)?(\.zip)?$", "", name) or "zarr")

    def readings(self) -> Mapping[str, StepReading]:
        return {self._task: self._reading}

    def notes(self) -> list[str]:
        left = self._fields.rows - int(self._fields.ends[-1])
        behind = [f"{left} rows after the last end are in no episode"] if left > 0 else []
        pixels = [
            f"the floats of {path} are whole numbers in [0, 255] and are taken for pixels"
            for path in sorted(self._fields.pixels)
        ]
        return [*behind, *pixels, *self._reading.notes]

    def inputs(self) -> list[dict[str, Any]]:
        try:
            return [names_and_sizes(self._path, files_of(self._path))]
        except (SourceError, RemoteError):
            raise
        except Exception as error:
            raise SourceError(f"{self._path} cannot be read: {error}") from error

    def partitions(self) -> list[dict[str, Any]]:
        """{"count", "first", "start", "stop"}: `count` episodes from number `first`, in the rows [start, stop)."""
        ends = self._fields.ends
        starts = np.concatenate([[0], ends[:-1]])
        weights = (ends - starts) * step_bytes(self._reading.spec) + RECORD_BYTES
        found = runs(weights, partition_bytes(int(weights.sum()), self.shard_bytes))
        return [
            {"count": stop - first, "first": first, "start": int(starts[first]), "stop": int(ends[stop - 1])}
            for first, stop in found
        ]

    def candidates(self, partition: dict[str, Any]) -> Iterator[Candidate]:
        first, stop = partition["first"], partition["first"] + partition["count"]
        bounds = [0, *self._fields.ends.tolist()][first : stop + 1]
        if [bounds[0], bounds[-1], len(bounds)] != [partition["start"], partition["stop"], stop - first + 1]:
            raise ValueError(f"{self._path} has changed since it was planned; plan again")
        replay = _Replay(self._path, self._fields, self._reading, self._options)
        try:
            for number, start, end in zip(range(first, stop), bounds[:-1], bounds[1:], strict=True):
                metadata = EpisodeMetadata(
                    f"{self._path}#{number}",
                    domain="zarr",
                    task=self._task,
                    source_uri=self._path,
                    source_index=number,
                )
                load = functools.partial(replay.episode, metadata, start, end)
                yield Candidate(metadata.episode_id, self._path, number, load)
        finally:
            replay.close()


class _Replay:
    """A store that stays open with its arrays from one episode to the next, because several may lie in one chunk."""

    def __init__(self, path: str, fields: ReplayFields, reading: StepReading, options: ZarrOptions) -> None:
        self._path, self._fields, self._reading = path, fields, reading
        self._fill = options.missing == "fill"
        self._store: ZarrStore | None = None
        self._arrays: dict[str, ArrayRows] = {}

    def close(self) -> None:
        self._arrays.clear()
        if self._store is not None:
            self._store.close()
            self._store = None

    def episode(self, metadata: EpisodeMetadata, start: int, stop: int) -> Episode:
        """Read the rows [start, stop). Whatever goes wrong is a ValueError that names the store."""
        with self._named():
            if start == stop:
                raise ValueError(f"episode {metadata.source_index} is empty: it ends where it starts, at row {start}")
            fields = self._fields
            arrays: dict[str, Any] = {}
            for name, path in self._reading.places.items():
                if path in fields.names:
                    arrays[path] = self._slice(fields.names[path], start, stop, self._converted(name, path))
            rewards = self._flat(fields.reward, start, stop) if fields.reward else None
            done = bool(self._flat(fields.done, stop - 1, stop)[0]) if fields.done else False
            metadata = dataclasses.replace(metadata, terminated=done)
            return self._reading.episode(arrays, metadata, rewards, self._notes(stop - start))

    def _notes(self, steps: int) -> dict[str, int]:
        kept = len(self._reading.kept(steps))
        pictures = {name: self._fields.spaces.get(path) for name, path in self._reading.places.items()}
        return {
            RESIZED.format(name): kept
            for name, space in pictures.items()
            if isinstance(space, PictureFiles) and space.shape and space.shape[:2] != self._size(name)
        }

    def _size(self, name: str) -> tuple[int, int]:
        field = self._reading.spec.fields[name]
        assert isinstance(field, ImageSpec) and field.resize is not None
        return field.resize

    def _slice(self, name: str, start: int, stop: int, convert: Callable[[Any], Any] = np.asarray) -> Slice:
        if name not in self._arrays:
            self._store = self._store or ZarrStore(self._path)
            array = self._store.array("data", name)
            self._arrays[name] = ArrayRows(self._store, array, f"data/{name}", self._fill)
        return Slice(self._arrays[name], start, stop, convert)

    def _flat(self, name: str, start: int, stop: int) -> Any:
        """Read an array of one number a timestep, [N] or [N, 1]."""
        values = self._slice(name, start, stop)[:]
        if values.shape[1:] not in ((), (1,)) or values.dtype.kind not in "biuf":
            raise ValueError(f"data/{name}: expected a number a timestep, got {values.dtype}{list(values.shape[1:])}")
        return values.ravel()

    def _converted(self, name: str, path: str) -> Callable[[Any], Any]:
        """What becomes of the rows of a field that were read."""
        space = self._fields.spaces[path]
        if isinstance(space, Text):
            return lambda values: values.tolist()
        if not isinstance(space, PictureFiles):
            return np.asarray
        pixels, size, own = path in self._fields.pixels, self._size(name), space.shape
        assert own is not None

        def pictures(values: Any) -> list[Any]:
            if values.shape[1:] != own or (values.dtype != np.uint8 and not pixels):
                raise ValueError(
                    f"{path}: expected pictures of {list(own)}, got {values.dtype}{list(values.shape[1:])}"
                )
            if pixels and not are_bytes(values):
                raise ValueError(f"{path}: expected pixels, whole numbers in [0, 255], as in the first episodes")
            values = values.astype(np.uint8, copy=False)
            if size == own[:2]:
                return list(values)
            return [resized(np.ascontiguousarray(one), *size) for one in values]

        return pictures

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except RemoteError:
            self.close()
            raise
        except Exception as error:  # zarr, its codecs and zipfile raise errors of many kinds
            self.close()
            raise ValueError(f"{self._path}: {_said(error)}") from error


def _said(error: Exception) -> str:
    """What is wrong; that of a codec which is not installed also says how to go on."""
    said = f"{error}" if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {error}"
    if "imagecodecs" in said:
        return f"{said}; {how_to_install('', 'imagecodecs')} installs this codec"
    return said
