"""Parquet and Arrow files at addresses: what is read is that of a local copy, and planning leaves the rows where they
lie."""

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from limited import results_of
from table_files import control, write_stream
from web_server import Web, serving

from gato_tokenize import Episode
from pipelines.sources import open_source
from pipelines.sources.errors import SourceError
from pipelines.sources.parquet import arrow_file
from pipelines.sources.parquet.opening import open_table
from pipelines.sources.parquet.stream_messages import BATCH, messages_of


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    with serving(tmp_path) as found:
        yield found


def with_dictionary() -> Any:
    """Episodes whose instructions are in a dictionary."""
    table = control()
    words = pa.array([("lift", "push")[i % 2] for i in range(len(table))]).dictionary_encode()
    return table.append_column("instruction", words)


def packed_stream(path: Path) -> None:
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, control().schema, options=options) as stream:
        stream.write_table(control(), max_chunksize=2)


def stream_of(table: Any, rows: int) -> Callable[[Path], Any]:
    return lambda path: write_stream(path, table, rows)


FILES: dict[str, Callable[[Path], Any]] = {
    "stream": stream_of(control(), 1),
    "stream-dictionary": stream_of(with_dictionary(), 1),
    "stream-packed": packed_stream,
    "feather": lambda path: pyarrow.feather.write_feather(control(), path, "uncompressed", chunksize=1),
    "feather-packed": lambda path: pyarrow.feather.write_feather(with_dictionary(), path, "lz4", chunksize=2),
    "parquet": lambda path: pq.write_table(with_dictionary(), path, row_group_size=1),
}


def kinds(found: list[Any]) -> list[str]:
    return [type(one).__name__ for one in found]


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_file(name: str, web: Web, tmp_path: Path) -> None:
    FILES[name](tmp_path / "a.arrow")
    local = [repr(one).replace(str(tmp_path), web.url) for one in results_of("parquet", tmp_path / "a.arrow")]
    web.fault = lambda number, request: "drop" if number % 5 == 3 else None
    assert [repr(one) for one in results_of("parquet", f"{web.url}/a.arrow")] == local  # type: ignore[arg-type]
    assert len(local) >= 2 and not any("Reject" in one for one in local)


def test_a_stream_that_was_cut_keeps_what_is_whole(web: Web, tmp_path: Path) -> None:
    path = write_stream(tmp_path / "a.arrow", control(), 1)
    data = path.read_bytes()
    batches = [one for one in messages_of(io.BytesIO(data), len(data)) if one.kind == BATCH]
    for cut in (batches[1].start, batches[1].start + 3, batches[1].stop - 1, len(data) - 8, len(data) - 3):
        path.write_bytes(data[:cut])
        local = results_of("parquet", path)
        assert kinds(results_of("parquet", f"{web.url}/a.arrow")) == kinds(local)  # type: ignore[arg-type]
        assert isinstance(local[0], Episode) and kinds(local)[-1] == "Reject"


def test_a_changed_byte_of_a_header_is_no_more_than_a_fault() -> None:
    file = io.BytesIO()
    with pa.ipc.new_stream(file, control().schema) as stream:
        stream.write_table(control())
    data = file.getvalue()
    whole = list(messages_of(io.BytesIO(data), len(data)))
    assert sum(one.rows for one in whole) == len(control())
    faults = 0
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 0xFF
        try:
            found = list(messages_of(io.BytesIO(changed), len(data)))
        except ValueError:
            faults += 1
            continue
        assert all(0 <= one.rows <= 8 * len(data) and one.start < one.stop <= len(data) for one in found)
    assert 0 < faults < len(data)  # bodies are not looked at


def test_a_batch_that_is_too_large_is_refused_by_name(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("stream", "feather"):
        FILES[name](tmp_path / f"{name}.arrow")
        opened = open_source(f"parquet:{web.url}/{name}.arrow")
        opened.partitions()
        with monkeypatch.context() as patch:
            patch.setattr(arrow_file, "AWAY_BYTES", 10)
            with pytest.raises(SourceError, match="copy the file to a local disk, or write it as Parquet"):
                results_of("parquet", f"{web.url}/{name}.arrow")  # type: ignore[arg-type]
        assert kinds(results_of("parquet", f"{web.url}/{name}.arrow"))[0] == "Episode"  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["parquet", "feather", "stream"])
def test_opening_reads_the_metadata_alone(kind: str, web: Web, tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(6, 500_000)).astype(np.float32)
    table = pa.table({"state": list(values), "action": list(values)})  # 24 MB, of which a row has 4
    path = tmp_path / "large"
    if kind == "parquet":
        pq.write_table(table, path, row_group_size=1, use_dictionary=False, compression="none")
    elif kind == "feather":
        pyarrow.feather.write_feather(table, path, "uncompressed", chunksize=1)
    else:
        write_stream(path, table, 1)
    with contextlib.closing(open_table(f"{web.url}/large")) as file:
        assert file.groups == [1] * 6
    assert web.bytes_asked <= (2 if kind == "parquet" else 8) * 2**20
