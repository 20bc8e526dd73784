"""The plan of a round: which window of which record stands in which row, a pure function of seed and round number.

A *round* is a fixed number of consecutive batches that are drawn together, so that a long record is read once and
serves several rows. The plan needs the episode list alone, which gives each record's number of tokens.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gato_model.data.episode_table import EpisodeTable

SAMPLES = 5  # vision-language samples that make one sequence (paper section 2.3)
STEPS, DOCUMENT, SAMPLE = range(3)  # styles of tasks: an agent's timesteps, plain text, text with images
_GROUP = 16  # rows that share a class of records, and the most windows that are taken from a record together
_APART = 1  # which of a round's random numbers `sequences_apart` draws
_LEAST_ROOM = 32  # a row is full when less than 1/32 of it is left


class PlannedWindow(NamedTuple):
    """At most `room` tokens of a record, to follow the windows planned before it in its row.

    `place` says which tokens, as in `window_at`.
    """

    row: int
    segment: int  # from 1
    share: int
    record: int  # row of the share's table
    room: int
    place: float


class Draw(NamedTuple):
    """The records drawn for one segment (several for a vision-language sequence) and the prompt's record, or -1."""

    records: tuple[int, ...]
    place: float
    prompt: int = -1
    prompt_place: float = 0.0


class LengthClass(NamedTuple):
    """The records of a share that give `windows` windows each, one for each two rows' lengths of tokens."""

    windows: int
    records: NDArray[np.int32]
    cumulative: NDArray[np.float64]  # of the records' weights
    tokens: int


