"""NpzSource: .npz files or folders of .npy files, each an episode, or several one after the other."""

import contextlib
import functools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gato_tokenize import Episode, EpisodeMetadata
from gato_tokenize.storage.address import RemoteError, full
from pipelines.sources.errors import SourceError
from pipelines.sources.formats.files import names_and_sizes
from pipelines.sources.formats.places import Size, stamped
from pipelines.sources.npz.array_set import SUFFIX, ArraySet, open_set, sizes_of_sets
from pipelines.sources.npz.ends import Ends, ends_name, find_ends
from pipelines.sources.npz.episode import SetEpisodes
from pipelines.sources.npz.fields import SetFields, read_fields, steps_of
from pipelines.sources.npz.files import ARCHIVE, SetFiles, find_sets
from pipelines.sources.npz.options import NpzOptions
from pipelines.sources.on_disk import OnDisk
from pipelines.sources.options import parse_options
from pipelines.sources.pieces import RECORD_BYTES, Piece, pack, partition_bytes, runs, step_bytes
from pipelines.sources.source import Candidate
from pipelines.sources.step_reading import StepReading
from pipelines.sources.step_source import StepSource

LOOK, LOOK_ROWS = 4, 10_000  # files, and rows of each, that are looked at for ranges


class NpzSource(StepSource):
    """`npz:episodes/*.npz`, `npz:folder_of_npy_folders`, `npz:train.npz?ends=terminals`.

    A file is an episode, which has its path as its id. If an array says where episodes end, a file holds several:
    episode 7 is "train.npz#7".
    """

    Options = NpzOptions
    reads_addresses = True
    looks_for = "files called .npz or .npy"
    by_endings = True

    def __init__(self, argument: str, options: dict[str, str]) -> None:
        self._argument, self._options = full(argument), parse_options(NpzOptions, options)

    @classmethod
    def recognises(cls, lying: OnDisk) -> str | None:
        return lying.path if lying.ending(ARCHIVE, SUFFIX) else None

    @functools.cached_property
    def _found(self) -> SetFiles:
        return find_sets(self._argument)

    @functools.cached_property
    def _splits(self) -> dict[str, str]:
        """{split of the files: its name here} of those that are read."""
        return self._options.splits_of(self._found.splits)

    def _split(self, name: str) -> str:
        return self._splits[name or "train"] if self._found.splits else ""

    @functools.cached_property
    def _sizes(self) -> dict[str, Size]:
        """{path: bytes} of what is read, in order."""
        wanted = [
            path for path, name in self._found.paths.items() if not self._splits or (name or "train") in self._splits
        ]
        return sizes_of_sets(wanted)

    @functools.cached_property
    def _looked_at(self) -> tuple[str, SetFields]:
        """(the array that says where episodes end, "" if each file is an episode; the fields)."""
        sets: list[tuple[ArraySet, int]] = []
        fault: ValueError | None = None
        try:
            for path, size in self._sizes.items():
                try:
                    sets.append((open_set(path), size))
                except ValueError as error:  # it becomes a reject
                    fault = fault or error
                if len(sets) == LOOK:
                    break
            if not sets:
                raise SourceError(f"{fault}") from fault
            name = ends_name(sets[0][0].headers, self._options.ends)
            if name and name not in sets[0][0].headers:
                there = ", ".join(sets[0][0].headers) or "none"
                raise SourceError(f"option ends={name}: {sets[0][0].path} has no such array; arrays: {there}")
            return name, read_fields(sets, name, self._options, LOOK_ROWS)
        finally:
            for one, _ in sets:
                one.close()

    @functools.cached_property
    def _reading(self) -> StepReading:
        return StepReading(self._looked_at[1].step_fields, self._options)

    @property
    def _task(self) -> str:
        return self._options.task_of(self._found.name)

    def readings(self) -> Mapping[str, StepReading]:
        return {self._task: self._reading}

    def notes(self) -> list[str]:
        ends = {path: found for path, found in self._ends.items() if not isinstance(found, str)}
        rest = {path: rows - int(found.stops[-1]) for path, (found, rows) in ends.items()}
        behind = [
            f"{path}: {rows} rows after the last end are in no episode" for path, rows in rest.items() if rows > 0
        ]
        return [*self._found.notes, *behind, *self._reading.notes]

    def splits(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._splits.values()))

    def split_counts(self, partition: dict[str, Any]) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for piece in partition["pieces"]:
            counts[self._split(self._found.paths[piece["uri"]]) or "train"] += piece.get("count", 1)
        return counts

    def inputs(self) -> list[dict[str, Any]]:
        return [names_and_sizes(self._argument, self._sizes.items())]

    @functools.cached_property
    def _ends(self) -> dict[str, tuple[Ends, int] | str]:
        """{path: where its episodes end and its number of rows, or what is wrong}; {} if each file is an episode."""
        return {path: self._ends_of(path) for path in self._sizes} if self._looked_at[0] else {}

    def _ends_of(self, path: str) -> tuple[Ends, int] | str:
        try:
            with contextlib.closing(open_set(path)) as one:
                return self._read_ends(one), steps_of(one, self._options, self._looked_at[0])
        except RemoteError:
            raise
        except Exception as error:  # zipfile and zlib raise errors of many kinds
            return f"{error}" if str(error).startswith(path) else f"{path}: {error}"

    def _read_ends(self, one: ArraySet) -> Ends:
        name = self._looked_at[0]
        rows = one.rows(name)
        return find_ends(rows.read(0, len(rows)), name, steps_of(one, self._options, name))

    def partitions(self) -> list[dict[str, Any]]:
        """{"count", "pieces"}: each a file that is an episode, {"uri", "bytes"}; or `count` episodes of one from number
        `first`, in the rows [start, stop); or what is wrong with it, "fault". One at an address has a "stamp"."""
        if not self._looked_at[0]:
            growth = step_bytes(self._reading.spec) * self._looked_at[1].steps / max(1, self._looked_at[1].bytes)
            sizes = self._sizes.items()
            pieces = [Piece(_named(path, size), RECORD_BYTES + int(size * growth)) for path, size in sizes]
        else:
            pieces = self._stacked_pieces()
        groups = pack(pieces, self.shard_bytes)
        return [{"count": sum(piece.get("count", 1) for piece in group), "pieces": group} for group in groups]

    def _stacked_pieces(self) -> list[Piece]:
        if all(isinstance(found, str) for found in self._ends.values()):
            raise SourceError(str(next(iter(self._ends.values()))))
        each, pieces = step_bytes(self._reading.spec), list[Piece]()
        weights = {
            path: (found[0].stops - found[0].starts) * each + RECORD_BYTES
            for path, found in self._ends.items()
            if not isinstance(found, str)
        }
        most = partition_bytes(sum(int(one.sum()) for one in weights.values()), self.shard_bytes)
        for path, found in self._ends.items():
            named = _named(path, self._sizes[path])
            if isinstance(found, str):
                pieces.append(Piece({**named, "fault": found}, RECORD_BYTES))
                continue
            for first, stop in runs(weights[path], most):
                rows = {"start": int(found[0].starts[first]), "stop": int(found[0].stops[stop - 1])}
                weight = int(weights[path][first:stop].sum())
                pieces.append(Piece({**named, "count": stop - first, "first": first, **rows}, weight))
        return pieces

    def candidates(self, partition: dict[str, Any]) -> Iterator[Candidate]:
        maker = SetEpisodes(self._looked_at[1], self._reading)
        try:
            for piece in partition["pieces"]:
                if "first" in piece:
                    yield from self._stacked(piece, maker)
                else:
                    whole = functools.partial(self._whole, piece, maker)
                    yield self._candidate(piece["uri"], piece["uri"], 0, whole)
        finally:
            maker.end()

    def _stacked(self, piece: dict[str, Any], maker: SetEpisodes) -> Iterator[Candidate]:
        path, first, count = piece["uri"], piece["first"], piece["count"]
        with contextlib.closing(open_set(path, _size(piece))) as one:
            ends = self._read_ends(one)
        bounds = [0, *ends.stops.tolist()][first : first + count + 1]
        if [bounds[0], bounds[-1], len(bounds)] != [piece["start"], piece["stop"], count + 1]:
            raise ValueError(f"{path} has changed since it was planned; plan again")
        for number, start, stop in zip(range(first, first + count), bounds[:-1], bounds[1:], strict=True):
            cut = ends.cut and number == len(ends.stops) - 1
            load = functools.partial(maker.rows, path, _size(piece), range(start, stop), cut)
            yield self._candidate(f"{path}#{number}", path, number, load)

    def _whole(self, piece: dict[str, Any], maker: SetEpisodes, metadata: EpisodeMetadata) -> Episode:
        if "fault" in piece:
            raise ValueError(piece["fault"])
        return maker.whole(piece["uri"], _size(piece), metadata)

    def _candidate(self, name: str, path: str, number: int, load: Callable[[EpisodeMetadata], Episode]) -> Candidate:
        metadata = EpisodeMetadata(name, domain="npz", task=self._task, source_uri=path, source_index=number)
        return Candidate(name, path, number, functools.partial(load, metadata), self._split(self._found.paths[path]))


def _named(path: str, size: Size) -> dict[str, Any]:
    """How a piece names a file or folder."""
    return {"uri": path, "bytes": size, **stamped(size)}


def _size(piece: dict[str, Any]) -> Size:
    return Size(piece["bytes"], piece.get("stamp", ""))
