"""Samples that keep no target when they are cropped to a row: their rows teach nothing, so they are found before."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gato_model.data.record_reader import SequenceReader
from gato_model.data.windows import Window
from gato_tokenize.modalities.image import PATCH
from gato_tokenize.vocabulary import Kind

LOOKED_AT = 64  # samples of a task that are read at most


class LostTargets(NamedTuple):
    """The samples of a task that lose all their targets in rows of `length` tokens.

    `lost` of the `looked_at` samples do. Those are drawn evenly from the samples that are longer than a row: `longer`
    of `samples`.
    """

    task: str
    length: int
    samples: int
    longer: int
    looked_at: int
    lost: int
    patches: int  # of the largest sample that was looked at
    needed: int  # tokens of a row in which each of these has a target

    @property
    def all_lost(self) -> bool:
        """True if no sample of the task is known to keep a target."""
        return self.lost == self.looked_at and self.longer == self.samples

    def __str__(self) -> str:
        count = "none of its" if self.all_lost else f"about {round(self.longer * self.lost / self.looked_at)} of its"
        verb = "keeps a target" if self.all_lost else "lose all their targets"
        looked = "" if self.looked_at == self.longer else f" ({self.looked_at} of the {self.longer} longer ones read)"
        side = PATCH * max(math.isqrt(self.length // 2), 1)  # half a row
        return (
            f"task {self.task!r}: {count} {self.samples} samples {verb} in rows of {self.length} tokens{looked},"
            f" because up to {self.patches} image patches come first. Give --sequence-length {self.needed} or more,"
            f" or convert the source again with smaller pictures, for example ?resize={side}x{side}"
        )


def find_lost_targets(task: str, records: NDArray[np.int64], reader: SequenceReader, length: int) -> LostTargets | None:
    """Look for samples without a target in the first `length` tokens; None if there are none among those read.

    records: the rows of the samples in the reader's table. Raises CorruptRecordError for a damaged record.
    """
    longer = records[reader.table.tokens[records] > length]
    if not len(longer):
        return None
    chosen = longer[np.unique(np.linspace(0, len(longer) - 1, LOOKED_AT).astype(np.int64))]
    samples = [reader.read(int(record)) for record in chosen]
    lost = sum(not sample.loss_mask[1:length].any() for sample in samples)
    if not lost:
        return None
    patches = max(int(np.count_nonzero(sample.kinds == Kind.PATCH)) for sample in samples)
    needed = max(map(_needed, samples))
    return LostTargets(task, length, len(records), len(longer), len(samples), lost, patches, needed)


def _needed(sample: Window) -> int:
    """Count the tokens up to the first target; a sample's first token is never one."""
    targets = np.flatnonzero(sample.loss_mask[1:])
    return int(targets[0]) + 2 if len(targets) else len(sample)
