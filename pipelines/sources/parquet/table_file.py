"""TableFile: an open Parquet or Arrow file, read a few rows at a time from any of its groups of rows."""

import abc
import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gato_tokenize.storage.address import RemoteError


class TableFile(abc.ABC):
    """One file of rows, in groups: the row groups of a Parquet file, or the record batches of an Arrow file.

    schema: its Arrow schema. groups: the number of rows of each group. bytes: of the file, about, that hold each group.
    fault: why the rows after the last group cannot be read; "" if nothing is wrong.

    Opening it reads its metadata alone. Open one by `opening.open_table`.
    """

    schema: Any
    groups: list[int]
    bytes: list[int]
    fault: str = ""

    def __init__(self, path: str) -> None:
        self.path = path

    @property
    def starts(self) -> NDArray[np.int64]:
        """int64[groups + 1], the rows before each group, and of all."""
        return np.concatenate([[0], np.cumsum(self.groups)]).astype(np.int64)

    @property
    def rows(self) -> int:
        return sum(self.groups)

    @abc.abstractmethod
    def batches(self, group: int, columns: Sequence[str], rows: int) -> Iterator[Any]:
        """Iterate over a group as Arrow record batches of `columns`, of at most so many rows each."""

    @abc.abstractmethod
    def close(self) -> None: ...


@contextlib.contextmanager
def named(path: str, what: str) -> Iterator[None]:
    """Make a ValueError that names the file of whatever pyarrow raises, but for RemoteError."""
    try:
        yield
    except RemoteError:
        raise
    except Exception as error:  # pyarrow raises errors of many kinds where bytes are damaged
        said = f"{error}" if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} {what}: {said}") from error
