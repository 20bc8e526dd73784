"""RejectBudget: how many episodes may fail before nothing is published."""

from collections.abc import Mapping
from pathlib import Path


class RejectBudgetError(RuntimeError):
    """More episodes were rejected than `--max-rejects` allows."""


class RejectBudget:
    """`--max-rejects`: a count (`10`) or a share of the episodes read (`0.5%`).

    Raises ValueError for anything else.
    """

    def __init__(self, text: str = "0") -> None:
        self.text = text
        number = text.removesuffix("%")
        try:
            self.limit = float(number) if text.endswith("%") else int(number)
        except ValueError as error:
            raise ValueError(f"--max-rejects is a count such as 10 or a share such as 0.5%, not {text!r}") from error
        if not 0 <= self.limit <= (100 if text.endswith("%") else float("inf")):
            raise ValueError(f"--max-rejects cannot be {text}")

    def allows(self, rejected: int, read: int) -> bool:
        """Whether so many rejects of so many episodes are few enough."""
        return rejected <= (read * self.limit / 100 if self.text.endswith("%") else self.limit)

    def check(self, reasons: Mapping[str, int], read: int, folder: Path) -> None:
        """Raise RejectBudgetError where the finished work in `folder` has too many rejects ({reason: count})."""
        rejected = sum(reasons.values())
        if not self.allows(rejected, read):
            raise RejectBudgetError(
                f"{rejected} of {read} episodes were rejected ({_listed(reasons)}), --max-rejects is {self.text}."
                f" Nothing is published. Each has a line in {folder / 'rejects'}; the same command with --max-rejects"
                f" {rejected} publishes the rest without doing the work again"
            )

    def check_early(self, reasons: Mapping[str, int], most: int | None, folder: Path) -> None:
        """Raise RejectBudgetError where no further episode can bring the rejects so far within the budget.

        most: so many episodes will be read in all, at most; None: nobody knows, and a share is judged at the end.
        """
        rejected = sum(reasons.values())
        share = self.text.endswith("%")
        if (share and most is None) or self.allows(rejected, most or 0):
            return
        raise RejectBudgetError(
            f"stopped early: {rejected} episodes{f' of {most} at most' if share else ''} are rejected already"
            f" ({_listed(reasons)}), --max-rejects is {self.text}. Nothing is published. `gato-data rejects list"
            f" {folder}` shows them; what is done is kept, and the same command with a larger --max-rejects goes on"
        )


def _listed(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
