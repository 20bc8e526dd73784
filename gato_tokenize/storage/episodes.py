"""Some episodes of a dataset, as a sequence."""

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, overload

from gato_tokenize.episode import Episode

if TYPE_CHECKING:
    from gato_tokenize.storage.dataset import Dataset


@dataclasses.dataclass(frozen=True)
class Episodes:
    """Some episodes of a dataset, in some order: `dataset[10:20]`. An episode is read when it is asked for."""

    dataset: "Dataset"
    numbers: range

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[Episode]:
        return (self.dataset[number] for number in self.numbers)

    @overload
    def __getitem__(self, wanted: int) -> Episode: ...
    @overload
    def __getitem__(self, wanted: slice) -> "Episodes": ...
    def __getitem__(self, wanted: int | slice) -> "Episode | Episodes":
        if isinstance(wanted, slice):
            return Episodes(self.dataset, self.numbers[wanted])
        return self.dataset[self.numbers[wanted]]
