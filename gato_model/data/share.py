"""Share: a dataset's part in a mixture, as a person gives it; and the dataset, opened and checked."""

import dataclasses
import math
import os

import numpy as np

from gato_model.data.episode_table import EpisodeTable
from gato_model.data.record_reader import SequenceReader
from gato_model.data.round_plan import DOCUMENT, SAMPLE, STEPS, DrawTable
from gato_model.data.target_check import LostTargets, find_lost_targets
from gato_model.data.token_identity import TokenIdentity, token_identity
from gato_tokenize import Dataset, ImageSpec, Record
from gato_tokenize.layout import slots
from gato_tokenize.storage.dataset import DatasetTokenizer
from gato_tokenize.storage.store_path import StorePath

_AT_ONCE = 16  # requests to a store, each of which waits tens of milliseconds for its answer


@dataclasses.dataclass(frozen=True)
class Share:
    """A dataset's part in a mixture.

    path: a NAME/VERSION folder, on a disk or in a store ("s3://bucket/NAME/VERSION")
    weight: rows are drawn in proportion to it, relative to the other shares' weights
    min_expert_share: leave out episodes whose return is known to be below this fraction of the expert's (0.8 in the
        paper; see `EpisodeTable.with_expert_share`); None: keep all

    Raises ValueError for a weight that is not positive and finite, or a fraction outside [0, 1].
    """

    path: "str | os.PathLike[str]"
    weight: float = 1.0
    min_expert_share: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.path, str | os.PathLike):
            raise ValueError(f"path: expected the folder of a dataset, got {type(self.path).__name__}")
        if isinstance(self.weight, bool) or not 0 < self.weight < math.inf:
            raise ValueError(f"weight must be a positive finite number, not {self.weight!r} ({self.path})")
        if self.min_expert_share is not None and not 0 <= self.min_expert_share <= 1:
            raise ValueError(f"min_expert_share must be in [0, 1], or None, not {self.min_expert_share!r}")


@dataclasses.dataclass(frozen=True, eq=False)
class OpenedShare:
    """A share with its dataset open: the table that windows are drawn from, and the reader of its records.

    left_out: {task: number of episodes below `min_expert_share`}
    """

    share: Share
    dataset: Dataset
    left_out: dict[str, int]
    draw_table: DrawTable
    reader: SequenceReader
    length: int  # of a row, in tokens

    @classmethod
    def open(cls, share: Share, split: str, length: int, cache_bytes: int) -> "OpenedShare":
        """Open a share for rows of `length` tokens; `cache_bytes` of decoded records stay in memory.

        Raises FileNotFoundError if its folder holds no dataset, KeyError if the dataset has no such split, ValueError
        if the episode list is damaged, no episode is left, or a task's timesteps are longer than a row.
        """
        dataset = Dataset.open(share.path)
        table = EpisodeTable.read(dataset, split)
        left_out: dict[str, int] = {}
        if share.min_expert_share is not None:
            table, left_out = table.with_expert_share(share.min_expert_share)
        if not len(table):
            below = f", because all are below min_expert_share ({left_out}): lower it" if left_out else ""
            raise ValueError(f"{share.path}: split {split!r} has no episodes to draw from{below}")
        _check_lengths(dataset.tokenizer, table, length)
        style = np.array([task_style(dataset.tokenizer, task) for task in table.tasks], np.uint8)
        reader = SequenceReader(table, dataset.tokenizer.vocabulary.size, cache_bytes)
        return cls(share, dataset, left_out, DrawTable.of(table, style, length), reader, length)

    @property
    def at_once(self) -> int:
        """The number of records that are asked for at a time, however small they are: a store lets each wait."""
        return _AT_ONCE if isinstance(self.dataset.path, StorePath) else 1

    def lost_targets(self) -> list[LostTargets]:
        """Find the tasks whose records may keep no target in a row. It reads a few of them."""
        draws = self.draw_table
        found = (
            find_lost_targets(
                str(task), self.dataset.tokenizer.specs[task], int(draws.style[number]), draws.of_task[number],
                self.reader, self.length,
            )
            for number, task in enumerate(draws.table.tasks)
        )  # fmt: skip
        return [lost for lost in found if lost]

    def domains(self) -> str:
        """Join the different domains of the first record of each task."""
        task = self.draw_table.table.columns["task"]
        first = np.unique(task, return_index=True)[1]
        return ", ".join(sorted({Record.from_bytes(self.reader.data(int(r))).metadata.domain for r in first}))


def task_style(tokenizer: DatasetTokenizer, task: str) -> int:
    """Return STEPS for an agent's task, SAMPLE for text with images, DOCUMENT for plain text."""
    spec = tokenizer.specs[task]
    if spec.timesteps:
        return STEPS
    return SAMPLE if any(isinstance(field, ImageSpec) for field in spec.fields.values()) else DOCUMENT


def _check_lengths(tokenizer: DatasetTokenizer, table: EpisodeTable, length: int) -> None:
    """Raise ValueError if a task's timesteps cannot fit in `length` tokens."""
    columns = table.columns
    mean = -(-table.tokens // columns["steps"])
    for number, task in enumerate(table.tasks):
        if task not in tokenizer.specs:
            raise ValueError(f"task {str(task)!r} has records but no spec: the dataset is damaged")
        of_task = columns["task"] == number
        least = sum(slot.length or 0 for slot in slots(tokenizer.specs[task]))
        longest = max(least, int(mean[of_task].max(initial=0)))
        if task_style(tokenizer, task) == STEPS and of_task.any() and longest > length:
            raise ValueError(too_long(task, longest, length))


def too_long(task: str, longest: int, length: int) -> str:
    """Word the refusal of a task whose timesteps do not fit in a row."""
    return (
        f"task {task!r} has timesteps of {longest} tokens, sequence_length is {length}: raise it to at least {longest}"
        f" (gato-model train --sequence-length {longest}), or convert the task again with smaller images or texts"
    )


def one_identity(opened: list[OpenedShare], identity: TokenIdentity | None) -> TokenIdentity:
    """Join the identities of all datasets and of the model, if given. Raises ValueError naming two that differ."""
    sides = [("the model", identity)] if identity else []
    sides += [(str(one.share.path), token_identity(one.dataset.tokenizer)) for one in opened]
    joined = sides[0][1]
    for number, (name, mine) in enumerate(sides):
        for other, theirs in sides[:number]:
            theirs.joined(mine, (other, name))
        joined = joined.joined(mine, ("those before", name))
    return joined
