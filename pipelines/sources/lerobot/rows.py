"""EpisodeRows: the rows of an episode in the data files, each of which is opened once for neighbouring episodes."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.sources.formats.parquet import ParquetTable, numbers_of
from pipelines.sources.lerobot.listing import Row

EPISODE, FRAME = "episode_index", "frame_index"


class EpisodeRows:
    """Reads `columns` of the dataset in `folder`, an episode at a time, and keeps one data file open."""

    def __init__(self, folder: str, columns: Sequence[str]) -> None:
        self._folder, self._columns = folder, list(dict.fromkeys((*columns, FRAME)))
        self._table: ParquetTable | None = None
        self._episodes: NDArray[np.int64] = np.zeros(0, np.int64)  # of each row of the open file

    def read(self, row: Row) -> Any:
        """Return the rows of an episode as an Arrow table.

        Raises ValueError if a file is missing, is damaged or lacks a column, or if the episode has not the rows that
        meta/ states: as many, next to each other and in order.
        """
        parts = [self._part(row, row.data)]
        if parts[0].num_rows < row.length and row.following:
            parts.append(self._part(row, row.following, from_first=True))
        found = pa.concat_tables(parts) if parts[-1].num_rows else parts[0]
        if found.num_rows != row.length:
            raise ValueError(
                f"{row.data}: {found.num_rows} rows are of episode {row.index}, and meta/ states {row.length}"
            )
        if not row.length:
            raise ValueError(f"{row.data}: episode {row.index} is empty: it has no rows")
        frames = numbers_of(found.column(FRAME), (), FRAME)
        if (frames != np.arange(row.length)).any():
            raise ValueError(
                f"{row.data}: {FRAME} of episode {row.index} does not count 0, 1, 2, ...: rows are missing"
            )
        return found

    def close(self) -> None:
        if self._table is not None:
            self._table.close()
            self._table = None

    def _part(self, row: Row, name: str, from_first: bool = False) -> Any:
        table = self._opened(os.path.join(self._folder, name))
        places = np.flatnonzero(self._episodes == row.index)
        start, stop = (int(places[0]), int(places[-1]) + 1) if len(places) else (0, 0)
        if stop - start != len(places) or (from_first and start):
            raise ValueError(f"{name}: the rows of episode {row.index} are not next to each other")
        return table.read(self._columns, start, stop)

    def _opened(self, path: str) -> ParquetTable:
        if self._table is None or self._table.path != path:
            self.close()
            table = ParquetTable(path)
            table.require([EPISODE, *self._columns], "LeRobot")
            self._episodes = numbers_of(table.read([EPISODE]).column(EPISODE), (), EPISODE).astype(np.int64)
            self._table = table
        return self._table
