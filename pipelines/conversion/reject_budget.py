"""RejectBudget: how many episodes may fail before nothing is published."""

import dataclasses
import itertools
import shlex
from collections.abc import Mapping

from gato_tokenize.output import counted
from gato_tokenize.storage.store_path import Place
from pipelines.conversion.work_folder import WorkFolder

EXAMPLES = 3  # rejects that a message tells, each of another reason
SHOWN = 200  # characters of each


class RejectBudgetError(RuntimeError):
    """More episodes were rejected than `--max-rejects` allows."""


@dataclasses.dataclass(frozen=True)
class RejectBudget:
    """`--max-rejects`: a count (`10`) or a share of the episodes read (`0.5%`); raises ValueError for anything else.

    >>> RejectBudget("10%").allows(rejected=2, read=20), RejectBudget("1").allows(rejected=2, read=20)
    (True, False)
    """

    text: str = "0"

    def __post_init__(self) -> None:
        try:
            limit = self.limit
        except ValueError as error:
            raise ValueError(
                f"--max-rejects is a count such as 10 or a share such as 0.5%, not {self.text!r}"
            ) from error
        if not 0 <= limit <= (100 if self.is_share else float("inf")):
            raise ValueError(f"--max-rejects cannot be {self.text}")

    @property
    def is_share(self) -> bool:
        return self.text.endswith("%")

    @property
    def limit(self) -> float:
        """The count, or the share in percent."""
        return float(self.text.removesuffix("%")) if self.is_share else int(self.text)

    def allows(self, rejected: int, read: int) -> bool:
        """Return whether so many rejects of so many episodes are few enough."""
        return rejected <= (read * self.limit / 100 if self.is_share else self.limit)

    def check(self, reasons: Mapping[str, int], read: int, written: int, folder: Place) -> None:
        """Raise RejectBudgetError if the finished work in `folder` has too many rejects, `reasons` {reason: count}."""
        rejected = sum(reasons.values())
        if self.allows(rejected, read):
            return
        cure = (
            f"the same command with --max-rejects {rejected} publishes the rest without doing the work again"
            if written
            else f"not one was written: mend the sources, remove the folder {shlex.quote(str(folder))}, convert anew"
        )
        raise RejectBudgetError(
            f"{rejected} of {counted(read, 'episode')} rejected ({listed_reasons(reasons)}), --max-rejects is"
            f" {self.text}. Nothing is published. {examples(folder)}{how_to_list(folder)} shows each; {cure}"
        )

    def check_early(self, reasons: Mapping[str, int], most: int | None, folder: Place) -> None:
        """Raise RejectBudgetError if the rejects so far exceed the budget whatever the episodes to come are.

        most: the number of episodes that will be read in all, at most; None: unknown, so a share is judged at the end.
        """
        rejected = sum(reasons.values())
        if (self.is_share and most is None) or self.allows(rejected, most or 0):
            return
        share = f" of {most} at most" if self.is_share else ""
        raise RejectBudgetError(
            f"stopped early: {counted(rejected, 'episode')}{share} rejected already"
            f" ({listed_reasons(reasons)}), --max-rejects is {self.text}. Nothing is published. {examples(folder)}"
            f"{how_to_list(folder)} shows them; what is done is kept, and the same command with a larger --max-rejects"
            " goes on"
        )


def examples(folder: Place) -> str:
    """Return a sentence with the first reject of each of up to EXAMPLES reasons in a work folder; "" if there is
    none."""
    if not (folder / "_run").is_dir():
        return ""
    work, found = WorkFolder.open(folder), dict[str, str]()
    for reject in itertools.chain.from_iterable(map(work.rejects, work.indices)):
        message = " ".join(reject.message.split())
        shown = message if len(message) <= SHOWN else f"{message[:SHOWN]}..."
        found.setdefault(reject.reason, f"{reject.episode_id}: {shown}")
        if len(found) == EXAMPLES:
            break
    return f"For example, {'; and '.join(found.values())}. " if found else ""


def how_to_list(folder: Place) -> str:
    """Return the command that lists the rejects of a work folder."""
    return f"`gato-data rejects list {shlex.quote(str(folder))}`"


def listed_reasons(reasons: Mapping[str, int]) -> str:
    """List how often there was each of `reasons`: "3 read: ValueError, 1 tokenize: OverflowError"."""
    return ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
