"""Which window of which record stands where: a pure function of seed and round, from the episode list alone.

A *round* is a fixed number of consecutive batches, drawn together so that a long record that was read serves several
rows. Nothing is read here: how many tokens a record has, the list says.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gato_model.data.episode_table import EpisodeTable

SAMPLES = 5  # vision-language samples that make one sequence (paper section 2.3)
STEPS, DOCUMENT, SAMPLE = range(3)  # styles of a task: an agent's timesteps, plain text, text with images
_GROUP = 16  # rows that get records of one class; at most so many windows are taken from a record together
_LEAST_ROOM = 32  # a row is full when less than this part of it is left


class Piece(NamedTuple):
    """At most `room` tokens of a record, to stand in a row behind the pieces before it; `place` as in `window_at`."""

    row: int
    segment: int  # from 1
    share: int
    record: int  # row of the share's table
    room: int
    place: float


class _Draw(NamedTuple):
    """What was drawn for one segment: records (several of a vision-language sequence), and a prompt's or -1."""

    records: tuple[int, ...]
    place: float
    prompt: int = -1
    prompt_place: float = 0.0


class _Class(NamedTuple):
    """The records of a share from which `windows` windows are taken together: one for each two rows' lengths."""

    windows: int
    records: NDArray[np.int64]
    cumulative: NDArray[np.float64]  # of the records' weights
    tokens: int


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """A share's records as the plan sees them.

    Every token is about equally often in a window. Rows are dealt to classes by the classes' tokens. In a class, a
    record that fits in a row is taken whole, so all such count alike (of samples, several are taken at once); a longer
    one counts by its length.
    """

    table: EpisodeTable
    style: NDArray[np.uint8]  # [tasks] STEPS, DOCUMENT or SAMPLE
    classes: tuple[_Class, ...]
    step: NDArray[np.int64]  # [R] mean tokens of a timestep, rounded up
    starts: NDArray[np.int64]  # [E + 1] the episodes' first records
    group: NDArray[np.int64]  # [E]
    members: NDArray[np.int64]  # [E] episodes by group
    first: NDArray[np.int64]  # [groups + 1] where each group starts among the members
    rank: NDArray[np.int64]  # [E] of each episode among the members
    of_task: tuple[NDArray[np.int64], ...]  # records of each task

    @classmethod
    def of(cls, table: EpisodeTable, style: NDArray[np.uint8], length: int) -> "Source":
        """For rows of `length` tokens."""
        tokens, task, starts = table.tokens, table.columns["task"], table.episode_starts
        samples = style[task] == SAMPLE
        windows = np.where(samples, 1, np.minimum(-(-tokens // (2 * length)), _GROUP))
        weights = np.maximum(1.0, tokens / length) / np.where(samples, SAMPLES, 1)
        classes = []
        for count in np.unique(windows):
            records = np.flatnonzero(windows == count)
            classes.append(_Class(int(count), records, np.cumsum(weights[records]), int(tokens[records].sum())))
        group = table.columns["group"][starts[:-1]]
        members = np.argsort(group, kind="stable")
        first = np.searchsorted(group[members], np.arange(len(table.groups) + 1))
        rank = np.argsort(members)
        of_task = tuple(np.flatnonzero(task == number) for number in range(len(table.tasks)))
        step = -(-tokens // table.columns["steps"])
        return cls(table, style, tuple(classes), step, starts, group, members, first, rank, of_task)

    def draw(self, class_: _Class, prompt_share: float, random: np.random.Generator) -> list[_Draw]:
        """A record, and the windows that are taken from it."""
        cumulative = class_.cumulative
        at = int(cumulative.searchsorted(random.random() * cumulative[-1], side="right"))
        record = int(class_.records[min(at, len(cumulative) - 1)])
        task = self.table.columns["task"][record]
        if self.style[task] == SAMPLE:
            others = self.of_task[task]
            more = others[(random.random(SAMPLES - 1) * len(others)).astype(np.int64)]
            return [_Draw((record, *map(int, more)), 0.0)]
        places = _strata(class_.windows, random)
        if self.style[task] == STEPS and random.random() < prompt_share:
            prompt, from_end = self._prompt(record, random)
            prompt_places = [1.0] * len(places) if from_end else _strata(len(places), random)
            pairs = zip(places, prompt_places, strict=True)
            return [_Draw((record,), place, prompt, prompt_place) for place, prompt_place in pairs]
        return [_Draw((record,), place) for place in places]

    def _prompt(self, record: int, random: np.random.Generator) -> tuple[int, bool]:
        """(a record of another episode of the same task and agent, or -1 where there is none; from its end?)."""
        episode = int(self.table.columns["episode"][record])
        first, behind = self.first[self.group[episode]], self.first[self.group[episode] + 1]
        if behind - first < 2:
            return -1, False
        chosen = int(first + random.random() * (behind - first - 1))
        chosen += chosen >= self.rank[episode]
        start, stop = self.starts[self.members[chosen]], self.starts[self.members[chosen] + 1]
        if random.random() < 0.5:
            return int(stop - 1), True
        tokens = np.cumsum(self.table.tokens[start:stop])
        return int(start + np.searchsorted(tokens, random.random() * tokens[-1], side="right")), False

    def lay(self, draw: _Draw, room: int, fresh: bool) -> list[tuple[int, int, float]]:
        """(record, room, place) of each piece of a draw in the room left of a row; none where nothing fits."""
        tokens, record = self.table.tokens, draw.records[0]
        style = self.style[self.table.columns["task"][record]]
        length = int(tokens[record])
        if style == SAMPLE:
            return self._lay_samples(draw, room) if fresh or length <= room else []
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

    def _lay_samples(self, draw: _Draw, room: int) -> list[tuple[int, int, float]]:
        pieces = []
        for record in draw.records:
            size = min(int(self.table.tokens[record]), room)
            if size:
                pieces.append((record, size, 0.0))
            room -= size
        return pieces


@dataclasses.dataclass(frozen=True)
class RoundShape:
    """`batches` consecutive batches of `batch_size` rows of `length` tokens each."""

    batches: int
    batch_size: int
    length: int


def plan_round(
    sources: list[Source], weights: NDArray[np.float64], shape: RoundShape, prompt_share: float, seed: int, number: int
) -> tuple[NDArray[np.int64], list[Piece]]:
    """(the share of each row, int64[rows]; the pieces) of round `number`. `weights` sum to 1."""
    random = np.random.default_rng([seed, number])
    shares = np.concatenate([_divided(weights, shape.batch_size, random) for _ in range(shape.batches)])
    order = random.permutation(len(shares))  # a record's windows go to rows far from one another
    pieces: list[Piece] = []
    for share, source in enumerate(sources):
        rows = order[shares[order] == share]
        pieces += _fill_rows(rows, share, source, shape.length, prompt_share, random)
    return shares, pieces


def _divided(weights: NDArray[np.float64], count: int, random: np.random.Generator) -> NDArray[np.int64]:
    """int64[count] in random order: each number as often as its weight says, to within one, and exactly in the mean."""
    marks = (np.arange(count) + random.random()) / count
    return random.permutation(np.searchsorted(np.cumsum(weights)[:-1], marks, side="right"))


def _fill_rows(
    rows: NDArray[np.int64],
    share: int,
    source: Source,
    length: int,
    prompt_share: float,
    random: np.random.Generator,
) -> list[Piece]:
    """The pieces of a share's rows. What was drawn and not used waits for the next row of its class."""
    tokens = np.array([class_.tokens for class_ in source.classes], np.float64)
    classes = _divided(tokens / tokens.sum(), -(-len(rows) // _GROUP), random)
    waiting: list[list[_Draw]] = [[] for _ in source.classes]
    pieces: list[Piece] = []
    for index, row in enumerate(rows.tolist()):
        chosen = int(classes[index // _GROUP])
        room, segment, taken = length, 1, set()
        while room * _LEAST_ROOM >= length:
            queue = waiting[chosen]
            at = next((i for i, draw in enumerate(queue) if draw.records[0] not in taken), len(queue))
            if at == len(queue):
                queue += source.draw(source.classes[chosen], prompt_share, random)
            laid = source.lay(queue[at], room, segment == 1)
            if not laid:
                break  # it waits: what is long must not be passed over
            taken.add(queue.pop(at).records[0])
            pieces += [Piece(row, segment, share, record, size, place) for record, size, place in laid]
            room, segment = room - sum(size for _, size, _ in laid), segment + 1
    return pieces


def _strata(count: int, random: np.random.Generator) -> list[float]:
    """`count` places, one in each of as many equal parts of [0, 1), in random order: each alone is uniform."""
    if count == 1:
        return [float(random.random())]
    return ((random.permutation(count) + random.random(count)) / count).tolist()
