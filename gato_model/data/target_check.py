"""Records that may keep no target in a row: such a row teaches nothing, so they are found before the first step."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gato_model.data.record_reader import SequenceReader
from gato_model.data.round_plan import DOCUMENT, SAMPLE, STEPS
from gato_model.data.windows import Window, window_at
from gato_tokenize.layout import slots
from gato_tokenize.modalities.image import PATCH
from gato_tokenize.spec import EpisodeSpec
from gato_tokenize.vocabulary import Kind

LOOKED_AT = 64  # records of a task that are read at most
_PLACES = 17  # at which windows of a long record are tried
_NOUNS = {STEPS: "records", DOCUMENT: "documents", SAMPLE: "samples"}


class LostTargets(NamedTuple):
    """The records of a task that may lose all their targets in rows of `length` tokens.

    `lost` of the `looked_at` records do, `always` of them wherever they are cut. Those are drawn evenly from the
    records that may be at fault: `suspects` of `records`.
    """

    task: str
    style: int  # STEPS, DOCUMENT or SAMPLE
    length: int
    records: int
    suspects: int
    looked_at: int
    lost: int
    always: int
    patches: int  # of the largest record that was looked at
    needed: int  # tokens of a row in which each of these has a target; 0: none has one in any row

    @property
    def all_lost(self) -> bool:
        """True if no record of the task is known to keep a target."""
        return self.always == self.looked_at and self.suspects == self.records

    def __str__(self) -> str:
        count = "none of its" if self.all_lost else f"about {round(self.suspects * self.lost / self.looked_at)} of its"
        verb = "keeps a target" if self.all_lost else "lose all their targets"
        verb = verb if self.all_lost or self.style == SAMPLE else f"may {verb}"
        looked = (
            ""
            if self.looked_at == self.suspects
            else f" ({self.looked_at} of the {self.suspects} that may be at fault were read)"
        )
        return (
            f"task {self.task!r}: {count} {self.records} {_NOUNS[self.style]} {verb} in rows of {self.length}"
            f" tokens{looked}, because {self._why}"
        )

    @property
    def _why(self) -> str:
        """The reason, and how to go on."""
        if not self.needed:
            return (
                "they hold no token that is predicted after another one. Leave this dataset out, or convert it again"
                " with an action, or with longer texts that are predicted"
            )
        longer = f"Give --sequence-length {self.needed} or more"
        if self.patches:
            side = PATCH * max(math.isqrt(self.length // 2), 1)  # half a row
            return (
                f"up to {self.patches} image patches come first. {longer}, or convert the source again with smaller"
                f" pictures, for example ?resize={side}x{side}"
            )
        return f"as many tokens one after the other are not predicted. {longer}, or shorten the unpredicted texts"


def find_lost_targets(
    task: str, spec: EpisodeSpec, style: int, records: NDArray[np.int32], reader: SequenceReader, length: int
) -> LostTargets | None:
    """Look for records without a target in windows of `length` tokens; None if there are none among those read.

    style: STEPS, DOCUMENT or SAMPLE. records: the rows of the task's records in the reader's table; only those are read
    that may be at fault by the spec and their length. Raises CorruptRecordError for a damaged record.
    """
    suspects = _suspects(spec, records, reader.table.tokens[records], length)
    if not len(suspects):
        return None
    chosen = suspects[np.unique(np.linspace(0, len(suspects) - 1, LOOKED_AT).astype(np.int64))]
    windows = [reader.open(int(record)).window for record in chosen]
    kept = np.array([_keeps(window, style, length) for window in windows])  # [looked at, places]
    if kept.all():
        return None
    patches = max(int(np.count_nonzero(window.kinds == Kind.PATCH)) for window in windows)
    with_target = [window for window in windows if window.loss_mask[1:].any()]
    needed = max((_needed(window, style) for window in with_target), default=0)
    lost, always = int((~kept.all(axis=1)).sum()), int((~kept.any(axis=1)).sum())
    return LostTargets(
        task, style, length, len(records), len(suspects), len(windows), lost, always, patches, needed
    )  # fmt: skip


def _suspects(
    spec: EpisodeSpec, records: NDArray[np.int32], tokens: NDArray[np.int32], length: int
) -> NDArray[np.int32]:
    """Return the records whose windows are not known to hold a target; a window's first token is never one."""
    of_spec = slots(spec)
    if any(slot.action and slot.loss and slot.length for slot in of_spec):
        return records[:0]  # each timestep ends with an action
    if all(slot.loss for slot in of_spec):
        return records[tokens < 2]
    if not spec.timesteps and of_spec[-1].loss:  # a target at its end
        return records[tokens > length]
    return records


def _keeps(record: Window, style: int, length: int) -> list[bool]:
    """Say of the windows at several places whether they hold a target; a sample keeps its beginning."""
    places = np.zeros(_PLACES) if style == SAMPLE else np.linspace(0, 1, _PLACES)
    spans = [window_at(record.step_splits, length, place, style != STEPS) for place in places.tolist()]
    return [bool(record.loss_mask[start + 1 : stop].any()) for start, stop in spans]


def _needed(record: Window, style: int) -> int:
    """Count the tokens of a window that holds a target wherever it is cut."""
    return int(np.flatnonzero(record.loss_mask[1:])[0]) + 2 if style == SAMPLE else len(record)
