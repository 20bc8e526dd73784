"""Mix datasets by weight into batches, each a function of seed and step (Reed et al. 2022, section 2.3)."""

import functools
import itertools
import os
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gato_model.data.batch_fields import BATCH_FIELDS
from gato_model.data.packing import Placed, pack, patch_places
from gato_model.data.read_ahead import ReadAhead, mapped
from gato_model.data.record_reader import OpenedRecord
from gato_model.data.round_plan import STEPS, PlannedWindow, RoundShape, plan_round, sequences_apart, shares_of_rows
from gato_model.data.share import OpenedShare, one_identity, too_long
from gato_model.data.share import Share as Share
from gato_model.data.target_check import LostTargets
from gato_model.data.token_identity import TokenIdentity, token_identity
from gato_model.data.windows import UnreadPatches, Window, window_at

_LARGE = 64 << 10  # bytes of a round's mean record from which on threads help: smaller ones hold Python's lock
_ROUND_ROWS = 128  # rows that are drawn together at least; a record of 16 rows' lengths serves 8 of them

Batch = dict[str, NDArray[Any]]


def batches(
    shares: "Sequence[Share | str | os.PathLike[str]] | Share | str | os.PathLike[str]",
    batch_size: int,
    sequence_length: int = 1024,
    *,
    seed: int = 0,
    split: str = "train",
    prompt_share: float = 0.25,
    history_dropout: float = 0.0,
    quantization: int = 128,
    rows: tuple[int, int] | None = None,
    identity: TokenIdentity | None = None,
    check_identity: bool = True,
    cache_bytes: int = 256 << 20,
    threads: int = 1,
) -> "Batches":
    """Mix shares into batches of `batch_size` rows of `sequence_length` tokens.

    shares: a share may be given as its path, and one alone without a list
    seed: batch(step) depends on it, on step, on the data and on these options, but not on rows, cache_bytes or threads
    prompt_share: the fraction of agents' sequences that get a prompt, tokens of another episode of the same task and
        agent before them
    history_dropout: the fraction of agents' sequences in which no timestep sees another, so that an action must be
        told from its own observation: a model that always sees the last action learns to repeat it
    quantization: the number of positions along a picture's side (appendix C.3)
    rows: (start, stop): this worker reads and returns only these rows of each batch
    identity: that of the model's tokens; a dataset with a different one is refused, as is a mixture of different ones,
        unless check_identity is False
    cache_bytes: bytes of decoded records that stay in memory from round to round, in addition to one round; a share of
        which less than half would fit is read anew each time, since only the parts that are needed are kept then
    threads: records that are read and decompressed at a time where they are large, as those of pictures; where
        they are small, threads would only wait for each other, and one reads

    Raises FileNotFoundError if a folder holds no dataset, KeyError if it has no such split, and ValueError for an
    option out of range, datasets with different tokens, a share without episodes, or a task whose timesteps are longer
    than a row.
    """
    if isinstance(shares, Share | str | os.PathLike):
        shares = [shares]
    mixture = [share if isinstance(share, Share) else Share(share) for share in shares]
    if not mixture:
        raise ValueError("no shares: give at least one dataset")
    for name, value, least in (
        ("batch_size", batch_size, 1), ("sequence_length", sequence_length, 2), ("seed", seed, 0),
        ("threads", threads, 1),
    ):  # fmt: skip
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"{name} must be an int of at least {least}, not {value!r}")
    if not 0 <= prompt_share <= 1:
        raise ValueError(f"prompt_share must be in [0, 1], not {prompt_share!r}")
    if not 0 <= history_dropout <= 1:
        raise ValueError(f"history_dropout must be in [0, 1], not {history_dropout!r}")
    if cache_bytes < 0 or quantization < 1:
        raise ValueError(f"cache_bytes {cache_bytes!r} or quantization {quantization!r} is too small")
    start, stop = rows or (0, batch_size)
    if not 0 <= start < stop <= batch_size:
        raise ValueError(f"rows must be (start, stop) inside the {batch_size} of a batch, not {rows!r}")
    shape = RoundShape(-(-_ROUND_ROWS // batch_size), batch_size, sequence_length)
    opened = [OpenedShare.open(share, split, sequence_length, cache_bytes // len(mixture)) for share in mixture]
    if check_identity:
        identity = one_identity(opened, identity)
    shares_of_agents = prompt_share, history_dropout
    return Batches(opened, shape, (start, stop), seed, shares_of_agents, quantization, identity, threads)


class Batches:
    """The batches that `batches` mixes. A batch is a dict with an array for each of `BATCH_FIELDS`.

    A row holds sequences of one share, drawn and packed until less than 1/32 of it is left, or not one timestep of the
    next sequence fits. A sequence that is longer than the room left is cut to a random window of whole timesteps (a
    document: of any tokens). Rows of a long record are drawn together, so that it is read once for several of them:
    see `round_plan`.

    It can be pickled, for the processes of PyTorch's DataLoader and the like; a copy opens the files again.

    names, weights, domains, left_out: one a share; weights sum to 1, left_out is {task: number of episodes below
        `min_expert_share`}
    identity: that of the tokens
    local_positions: the rows that a model's table of local positions needs
    """

    def __init__(
        self,
        opened: list[OpenedShare],
        shape: RoundShape,
        rows: tuple[int, int],
        seed: int,
        shares_of_agents: tuple[float, float],
        quantization: int,
        identity: TokenIdentity | None,
        threads: int,
    ) -> None:
        self._opened, self._shape, self._rows, self._seed = opened, shape, rows, seed
        self._prompt_share, self._history_dropout = shares_of_agents
        self._quantization, self._threads = quantization, threads
        self.batch_size, self.sequence_length = rows[1] - rows[0], shape.length
        weights = np.array([one.share.weight for one in opened], np.float64)
        self.weights = weights / weights.sum()
        self.names = [str(one.dataset.manifest["dataset"]) for one in opened]
        self.left_out = [one.left_out for one in opened]
        self.identity = identity or token_identity(opened[0].dataset.tokenizer)
        self.local_positions = max(one.dataset.tokenizer.local_positions for one in opened)
        self.bytes_used = 0.0  # the records' bytes, each counted by the fraction of its tokens that windows took
        self._round: tuple[int, dict[int, Batch]] = (-1, {})  # its number; the batches that were not asked for yet
        self._lock = threading.Lock()

    @functools.cached_property
    def domains(self) -> list[str]:
        """Return the domain that the records of each share name, several joined by commas."""
        return [one.domains() for one in self._opened]

    @property
    def tokenizer_sha256(self) -> str:
        """Return the sha256 of `identity`."""
        return self.identity.sha256

    @property
    def bytes_read(self) -> int:
        """Count the bytes read from the shards so far."""
        return sum(one.reader.bytes_read for one in self._opened)

    def lost_targets(self) -> list[LostTargets]:
        """Find the tasks whose records may keep no target in these rows. It reads a few of their records."""
        return [lost for one in self._opened for lost in one.lost_targets()]

    def rows_of_shares(self, step: int) -> NDArray[np.int64]:
        """Count the rows of each share in the whole batch of a step, int64[shares]; nothing is read."""
        number, index = divmod(step, self._shape.batches)
        size = self._shape.batch_size
        shares = shares_of_rows(self.weights, self._shape, self._seed, number)[index * size : (index + 1) * size]
        return np.bincount(shares, minlength=len(self.weights))

    def batch(self, step: int) -> Batch:
        """Make batch number `step`, from 0.

        Raises CorruptRecordError for a damaged record, OSError if a file cannot be read.
        """
        if step < 0:
            raise ValueError(f"step must be at least 0, not {step}")
        number, index = divmod(step, self._shape.batches)
        with self._lock:
            if self._round[0] != number or index not in self._round[1]:
                self._round = (-1, {})  # freed before the next is read: there is memory for one
                self._round = number, self._read_round(number)
            return self._round[1].pop(index)

    def iterate(self, start: int = 0, prefetch: int = 2) -> "ReadAhead[Batch]":
        """Iterate over the batches from step `start` on, forever; a thread reads `prefetch` of them ahead.

        Its errors are raised by `next`. Close the iterator, or use it in a `with`, to stop the thread.
        """
        return ReadAhead(self.batch, start, prefetch)

    def dataset(self, start: int = 0, prefetch: int = 2) -> Any:
        """Wrap `iterate` in a `tf.data.Dataset` of dicts; K and N are unknown in its element_spec. Needs TensorFlow.

        Each iterator over the dataset begins at `start` again.
        """
        import tensorflow as tf

        def generate() -> Iterator[Batch]:
            with self.iterate(start, prefetch) as ahead:
                yield from ahead

        shapes = {field: field.shape(self.batch_size, self.sequence_length) for field in BATCH_FIELDS}
        signature = {field.name: tf.TensorSpec(shape, field.dtype) for field, shape in shapes.items()}
        return tf.data.Dataset.from_generator(generate, output_signature=signature)

    def steps(self, workers: int, start: int = 0) -> Iterator[int]:
        """Yield the steps, from the `start`-th on, in an order in which `workers` that take turns share no round.

        It is for PyTorch's DataLoader: docs/reading.md. Each step comes once; for rounds of 3 batches and two workers
        the order is 0, 3, 1, 4, 2, 5, 6, 9 and so on.
        """
        size = self._shape.batches
        for number in itertools.count(start):
            turn, worker = divmod(number, workers)
            rounds, index = divmod(turn, size)
            yield (rounds * workers + worker) * size + index

    __getitem__ = batch  # as PyTorch's DataLoader reads a dataset
    __iter__ = None  # it would never end: `iterate` reads ahead and can be closed

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None, "_round": (-1, {})}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def close(self) -> None:
        """Close the shards' files; reading again opens them."""
        for one in self._opened:
            one.reader.close()

    def _read_round(self, number: int) -> dict[int, Batch]:
        """Read the batches of a round: {index in the round: batch}.

        Each record is read once, and sliced. One with patches is unpacked straight into the batches that hold parts of
        it; others are let go before.
        """
        tables = [one.draw_table for one in self._opened]
        shares, planned = plan_round(tables, self.weights, self._shape, self._prompt_share, self._seed, number)
        apart = sequences_apart(planned, tables, self._history_dropout, self._seed, number)
        start, stop = self._rows
        mine = [window for window in planned if start <= window.row % self._shape.batch_size < stop]
        wanted: dict[tuple[int, int], list[int]] = defaultdict(list)
        for index, plan in enumerate(mine):
            wanted[plan.share, plan.record].append(index)
        numbers = sorted(wanted)
        large = sum(self._size(*number) for number in numbers) >= _LARGE * len(numbers)
        with mapped(max(self._threads if large else 1, *(one.at_once for one in self._opened))) as map_:
            windows: dict[int, Window] = {}
            packed: dict[tuple[int, int], OpenedRecord] = {}
            opened = map_(lambda number: self._opened[number[0]].reader.open(number[1]), numbers)
            for one, record in zip(numbers, opened, strict=True):
                found = [self._window(mine[index], record.unread) for index in wanted[one]]
                self.bytes_used += self._size(*one) * sum(map(len, found)) / len(record.window)
                windows.update(zip(wanted[one], found, strict=True))
                if any(len(window.patches) for window in found):
                    packed[one] = record
            batches, patches = self._packed(mine, windows, shares, apart)
            parts = [[patches[index] for index in wanted[one] if index in patches] for one in packed]
            for _ in map_(OpenedRecord.fill, packed.values(), parts):
                pass
        return batches

    def _packed(
        self,
        planned: list[PlannedWindow],
        windows: dict[int, Window],
        shares: NDArray[np.int64],
        apart: set[tuple[int, int]],
    ) -> tuple[dict[int, Batch], dict[int, tuple[UnreadPatches, NDArray[np.uint8]]]]:
        """Pack the windows into the batches of a round: (the batches, {window: (its patches, their place there)}).

        apart: the (row, segment) of the sequences in which no timestep sees another
        """
        order = sorted(range(len(planned)), key=lambda index: planned[index].row)  # stable: as planned within a row
        order = [index for index in order if len(windows[index])]
        batches: dict[int, Batch] = {}
        places: dict[int, tuple[UnreadPatches, NDArray[np.uint8]]] = {}
        for number in range(self._shape.batches):
            start, stop = (number * self._shape.batch_size + row for row in self._rows)
            mine = [index for index in order if start <= planned[index].row < stop]
            placed = [
                Placed(planned[i].row - start, planned[i].segment, windows[i], planned[i][:2] in apart) for i in mine
            ]
            batch = pack(placed, self.batch_size, self.sequence_length, self._quantization)
            batches[number] = batch | {"dataset": shares[start:stop].astype(np.int32)}
            for index, at in zip(mine, patch_places(placed), strict=True):
                unread = windows[index].patches
                if isinstance(unread, UnreadPatches) and len(unread):
                    places[index] = unread, batch["patches"][at : at + len(unread)]
        return batches, places

    def _size(self, share: int, record: int) -> float:
        return float(self._opened[share].draw_table.table.columns["bytes"][record])

    def _window(self, plan: PlannedWindow, sequence: Window) -> Window:
        draws = self._opened[plan.share].draw_table
        table = draws.table
        task = int(table.columns["task"][plan.record])
        start, stop = window_at(sequence.step_splits, plan.room, plan.place, draws.style[task] != STEPS)
        if start == stop and plan.room == self.sequence_length:
            shortest = int(np.diff(sequence.step_splits).min())
            raise ValueError(too_long(table.tasks[task], shortest, self.sequence_length))
        return sequence.slice(start, stop)