@dataclasses.dataclass(frozen=True, eq=False)
class DrawTable:
    """A share's records, weighted so that every token is about equally often in a window.

    Rows are dealt to classes in proportion to the classes' tokens. Within a class, records that fit in a row weigh the
    same, because they are taken whole (samples weigh less, because several are taken at once); a longer record weighs
    as its length.
    """

    table: EpisodeTable
    style: NDArray[np.uint8]  # [tasks] STEPS, DOCUMENT or SAMPLE
    classes: tuple[LengthClass, ...]
    step: NDArray[np.int32]  # [R] mean tokens of a timestep, rounded up
    starts: NDArray[np.int64]  # [E + 1] the episodes' first records
    group: NDArray[np.int32]  # [E]
    members: NDArray[np.int32]  # [E] episodes by group
    first: NDArray[np.int64]  # [groups + 1] index of each group's start in members
    rank: NDArray[np.int32]  # [E] index of each episode in members
    of_task: tuple[NDArray[np.int32], ...]  # records of each task

    @classmethod
    def of(cls, table: EpisodeTable, style: NDArray[np.uint8], length: int) -> "DrawTable":
        """Build the table for rows of `length` tokens; `style` uint8[tasks] holds STEPS, DOCUMENT or SAMPLE."""
        tokens, task, starts = table.tokens, table.columns["task"], table.episode_starts
        samples = style[task] == SAMPLE
        windows = np.where(samples, 1, np.minimum(-(-tokens // (2 * length)), _GROUP)).astype(np.uint8)
        classes = []
        for count in np.unique(windows):
            records = np.flatnonzero(windows == count).astype(np.int32)
            weights = np.maximum(1.0, tokens[records] / length) / np.where(samples[records], SAMPLES, 1)
            classes.append(LengthClass(int(count), records, np.cumsum(weights), int(tokens[records].sum())))
        group = table.columns["group"][starts[:-1]]
        members = np.argsort(group, kind="stable").astype(np.int32)
        first = np.searchsorted(group[members], np.arange(len(table.groups) + 1))
        rank = np.argsort(members).astype(np.int32)
        by_task = np.argsort(task, kind="stable").astype(np.int32)
        of_task = tuple(np.split(by_task, np.searchsorted(task[by_task], np.arange(1, len(table.tasks)))))
        step = -(-tokens // table.columns["steps"])
        return cls(table, style, tuple(classes), step, starts, group, members, first, rank, of_task)

    def draw(self, class_: LengthClass, prompt_share: float, random: np.random.Generator) -> list[Draw]:
        """Draw a record, and a place for each window that is taken from it."""
        cumulative = class_.cumulative
        at = int(cumulative.searchsorted(random.random() * cumulative[-1], side="right"))
        record = int(class_.records[min(at, len(cumulative) - 1)])
        task = self.table.columns["task"][record]
        if self.style[task] == SAMPLE:
            others = self.of_task[task]
            more = others[(random.random(SAMPLES - 1) * len(others)).astype(np.int64)]
            return [Draw((record, *map(int, more)), 0.0)]
        places = _strata(class_.windows, random)
        if self.style[task] == STEPS and random.random() < prompt_share:
            prompt, from_end = self._prompt(record, random)
            prompt_places = [1.0] * len(places) if from_end else _strata(len(places), random)
            pairs = zip(places, prompt_places, strict=True)
            return [Draw((record,), place, prompt, prompt_place) for place, prompt_place in pairs]
        return [Draw((record,), place) for place in places]

    def _prompt(self, record: int, random: np.random.Generator) -> tuple[int, bool]:
        """Draw a record of another episode of the same task and agent, -1 if there is none; whether to take its end."""
        episode = int(self.table.columns["episode"][record])
        first, end = self.first[self.group[episode]], self.first[self.group[episode] + 1]
        if end - first < 2:
            return -1, False
        chosen = int(first + random.random() * (end - first - 1))
        chosen += chosen >= self.rank[episode]
        start, stop = self.starts[self.members[chosen]], self.starts[self.members[chosen] + 1]
        if random.random() < 0.5:
            return int(stop - 1), True
        tokens = np.cumsum(self.table.tokens[start:stop])
        return int(start + np.searchsorted(tokens, random.random() * tokens[-1], side="right")), False

    def fit_into(self, draw: Draw, room: int, fresh: bool) -> list[tuple[int, int, float]]:
        """Return (record, room, place) of each window of a draw, for the room left in a row; [] if it does not fit.

        fresh: the row is still empty, so even a sample that is too long is taken, and cropped.
        """
        tokens, record = self.table.tokens, draw.records[0]
        style = self.style[self.table.columns["task"][record]]
        length = int(tokens[record])
        if style == SAMPLE:
            return self._fit_samples(draw, room) if fresh or length <= room else []
        if style == DOCUMENT:
            return [(record, min(length, room), draw.place)]
        step = int(self.step[record])
        if draw.prompt >= 0:
            most = max(room // 2, room - length)
            prompt = min(int(tokens[draw.prompt]), most)
            if prompt >= self.step[draw.prompt] and room - prompt >= step:
                sequence = (record, min(length, room - prompt), draw.place)
                return [(draw.prompt, prompt, draw.prompt_place), sequence]
        return [(record, min(length, room), draw.place)] if step <= room else []

    def _fit_samples(self, draw: Draw, room: int) -> list[tuple[int, int, float]]:
        windows = []
        for record in draw.records:
            size = min(int(self.table.tokens[record]), room)
            if size:
                windows.append((record, size, 0.0))
            room -= size
        return windows


@dataclasses.dataclass(frozen=True)
class RoundShape:
    """`batches` consecutive batches of `batch_size` rows of `length` tokens each."""

    batches: int
    batch_size: int
    length: int


def plan_round(
    tables: list[DrawTable],
    weights: NDArray[np.float64],
    shape: RoundShape,
    prompt_share: float,
    seed: int,
    number: int,
) -> tuple[NDArray[np.int64], list[PlannedWindow]]:
    """Plan round `number`: (the share of each row, int64[batches * batch_size]; the windows).

    weights: float64[shares], summing to 1. prompt_share: the fraction of the agents' sequences that get a prompt.
    """
    random = np.random.default_rng([seed, number])
    shares = _deal_rows(weights, shape, random)
    order = random.permutation(len(shares))  # a record's windows go to rows far from one another
    windows: list[PlannedWindow] = []
    for share, table in enumerate(tables):
        rows = order[shares[order] == share]
        windows += _fill_rows(rows, share, table, shape.length, prompt_share, random)
    return shares, windows


def shares_of_rows(weights: NDArray[np.float64], shape: RoundShape, seed: int, number: int) -> NDArray[np.int64]:
    """Return the share of each row of round `number`, as `plan_round` does, without planning the windows."""
    return _deal_rows(weights, shape, np.random.default_rng([seed, number]))


def _deal_rows(weights: NDArray[np.float64], shape: RoundShape, random: np.random.Generator) -> NDArray[np.int64]:
    return np.concatenate([_divided(weights, shape.batch_size, random) for _ in range(shape.batches)])


def _divided(weights: NDArray[np.float64], count: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Deal numbers by weight, int64[count] in random order: each to within one of its part, and exactly in the mean."""
    marks = (np.arange(count) + random.random()) / count
    return random.permutation(np.searchsorted(np.cumsum(weights)[:-1], marks, side="right"))


def sequences_apart(
    planned: Sequence[PlannedWindow], tables: Sequence[DrawTable], fraction: float, seed: int, number: int
) -> set[tuple[int, int]]:
    """Draw the (row, segment) of the agents' sequences of a round in which no timestep shall see another.

    It draws from numbers of its own: whatever `fraction`, the round has the same windows.
    """
    if not fraction:
        return set()
    of_agents = [
        (plan.row, plan.segment) for plan in planned
        if tables[plan.share].style[tables[plan.share].table.columns["task"][plan.record]] == STEPS
    ]  # fmt: skip
    segments = list(dict.fromkeys(of_agents))  # a prompt has the segment of its sequence
    draws = np.random.default_rng([seed, number, _APART]).random(len(segments))
    return {segment for segment, draw in zip(segments, draws.tolist(), strict=True) if draw < fraction}


def _fill_rows(
    rows: NDArray[np.int64],
    share: int,
    table: DrawTable,
    length: int,
    prompt_share: float,
    random: np.random.Generator,
) -> list[PlannedWindow]:
    """Plan a share's rows. Draws that are not used in one row wait for the next row of their class."""
    tokens = np.array([class_.tokens for class_ in table.classes], np.float64)
    classes = _divided(tokens / tokens.sum(), -(-len(rows) // _GROUP), random)
    waiting: list[list[Draw]] = [[] for _ in table.classes]
    windows: list[PlannedWindow] = []
    for index, row in enumerate(rows.tolist()):
        chosen = int(classes[index // _GROUP])
        room, segment, taken = length, 1, set()
        while room * _LEAST_ROOM >= length:
            queue = waiting[chosen]
            at = next((i for i, draw in enumerate(queue) if draw.records[0] not in taken), len(queue))
            if at == len(queue):
                queue += table.draw(table.classes[chosen], prompt_share, random)
            fitted = table.fit_into(queue[at], room, segment == 1)
            if not fitted:
                break  # it waits for the next row: passing over long records would make them rarer
            taken.add(queue.pop(at).records[0])
            windows += [PlannedWindow(row, segment, share, record, size, place) for record, size, place in fitted]
            room, segment = room - sum(size for _, size, _ in fitted), segment + 1
    return windows


def _strata(count: int, random: np.random.Generator) -> list[float]:
    """Draw `count` places in random order, one in each of `count` equal parts of [0, 1): each alone is uniform."""
    if count == 1:
        return [float(random.random())]
    return ((random.permutation(count) + random.random(count)) / count).tolist()
