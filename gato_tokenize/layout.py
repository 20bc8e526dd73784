"""The order of tokens in a timestep (paper section 2.1): fields -> slots -> places in the stream.

Writing, training and acting all take it from here. A timestep of the toy task (spelled out in the tests):

    field       camera (64x80)  instruction  proprio      |  action
    slot        PATCH           TEXT         CONTINUOUS   SEPARATOR  CONTINUOUS_ACTION
    tokens      20              2            3            1          3
    loss        0               1            0            0          1
    position    0 .. 19         20, 21       22 .. 24     none       shared action row
"""

import dataclasses
import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from gato_tokenize.field_spec import ContinuousSpec, FieldSpec, ImageSpec, TextSpec
from gato_tokenize.modalities.image import PATCH, target_size
from gato_tokenize.sequence import TokenSequence
from gato_tokenize.spec import EpisodeSpec
from gato_tokenize.vocabulary import Kind


@dataclasses.dataclass(frozen=True)
class Slot:
    """The tokens of one field, or the separator, as they stand in every timestep."""

    path: str  # of its field; "" for the separator
    kind: Kind
    loss: bool  # is the model trained to predict these tokens?
    action: bool
    length: int | None  # tokens in a timestep; None: it varies (text, pictures of any size)


SEPARATOR = Slot("", Kind.SEPARATOR, loss=False, action=False, length=1)


def slots(spec: EpisodeSpec) -> tuple[Slot, ...]:
    """The slots of a timestep in token order: observation fields, separator, action fields.

    A document or sample (`timesteps=False`) has its fields in the order given, and no separator.

    Raises ValueError if two texts stand side by side and are both in the loss or both not: their border would be lost.
    """
    observation = [_slot(path, field, action=False) for path, field in spec.observation_fields.items()]
    action = [_slot(path, field, action=True) for path, field in spec.action_fields.items()]
    result = (*observation, SEPARATOR, *action) if spec.timesteps else tuple(observation)
    for one, two in zip(result, result[1:], strict=False):
        if one.kind == two.kind == Kind.TEXT and one.loss == two.loss:
            raise ValueError(
                f"{one.path} and {two.path} are texts side by side, and nothing in the tokens marks where one ends:"
                " join them into one field, or give one of them predict=False, or rename a key so that another field"
                " comes between"
            )
    return result


