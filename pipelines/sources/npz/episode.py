"""SetEpisodes: a set of arrays, or some rows of one, to an `Episode`."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gato_tokenize import Episode, EpisodeMetadata
from gato_tokenize.array_spaces import PictureFiles, Text
from gato_tokenize.field_spec import ImageSpec
from gato_tokenize.modalities.image import resized
from gato_tokenize.storage.address import RemoteError
from pipelines.sources.formats.places import Size
from pipelines.sources.npz.array_set import ArraySet, Slice, open_set
from pipelines.sources.npz.fields import SetFields
from pipelines.sources.step_reading import StepReading

RESIZED = "{}: image resized while it was read"
CUT = "the last episode of a file has no mark of its end"


class SetEpisodes:
    """Makes episodes by `fields` and `reading`. A set stays open from one episode to the next, until `end`."""

    def __init__(self, fields: SetFields, reading: StepReading) -> None:
        self._fields, self._reading = fields, reading
        self._set: ArraySet | None = None
        self._ended = False

    def end(self) -> None:
        """Close what is open. An episode that is made later opens its set for itself."""
        self._ended = True
        self._close()

    def _close(self) -> None:
        if self._set is not None:
            self._set.close()
            self._set = None

    def whole(self, path: str, size: Size, metadata: EpisodeMetadata) -> Episode:
        """Make an episode of a whole set. Whatever goes wrong is a ValueError that names the set."""
        with self._named(path, size) as one:
            done = self._flags(one, self._fields.done)
            if done is not None and done[:-1].any():
                name, row = self._fields.done, int(np.flatnonzero(done)[0])
                raise ValueError(
                    f"{name} is set at row {row} and the rows go on: ends={name} makes several episodes of it"
                )
            return self._episode(one, None, metadata)

    def rows(self, path: str, size: Size, rows: range, cut: bool, metadata: EpisodeMetadata) -> Episode:
        """Make an episode of the rows of a set in which several follow each other. cut: whether no mark ends it."""
        with self._named(path, size) as one:
            if not rows:
                raise ValueError(
                    f"episode {metadata.source_index} is empty: it ends where it starts, at row {rows.start}"
                )
            episode = self._episode(one, rows, dataclasses.replace(metadata, truncated=cut))
            return dataclasses.replace(episode, notes={**episode.notes, CUT: 1}) if cut else episode

    def _episode(self, one: ArraySet, rows: range | None, metadata: EpisodeMetadata) -> Episode:
        fields, arrays = self._fields, dict[str, Any]()
        for name, path in self._reading.places.items():
            array = one.rows(fields.names[path])
            if isinstance(fields.spaces[path], Text) and not one.headers[fields.names[path]].shape:
                arrays[path] = _text(array.value(), path)
            else:
                span = rows or range(len(array))
                arrays[path] = Slice(array, span.start, span.stop, self._converter(name, path))
        rewards = self._numbers(one, fields.reward, rows) if fields.reward else None
        done, truncated = (self._flags(one, name, rows) for name in (fields.done, fields.truncated))
        if done is not None:
            metadata = dataclasses.replace(metadata, terminated=bool(done[-1:].any()))
        if truncated is not None:
            metadata = dataclasses.replace(metadata, truncated=metadata.truncated or bool(truncated[-1:].any()))
        success = self._flags(one, fields.success, rows)
        if success is not None:
            metadata = dataclasses.replace(metadata, success=int(success.any()))
        episode = self._reading.episode(arrays, metadata, rewards)
        return dataclasses.replace(episode, notes={**episode.notes, **self._notes(episode.num_steps)})

    def _notes(self, steps: int) -> dict[str, int]:
        return {
            RESIZED.format(name): steps
            for name, path in self._reading.places.items()
            if isinstance(space := self._fields.spaces[path], PictureFiles) and space.shape[:2] != self._size(name)  # type: ignore[index]
        }

    def _size(self, name: str) -> tuple[int, int]:
        field = self._reading.spec.fields[name]
        assert isinstance(field, ImageSpec) and field.resize is not None
        return field.resize

    def _converter(self, name: str, path: str) -> Callable[[Any], Any]:
        space = self._fields.spaces[path]
        if isinstance(space, Text):
            return _texts
        if isinstance(space, PictureFiles):
            assert space.shape is not None
            return functools.partial(_pictures, shape=space.shape, size=self._size(name), path=path)
        return np.asarray

    def _numbers(self, one: ArraySet, name: str, rows: range | None) -> NDArray[Any]:
        """An array of one number a timestep, [N] or [N, 1], or of the whole episode."""
        array, header = one.rows(name), one.headers[name]
        if header.shape[1:] not in ((), (1,)) or header.dtype.kind not in "biuf":
            raise ValueError(f"{name}: expected a number a timestep, got {header.dtype}{list(header.shape[1:])}")
        if not header.shape:
            return np.asarray([array.value()])
        span = rows or range(header.shape[0])
        return np.asarray(array.read(span.start, span.stop)).reshape(-1)

    def _flags(self, one: ArraySet, name: str, rows: range | None = None) -> NDArray[np.bool_] | None:
        return self._numbers(one, name, rows).astype(bool) if name else None

    @contextlib.contextmanager
    def _named(self, path: str, size: Size) -> Iterator[ArraySet]:
        try:
            if self._set is None or self._set.path != path:
                self._close()
                self._set = open_set(path, size)
            yield self._set
        except RemoteError:
            self._close()
            raise
        except Exception as error:  # zipfile, zlib and numpy raise errors of many kinds
            self._close()
            said = f"{error}" if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {error}"
            raise ValueError(said if said.startswith(path) else f"{path}: {said}") from error
        finally:
            if self._ended:
                self._close()


def _texts(values: NDArray[Any]) -> list[Any]:
    return list(values.tolist())


def _text(value: Any, path: str) -> str:
    try:
        return value.decode() if isinstance(value, bytes) else str(value)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8: {error}") from error


def _pictures(values: NDArray[Any], shape: tuple[int, ...], size: tuple[int, int], path: str) -> list[Any]:
    if values.dtype != np.uint8 or values.shape[1:] != shape:
        raise ValueError(f"{path}: expected pictures uint8{list(shape)}, got {values.dtype}{list(values.shape[1:])}")
    if size == shape[:2]:
        return list(values)
    return [resized(np.ascontiguousarray(one), *size) for one in values]
