"""Some episodes of a dataset, as a sequence."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import overload

from gato_tokenize.episode import Episode


@dataclasses.dataclass(frozen=True)
class Episodes:
    """Some episodes of a dataset, in some order: `dataset[10:20]`. An episode is read when it is asked for."""

    read: Callable[[int], Episode]  # by its number in the dataset
    numbers: range

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[Episode]:
        return map(self.read, self.numbers)

    @overload
    def __getitem__(self, wanted: int) -> Episode: ...
    @overload
    def __getitem__(self, wanted: slice) -> "Episodes": ...
    def __getitem__(self, wanted: int | slice) -> "Episode | Episodes":
        if isinstance(wanted, slice):
            return Episodes(self.read, self.numbers[wanted])
        return self.read(self.numbers[wanted])
