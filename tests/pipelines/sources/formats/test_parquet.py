"""ParquetTable: rows across row groups, and columns of lists, strings and files as arrays."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.sources.formats.parquet import ParquetTable, files_of, numbers_of, texts_of


@pytest.fixture
def table(tmp_path: Path) -> ParquetTable:
    pq.write_table(pa.table({"n": list(range(23)), "m": list(range(23))}), tmp_path / "a.parquet", row_group_size=5)
    return ParquetTable(str(tmp_path / "a.parquet"))


def test_any_rows_of_any_groups(table: ParquetTable) -> None:
    assert table.rows == 23 and table.columns == ["n", "m"]
    for start in range(24):
        for stop in range(start, 24):
            assert table.read(["n"], start, stop).column("n").to_pylist() == list(range(start, stop))


def test_rows_beyond_the_end_are_named(table: ParquetTable) -> None:
    with pytest.raises(ValueError, match="has 3 of the rows 20 to 30"):
        table.read(["n"], 20, 30)


def test_row_groups_of_neighbouring_reads_are_read_once(table: ParquetTable, monkeypatch: pytest.MonkeyPatch) -> None:
    first = table.read(["n"], 0, 2)
    monkeypatch.delattr(table, "_file")
    assert first.num_rows == 2 and table.read(["n"], 2, 5).column("n").to_pylist() == [2, 3, 4]


def test_missing_columns_are_named(table: ParquetTable) -> None:
    with pytest.raises(ValueError, match=r"a.parquet: no column x, y, which ACT writes; it has n, m"):
        table.require(["x", "n", "y"], "ACT")


@pytest.mark.parametrize("size", [0, 3, -1])
def test_a_file_without_its_footer_is_named(tmp_path: Path, table: ParquetTable, size: int) -> None:
    path = Path(table.path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match="a.parquet cannot be read"):
        ParquetTable(str(path))


@pytest.mark.parametrize(
    ("values", "kind", "shape"),
    [
        ([1, 2, 3], pa.int64(), ()),
        ([True, False], pa.bool_(), (1,)),
        ([[1, 2], [3, 4]], pa.list_(pa.float32()), (2,)),
        ([[1, 2], [3, 4]], pa.list_(pa.float32(), 2), (2,)),
        ([[1, 2], [3, 4]], pa.large_list(pa.float64()), (2, 1)),
        ([[[1, 2], [3, 4]], [[5, 6], [7, 8]]], pa.list_(pa.list_(pa.uint8())), (2, 2)),
    ],
)
def test_numbers(values: Any, kind: Any, shape: tuple[int, ...]) -> None:
    for chunked in (pa.array(values, kind), pa.chunked_array([pa.array([v], kind) for v in values])):
        found = numbers_of(chunked, shape, "x")
        assert found.tolist() == np.reshape(values, (len(values), *shape)).tolist()
        assert numbers_of(chunked[1:], shape, "x").tolist() == found[1:].tolist()


@pytest.mark.parametrize(
    ("values", "shape", "message"),
    [
        ([1, None], (), "x: row 1 holds no value"),
        ([[1, 2], None], (2,), "x: row 1 holds no value"),
        ([[1], [2, 3, 4]], (2,), "x: its lists have lengths from 1 to 3"),
        ([[1, 2], [3, 4]], (3,), r"4 numbers in 2 rows do not make shape \[3\]"),
        (["a"], (), "expected numbers, got string"),
        ([{"a": 1}], (), "expected numbers, got struct"),
    ],
)
def test_what_is_no_array_is_named(values: Any, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        numbers_of(pa.array(values), shape, "x")


def test_texts() -> None:
    assert texts_of(pa.array(["a", "ü"]), "x") == ["a", "ü"]
    with pytest.raises(ValueError, match="x: row 0 holds no value"):
        texts_of(pa.array([None, "a"]), "x")
    with pytest.raises(ValueError, match="x: expected strings, got int64"):
        texts_of(pa.array([1]), "x")


def test_files() -> None:
    structs = pa.array([{"bytes": b"1", "path": "a"}, {"bytes": b"2", "path": None}])
    assert files_of(structs, "x") == files_of(pa.chunked_array([structs]), "x") == [b"1", b"2"]
    assert files_of(pa.array([b"1"]), "x") == [b"1"]
    with pytest.raises(ValueError, match="x: row 1 holds no value"):
        files_of(pa.array([{"bytes": b"1"}, {"bytes": None}]), "x")
    with pytest.raises(ValueError, match="x: expected files as struct"):
        files_of(pa.array(["a"]), "x")
