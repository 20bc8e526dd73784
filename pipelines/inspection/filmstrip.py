"""Filmstrip: timesteps of a record for a page, with pictures rebuilt from patches and the meaning of each token."""

import base64
import dataclasses
import io
import os
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gato_tokenize import Dataset, EpisodeMetadata, EpisodeTokenizer, Kind, Record, TextTokenizer, TokenSequence
from gato_tokenize.layout import Slot, image_grids, locate
from gato_tokenize.sequence import ACTION_POSITION, NO_POSITION

MOST_TOKENS = 400  # shown of a text outside timesteps, which may have thousands; a timestep is shown whole
END = "(end)"  # shown for the piece that closes a document, a caption or an answer
_CONTINUOUS = (Kind.CONTINUOUS, Kind.CONTINUOUS_ACTION)
_POSITIONS = {NO_POSITION: "none", ACTION_POSITION: "action row"}


@dataclasses.dataclass(frozen=True)
class Token:
    """One token as the page describes it."""

    id: int
    position: str  # local position
    value: str  # decoded
    loss: bool
    text: str  # written into its cell; "" unless it is a text token
    level: int | None  # its bin in percent of all bins; None unless it is continuous


@dataclasses.dataclass(frozen=True)
class Run:
    """The tokens of one slot in one timestep, except for the last `hidden` ones."""

    path: str
    kind: Kind
    tokens: list[Token]
    picture: str | None  # data URI of a PNG; None unless the tokens are patches
    hidden: int


@dataclasses.dataclass(frozen=True)
class Filmstrip:
    """The first timesteps of an episode; `hidden` more follow."""

    metadata: EpisodeMetadata
    steps: list[list[Run]]
    hidden: int


def filmstrip(dataset: Dataset, record: Record, steps: int) -> Filmstrip:
    """Return the first `steps` timesteps of a record, rebuilt from its tokens alone."""
    shown = record.sequence.steps(0, min(steps, record.sequence.num_steps))
    steps_of_runs = runs(dataset.tokenizer.task(record.metadata.task), dataset.tokenizer.text, shown)
    return Filmstrip(record.metadata, steps_of_runs, record.metadata.num_steps - shown.num_steps)


def runs(tokenizer: EpisodeTokenizer, text: TextTokenizer | None, sequence: TokenSequence) -> list[list[Run]]:
    """Explain the tokens of a sequence: for each timestep the runs of its slots, in token order."""
    reading = _Reading(tokenizer, text, sequence)
    return [list(reading.runs(step)) for step in range(sequence.num_steps)]


def pieces(text: TextTokenizer, ids: NDArray[np.int32]) -> list[str]:
    """Return the text that each id adds; the first bytes of a character add U+FFFD until it is complete."""
    said, parts = "", []
    for count in range(1, len(ids) + 1):
        whole = text.decode(ids[:count])
        parts.append(whole[len(os.path.commonprefix([said, whole])) :])
        said = whole
    return parts


class _Reading:
    """A sequence with its decoded episode, from which it explains each token."""

    def __init__(self, tokenizer: EpisodeTokenizer, text: TextTokenizer | None, sequence: TokenSequence) -> None:
        self.tokenizer, self.text, self.sequence = tokenizer, text, sequence
        self.fields = tokenizer.decode(sequence).fields
        self.found = locate(tokenizer.slots, sequence)
        self.grids = image_grids(tokenizer.slots, sequence)
        self.positions = sequence.local_positions
        self.patches_before = np.cumsum(sequence.kinds == Kind.PATCH) - 1

    def runs(self, step: int) -> Iterator[Run]:
        for slot in self.tokenizer.slots:
            start, end = self.found.span(slot.path, step)
            whole = self.tokenizer.spec.timesteps or slot.kind != Kind.TEXT
            stop = end if whole else min(end, start + MOST_TOKENS)
            picture = _png(self.fields[slot.path][step]) if slot.kind == Kind.PATCH else None
            yield Run(slot.path or "separator", slot.kind, self._tokens(slot, step, start, stop), picture, end - stop)

    def _tokens(self, slot: Slot, step: int, start: int, stop: int) -> list[Token]:
        ids, loss = self.sequence.ids[start:stop].tolist(), self.sequence.loss_mask[start:stop].tolist()
        positions = [_POSITIONS.get(at, str(at)) for at in self.positions[start:stop].tolist()]
        texts = self._texts(start, stop) if slot.kind == Kind.TEXT else [""] * len(ids)
        values = [repr(text) for text in texts] if slot.kind == Kind.TEXT else self._values(slot, step, start, stop)
        levels = [self._level(number) if slot.kind in _CONTINUOUS else None for number in ids]
        columns = (ids, positions, values, map(bool, loss), texts, levels)
        return [Token(*row) for row in zip(*columns, strict=True)]

    def _level(self, number: int) -> int:
        bins = self.tokenizer.vocabulary.continuous
        return round(100 * (number - bins.start) / max(1, len(bins) - 1))

    def _texts(self, start: int, stop: int) -> list[str]:
        text, ids = self.text, self.sequence.ids[start:stop]
        if text is None:
            return [""] * len(ids)
        ends = (ids == text.end_id) & (not self.tokenizer.spec.timesteps)
        return [END if end else part for end, part in zip(ends, pieces(text, ids), strict=True)]

    def _values(self, slot: Slot, step: int, start: int, stop: int) -> list[str]:
        if slot.kind == Kind.SEPARATOR:
            return ["end of the observation"]
        if slot.kind == Kind.PATCH:
            return self._patches(slot, step, start, stop)
        return [f"{number:.6g}" for number in np.ravel(self.fields[slot.path][step]).tolist()]

    def _patches(self, slot: Slot, step: int, start: int, stop: int) -> list[str]:
        columns = int(self.grids[slot.path][step][1])
        first = int(self.patches_before[start])
        means = self.sequence.patches[first : first + stop - start].mean(axis=(1, 2)).round().astype(int).tolist()
        places = [divmod(number, columns) for number in range(stop - start)]
        rows = zip(places, means, strict=True)
        return [
            f"row {row}, column {column}, mean RGB {red} {green} {blue}" for (row, column), (red, green, blue) in rows
        ]


def _png(frame: NDArray[np.uint8]) -> str:
    """A picture as a data URI, every pixel of it."""
    out = io.BytesIO()
    Image.fromarray(np.asarray(frame).squeeze()).save(out, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