def _slot(path: str, field: FieldSpec, action: bool) -> Slot:
    if isinstance(field, TextSpec):
        return Slot(path, Kind.TEXT, field.predict, action, None)
    if isinstance(field, ImageSpec):
        size = field.resize or (target_size(*field.shape[:2]) if field.shape else None)
        return Slot(path, Kind.PATCH, False, action, (size[0] // PATCH) * (size[1] // PATCH) if size else None)
    length = math.prod(field.shape)
    if isinstance(field, ContinuousSpec):
        return Slot(path, Kind.CONTINUOUS_ACTION if action else Kind.CONTINUOUS, action, action, length)
    return Slot(path, Kind.DISCRETE_ACTION if action else Kind.DISCRETE, action, action, length)


@dataclasses.dataclass(frozen=True)
class Arrangement:
    """The places of each slot's tokens in a stream of T timesteps; made by `arrange` or `locate`.

    lengths: {path: an int, the same in every timestep, or int64[T]}; starts: {path: int64[T]}, the index of the slot's
    first token in each timestep; step_splits: int64[T + 1].
    """

    slots: tuple[Slot, ...]
    lengths: Mapping[str, "int | NDArray[np.int64]"]
    starts: Mapping[str, NDArray[np.int64]]
    step_splits: NDArray[np.int64]

    @property
    def steps(self) -> int:
        return len(self.step_splits) - 1

    def span(self, path: str, step: int) -> tuple[int, int]:
        """(first token, one past the last) of a slot in one timestep."""
        start, length = int(self.starts[path][step]), self.lengths[path]
        return start, start + (length if isinstance(length, int) else int(length[step]))

    def places(self, path: str) -> NDArray[np.int64]:
        """int64[n]: the index in the stream of each of the slot's tokens, in order."""
        starts, length = self.starts[path], self.lengths[path]
        if isinstance(length, int):
            return np.asarray(starts[:, None] + np.arange(length)).ravel()
        total = int(length.sum())
        return np.asarray(np.repeat(starts - np.cumsum(length) + length, length) + np.arange(total))

    def fill(self, values: Mapping[str, "int | NDArray[np.generic]"], dtype: type[np.generic]) -> NDArray[np.generic]:
        """Make a stream with values[path] at each slot's places: one number for all, or one for each token in order."""
        stream = np.zeros(int(self.step_splits[-1]), dtype)
        uniform = all(isinstance(length, int) for length in self.lengths.values())
        table = stream.reshape(self.steps, -1) if uniform else stream
        column = 0
        for slot in self.slots:
            value, length = values[slot.path], self.lengths[slot.path]
            if uniform and isinstance(length, int):  # faster: one slice of a [steps, tokens] view
                table[:, column : column + length] = value if np.ndim(value) == 0 else np.reshape(value, (-1, length))
                column += length
            else:
                stream[self.places(slot.path)] = value if np.ndim(value) == 0 else np.ravel(value)
        return stream


def arrange(slots: tuple[Slot, ...], lengths: Mapping[str, "int | NDArray[np.int64]"], steps: int) -> Arrangement:
    """Place the slots of `steps` timesteps one after the other; `lengths` as in `Arrangement`, one for each slot."""
    per_step = np.zeros(steps, np.int64)
    starts = {}
    for slot in slots:
        starts[slot.path] = per_step.copy()
        per_step += lengths[slot.path]
    step_splits = np.zeros(steps + 1, np.int64)
    per_step.cumsum(out=step_splits[1:])
    for offset in starts.values():
        offset += step_splits[:-1]
    return Arrangement(slots, dict(lengths), starts, step_splits)


def locate(slots: tuple[Slot, ...], sequence: TokenSequence) -> Arrangement:
    """Find the slots in a sequence, which may come from elsewhere: the inverse of `arrange`.

    Raises ValueError naming the first timestep whose tokens the slots do not fill.
    """
    splits = sequence.step_splits
    lengths = _known_lengths(slots, sequence)
    texts = [slot for slot in slots if slot.kind == Kind.TEXT]
    if len(texts) == 1:  # it has the tokens that the others leave, which is cheaper to find than its end
        lengths[texts[0].path] = np.maximum(np.diff(splits) - sum(lengths.values()), 0)
    run_length = _run_length(sequence) if len(texts) > 1 else None
    starts, start = {}, splits[:-1]
    for slot in slots:
        starts[slot.path] = start
        if run_length and slot.kind == Kind.TEXT:
            lengths[slot.path] = run_length(slot, start)
        start = start + lengths[slot.path]
    wrong = start != splits[1:]
    if wrong.any():
        raise ValueError(f"timestep {int(np.argmax(wrong))}: the sequence does not follow the layout of this spec")
    return Arrangement(slots, lengths, starts, splits)


def _known_lengths(slots: tuple[Slot, ...], sequence: TokenSequence) -> "dict[str, int | NDArray[np.int64]]":
    """{path: tokens in each timestep} of every slot but texts."""
    lengths: dict[str, int | NDArray[np.int64]] = {}
    for slot in slots:
        if slot.length is not None:
            lengths[slot.path] = slot.length
        elif slot.kind == Kind.PATCH:
            lengths[slot.path] = image_grids(slots, sequence)[slot.path].astype(np.int64).prod(axis=1)
    return lengths


def _run_length(sequence: TokenSequence) -> Callable[[Slot, NDArray[np.int64]], NDArray[np.int64]]:
    """A function (slot, its start in each timestep) -> its length there, which ends where the kind of the tokens or
    their part in the loss changes."""
    codes = np.append(sequence.kinds.astype(np.int16) * 2 + (sequence.loss_mask != 0), np.int16(-1))
    new_run = np.append(True, codes[1:] != codes[:-1])
    new_run[sequence.step_splits] = True
    borders = np.flatnonzero(new_run)

    def length(slot: Slot, starts: NDArray[np.int64]) -> NDArray[np.int64]:
        ends = borders[borders.searchsorted(starts, side="right").clip(max=len(borders) - 1)]
        same = codes[np.minimum(starts, len(codes) - 1)] == int(slot.kind) * 2 + slot.loss
        return np.where(same & (starts < sequence.step_splits[1:]), ends - starts, 0)

    return length


def image_grids(slots: tuple[Slot, ...], sequence: TokenSequence) -> dict[str, NDArray[np.int32]]:
    """{path: int32[T, 2]}: rows and columns of patches of each image field in each timestep.

    Raises ValueError if the sequence has another number of images.
    """
    paths = [slot.path for slot in slots if slot.kind == Kind.PATCH]
    if len(sequence.grids) != len(paths) * sequence.num_steps:
        where = f"{paths[0]}: " if paths else ""
        raise ValueError(f"{where}{len(sequence.grids)} images in {sequence.num_steps} timesteps")
    grids = sequence.grids.reshape(sequence.num_steps, len(paths), 2)
    return {path: grids[:, number] for number, path in enumerate(paths)}
