"""RowStream against numpy, on sound files and on changed ones."""

import gzip
import io
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
from dqn_files import packed

from pipelines.sources.dqn_replay import row_stream
from pipelines.sources.dqn_replay.row_stream import RowStream, read_number

ROWS = np.random.default_rng(0).integers(0, 256, (50, 4, 6), dtype=np.uint8)


def test_rows_in_any_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_stream, "BLOCK_BYTES", 60)
    packed(path := tmp_path / "a.gz", ROWS)
    stream = RowStream(str(path))
    assert (stream.rows, stream.shape, stream.dtype) == (50, (4, 6), np.uint8)
    for start, stop in [(0, 1), (1, 9), (9, 9), (30, 50), (3, 5), (0, 50), (49, 50)]:
        np.testing.assert_array_equal(stream.read(start, stop), ROWS[start:stop])
    moved = pickle.loads(pickle.dumps(stream))
    np.testing.assert_array_equal(moved.read(7, 8), ROWS[7:8])
    stream.close()
    np.testing.assert_array_equal(stream.read(2, 3), ROWS[2:3])


@pytest.mark.parametrize("values", [np.arange(5.0), np.arange(5)[:, None], np.zeros((5, 0)), np.arange(5, dtype=">i4")])
def test_arrays_of_other_kinds(tmp_path: Path, values: np.ndarray) -> None:
    packed(path := tmp_path / "a.gz", values)
    np.testing.assert_array_equal(RowStream(str(path)).read(1, 4), values[1:4])


def test_a_header_of_python_2(tmp_path: Path) -> None:
    """It writes a long integer with an L."""
    file = io.BytesIO()
    np.save(file, ROWS)
    assert file.getvalue().count(b"(50, 4, 6), }  ") == 1
    data = file.getvalue().replace(b"(50, 4, 6), }  ", b"(50L, 4L, 6), }")
    (tmp_path / "a.gz").write_bytes(gzip.compress(data))
    np.testing.assert_array_equal(RowStream(str(tmp_path / "a.gz")).read(0, 50), ROWS)


def test_more_rows_than_the_header_states(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.save(file, ROWS)
    (tmp_path / "a.gz").write_bytes(gzip.compress(file.getvalue() + b"more"))
    stream = RowStream(str(tmp_path / "a.gz"))
    np.testing.assert_array_equal(stream.read(0, 49), ROWS[:49])
    with pytest.raises(ValueError, match="holds more than the 50 rows that its header states"):
        stream.read(49, 50)


def test_a_changed_file_gives_its_rows_or_an_error(tmp_path: Path) -> None:
    """gzip's checksum covers every byte of the content, and is compared with the last row."""
    packed(path := tmp_path / "a.gz", ROWS)
    whole, generator = path.read_bytes(), random.Random(0)
    for _ in range(300):
        data = bytearray(whole)
        place = generator.randrange(len(data))
        data[place] ^= 1 << generator.randrange(8)
        path.write_bytes(data if generator.random() < 0.7 else whole[:place])
        stream = RowStream(str(path))
        try:
            found = np.concatenate([stream.read(row, row + 1) for row in range(stream.rows)])
        except (ValueError, OSError) as error:
            assert str(path) in str(error)
            continue
        finally:
            stream.close()
        np.testing.assert_array_equal(found, ROWS)


def test_a_changed_header_is_an_error_or_another_array(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.save(file, ROWS)
    generator, path = random.Random(0), tmp_path / "a.gz"
    for _ in range(1000):
        data = bytearray(file.getvalue())
        for _ in range(generator.randint(1, 3)):
            data[generator.randrange(128)] = generator.choice(b"0123456789()',{}|<>fuOV \0\xff")
        path.write_bytes(gzip.compress(data, 1))
        stream = RowStream(str(path))
        try:
            assert len(stream.read(0, min(stream.rows, 8))) <= 8
        except (ValueError, OSError) as error:
            assert str(path) in str(error)
        finally:
            stream.close()


def test_a_number(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    for value in (np.array(7), np.array([7]), np.array(7, np.uint8)):
        packed(path, value)
        assert read_number(str(path)) == 7
    for wrong in (np.array([1, 2]), np.array(1.5), np.zeros(0, int)):
        packed(path, wrong)
        with pytest.raises(ValueError, match=r"a\.gz: expected one whole number"):
            read_number(str(path))
    path.write_bytes(b"")
    with pytest.raises((ValueError, OSError), match=r"a\.gz"):
        read_number(str(path))
