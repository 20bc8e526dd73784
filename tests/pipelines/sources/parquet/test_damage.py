"""Tables that are cut, changed or incomplete: each fault costs the episodes that it is in."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from conversions import png
from limited import open_anew, results_of
from table_files import PICTURE, control, save_to_disk, timesteps, with_camera, write_file, write_parquet, write_stream

from gato_tokenize import Episode
from pipelines.sources.errors import SourceError
from pipelines.sources.reading import Reject, read_partition

opened = functools.partial(open_anew, "parquet")
results = functools.partial(results_of, "parquet")


def changed(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 0xFF
    path.write_bytes(data)


class TestNulls:
    @pytest.mark.parametrize(
        ("column", "value", "expected"),
        [
            ("continuous_observations", None, "continuous_observations: holds no value"),
            ("continuous_observations", [[1.0, 2.0, 3.0], None], "row 1 holds no value"),
            ("continuous_observations", [[1.0, None, 3.0], [1.0, 2.0, 3.0]], "holds no value"),
            ("continuous_observations", [[1.0], [2.0]], "do not make shape"),
            ("continuous_observations", [[1.0, 2.0, 3.0], [4.0]], "lists have lengths from 1 to 3"),
            ("continuous_observations", [[1.0, 2.0, 3.0]], "1 values, but action has 2"),
            ("continuous_observations", [[1.0, 2.0, float("nan")]] * 2, "nan"),
            ("rewards", None, "rewards: holds no value"),
            ("rewards", [1.0, None], "rewards: row 1 holds no value"),
            ("rewards", [1.0], "rewards: expected 2"),
            ("continuous_actions", [], "the episode is empty"),
        ],
    )
    @pytest.mark.parametrize("write", [write_parquet, write_stream])
    def test_a_value_that_costs_its_episode(
        self, tmp_path: Path, write: Callable[..., Path], column: str, value: Any, expected: str
    ) -> None:
        table = control((2, 2, 2))
        values = table.column(column).to_pylist()
        values[1] = value
        place = table.schema.get_field_index(column)
        path = write(tmp_path / "a", table.set_column(place, column, pa.array(values, table.schema.field(column).type)))
        found = results(path)
        assert [type(one) for one in found] == [Episode, Reject, Episode]
        assert expected in found[1].message and f"{path}, row 1: " in found[1].message

    def test_a_picture_without_its_bytes(self, tmp_path: Path) -> None:
        cameras = [[{"bytes": png(i), "path": None}] * 2 for i in range(4)]
        cameras[1][1] = {"bytes": None, "path": "frames/1.png"}
        cameras[2] = [cameras[2][0], None]  # type: ignore[list-item]
        cameras[3] = [{"bytes": b"no picture", "path": None}] * 2
        table = pa.table({"eye": pa.array(cameras, pa.list_(PICTURE)), "action": [[0.5, 0.1]] * 4})
        found = results(write_parquet(tmp_path / "a.parquet", table))
        assert [type(one) for one in found[:3]] == [Episode, Reject, Reject]
        assert "but the path frames/1.png: the pictures lie elsewhere; write the table anew" in found[1].message
        assert "observation/eye: row 1 holds no value" in found[2].message

    def test_a_column_of_nulls_is_no_field(self, tmp_path: Path) -> None:
        """Tables of several tasks share a schema, whose other columns are null."""
        table = control().append_column("text_observations", pa.nulls(4, pa.list_(pa.string())))
        table = table.append_column("image_observations", pa.nulls(4, pa.list_(PICTURE)))
        table = table.append_column("other", pa.nulls(4))
        path = write_parquet(tmp_path / "a.parquet", table)
        assert all(isinstance(one, Episode) for one in results(path, "?fields=-observation/text"))
        notes = "\n".join(opened(path, "?fields=-observation/text").notes())
        assert "observation/image is left out: it holds no value in the first rows" in notes


class TestDamage:
    def test_a_file_without_its_footer_costs_itself(self, tmp_path: Path) -> None:
        for name in "abc":
            write_parquet(tmp_path / f"{name}.parquet", control((2, 3)))
        path = tmp_path / "a.parquet"
        path.write_bytes(path.read_bytes()[:-9])
        found = results(tmp_path)
        assert [type(one) for one in found] == [Reject, *[Episode] * 4]
        assert f"{path} cannot be read" in found[0].message and found[0].episode_id == f"{path}#0"
        for name in "bc":
            (tmp_path / f"{name}.parquet").write_bytes(b"PAR1")
        with pytest.raises(SourceError, match="a.parquet cannot be read"):
            opened(tmp_path).specs()

    def test_a_damaged_page_costs_the_rows_from_there_to_the_end_of_its_group(self, tmp_path: Path) -> None:
        """Row 3 is damaged. Row 2 is lost as well: only the next page says that its list ends."""
        options = {"write_page_checksum": True, "data_page_size": 1, "write_batch_size": 1, "use_dictionary": False}
        path = write_parquet(tmp_path / "a.parquet", control([3] * 12), 6, **options)
        data = path.read_bytes()
        wanted = np.float32(control([3] * 12).column("continuous_actions").to_pylist()[3][0][1]).tobytes()
        assert data.count(wanted) == 1
        changed(path, data.index(wanted))
        found = results(path)
        assert [type(one) for one in found] == [Episode] * 2 + [Reject] * 4 + [Episode] * 6
        assert all("a.parquet is damaged" in one.message for one in found[2:6])

    @pytest.mark.parametrize("write", [write_parquet, write_stream, write_file])
    def test_cut_anywhere(self, tmp_path: Path, write: Callable[..., Path]) -> None:
        """Whole batches of a stream are kept; the others are one reject. Other files have a list at their end."""
        path = write(tmp_path / "a", control((2, 3, 4, 5)))
        whole = path.read_bytes()
        counts = set()
        for size in range(0, len(whole), 13):
            path.write_bytes(whole[:size])
            try:
                found = results(path)
            except SourceError as error:
                assert str(path) in str(error)
                counts.add(0)
                continue
            kinds = [type(one) for one in found]
            assert kinds == [Episode] * (len(kinds) - 1) + [Reject] and "after row" in found[-1].message
            counts.add(len(kinds) - 1)
        assert counts == ({0, 2, 4} if write is write_stream else {0})

    def test_a_stream_that_ends_between_two_batches(self, tmp_path: Path) -> None:
        """pyarrow itself reads it as if it were whole."""
        path = write_stream(tmp_path / "a.arrow", control((2, 3, 4, 5)))
        path.write_bytes(path.read_bytes()[:-8])
        found = results(path)
        assert [type(one) for one in found] == [*[Episode] * 4, Reject]
        assert "cut after row 4: the mark that ends a stream is missing" in found[4].message
        assert found[4].episode_id == f"{path}#4"

    @pytest.mark.parametrize("write", [write_parquet, write_stream, write_file])
    @pytest.mark.parametrize("option", ["", "?episode=episode_index"])
    def test_changed_anywhere(self, tmp_path: Path, write: Callable[..., Path], option: str) -> None:
        """Whatever byte is another, it makes episodes, rejects or a refusal; never a crash."""
        path = write(tmp_path / "a", timesteps() if option else with_camera((1, 2)))
        whole = path.read_bytes()
        for place in range(0, len(whole), max(1, len(whole) // 60)):
            path.write_bytes(whole)
            changed(path, place)
            try:
                found = results(path, option)
            except SourceError:
                continue
            for one in found:
                assert isinstance(one, Episode | Reject)

    def test_a_file_that_lacks_a_column(self, tmp_path: Path) -> None:
        write_parquet(tmp_path / "a.parquet", control((2,)))
        write_parquet(tmp_path / "b.parquet", control((2, 2)).drop_columns("rewards"))
        write_parquet(tmp_path / "c.parquet", control((2,)))
        found = results(tmp_path)
        assert [type(one) for one in found] == [Episode, Reject, Reject, Episode]
        assert "b.parquet: no column rewards, which the first file has; it has continuous" in found[1].message

    def test_a_file_of_other_shapes(self, tmp_path: Path) -> None:
        write_parquet(tmp_path / "a.parquet", control((2, 2, 2, 2)))
        other = pa.table({name: [[[1.0]] * 2] for name in ("continuous_observations", "continuous_actions")})
        write_parquet(tmp_path / "b.parquet", other.append_column("rewards", pa.array([[1.0, 1.0]])))
        *good, bad = results(tmp_path)
        assert all(isinstance(one, Episode) for one in good) and "do not make shape [3] each" in bad.message

    def test_a_file_that_changed_since_it_was_planned(self, tmp_path: Path) -> None:
        path = write_parquet(tmp_path / "a.parquet", control())
        (part,) = (source := opened(path)).partitions()
        write_parquet(path, control((9, 9, 9, 9)))
        found = [one for _, one in read_partition(source, part)]
        assert len(found) == 4 and all("has changed since it was planned" in one.message for one in found)  # type: ignore[union-attr]
        path.unlink()
        assert all(isinstance(one, Reject) for _, one in read_partition(source, part))

    def test_a_lost_shard_ends_the_episodes_that_reach_into_it(self, tmp_path: Path) -> None:
        table = timesteps((3, 5, 4))
        folder = save_to_disk(tmp_path / "saved", [table.slice(0, 5), table.slice(5, 1), table.slice(6)])
        path = folder / "data-00001-of-00003.arrow"
        path.write_bytes(path.read_bytes()[:40])
        found = results(folder, "?episode=episode_index")
        assert [type(one) for one in found].count(Reject) == 1
        assert any(isinstance(one, Reject) and one.source_uri == str(path) for one in found)

    def test_the_first_rows_are_damaged(self, tmp_path: Path) -> None:
        table = control((2, 2, 2))
        values = [None, *table.column(0).to_pylist()[1:]]
        table = table.set_column(0, "continuous_observations", pa.array(values, table.schema.field(0).type))
        found = results(write_parquet(tmp_path / "a.parquet", table, 1))
        assert [type(one) for one in found] == [Reject, Episode, Episode]
