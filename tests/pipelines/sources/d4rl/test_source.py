"""D4rlSource: files in D4RL's flat layout, whole or damaged."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conversions import convert, tree
from d4rl_files import h5py, write_flat
from limited import episodes_of, open_anew, results_of

from gato_tokenize import Episode
from pipelines.sources.contract import EpisodeSourceContract
from pipelines.sources.d4rl import flat_file
from pipelines.sources.d4rl.ends import find_ends
from pipelines.sources.errors import SourceError
from pipelines.sources.formats import hdf5
from pipelines.sources.reading import Reject, read_partition

opened = functools.partial(open_anew, "d4rl")
results = functools.partial(results_of, "d4rl")
episodes = functools.partial(episodes_of, "d4rl")


class TestContract(EpisodeSourceContract):
    """Observations are one array in D4RL's own files; a group of arrays is read as well."""

    def make(self, folder: Path) -> str:
        path = write_flat(folder / "hopper.hdf5")
        with h5py.File(path, "a") as file:
            file.move("observations", "kept")
            file.move("kept", "observations/state")
            file["observations/goal"] = np.zeros((10, 2))
        return f"d4rl:{path}"


class TestEpisodes:
    def test_every_value_is_that_of_h5py(self, tmp_path: Path) -> None:
        path = write_flat(tmp_path / "hopper_medium-v2.hdf5")
        found = episodes(path)
        bounds = [(0, 3), (3, 4), (4, 8), (8, 10)]
        with h5py.File(path) as file:
            for one, (start, stop) in zip(found, bounds, strict=True):
                assert list(one.fields) == ["observation", "action"]
                np.testing.assert_array_equal(one.fields["observation"], file["observations"][start:stop])
                np.testing.assert_array_equal(one.fields["action"], file["actions"][start:stop])
                np.testing.assert_array_equal(one.rewards, file["rewards"][start:stop])
        named = [one.metadata for one in found]
        assert [one.episode_id for one in named] == [f"{path}#{number}" for number in range(4)]
        assert [(one.terminated, one.truncated) for one in named] == [(True, False)] * 2 + [(False, True)] * 2
        assert {(one.task, one.domain, one.agent_id) for one in named} == {("hopper_medium-v2", "d4rl", "SAC")}

    def test_the_last_episode_is_cut_and_noted(self, tmp_path: Path) -> None:
        found = episodes(write_flat(tmp_path / "hopper.hdf5"))
        said = "last episode of a file, of which no mark says that it is whole"
        assert [one.notes for one in found] == [{}, {}, {}, {said: 1}]
        assert not episodes(write_flat(tmp_path / "hopper.hdf5", timeouts=(7, 9)))[-1].notes

    def test_what_else_is_there(self, tmp_path: Path) -> None:
        notes = opened(write_flat(tmp_path / "hopper.hdf5")).notes()
        assert [note.partition(" is left out")[0] for note in notes] == ["the field infos/qpos"]

    def test_each_file_is_a_task(self, tmp_path: Path) -> None:
        write_flat(tmp_path / "set" / "hopper.hdf5")
        write_flat(tmp_path / "set" / "walker.hdf5", actions=np.zeros((10, 6)), timeouts=())
        assert list(opened(tmp_path / "set").specs()) == ["hopper", "walker"]
        assert [one.metadata.task for one in episodes(tmp_path / "set")] == ["hopper"] * 4 + ["walker"] * 3


class TestEnds:
    def test_without_timeouts_a_length_must_be_given(self, tmp_path: Path) -> None:
        path = write_flat(tmp_path / "hopper.hdf5", timeouts=None)
        with pytest.raises(SourceError, match=r"has no timeouts, .* by length=N, such as 1000 .* or length=0 if"):
            opened(path).specs()
        assert [one.num_steps for one in episodes(path, "?length=0")] == [3, 1, 6]
        found = episodes(path, "?length=3")
        assert [one.num_steps for one in found] == [3, 1, 3, 3]
        assert [one.metadata.truncated for one in found] == [False, False, True, True] and not found[-1].notes

    @pytest.mark.parametrize(("terminals", "timeouts"), [((), ()), ((), None), (None, ()), (None, None)])
    def test_where_no_flag_is_ever_set_a_length_must_be_given(
        self, tmp_path: Path, terminals: Any, timeouts: Any
    ) -> None:
        path = write_flat(tmp_path / "hopper.hdf5", terminals, timeouts)
        for options in ("", "?length=0"):
            with pytest.raises(SourceError, match="neither terminals nor timeouts are ever set, .* by length=N"):
                opened(path, options).specs()
        found = episodes(path, "?length=4")
        assert [one.num_steps for one in found] == [4, 4, 2]
        assert [len(one.notes) for one in found] == [0, 0, 1]

    def test_one_step_episodes(self, tmp_path: Path) -> None:
        path = write_flat(tmp_path / "hopper.hdf5", terminals=tuple(range(10)))
        assert [one.num_steps for one in episodes(path)] == [1] * 10

    def test_flags_may_be_columns_of_numbers(self, tmp_path: Path) -> None:
        column = (np.arange(10) == 4).astype(np.float32)[:, None]
        path = write_flat(tmp_path / "hopper.hdf5", terminals=column, timeouts=(), rewards=np.ones((10, 1)))
        with h5py.File(path, "a") as file:
            del file["terminals"]
            file["terminals"] = column
        assert [(one.num_steps, one.metadata.return_) for one in episodes(path)] == [(5, 5.0), (5, 5.0)]

    @pytest.mark.parametrize("length", [-1, 0, 1, 3, 7, 100])
    def test_every_row_is_in_one_episode_as_a_plain_loop_says(self, length: int) -> None:
        generator = np.random.default_rng(length + 1)
        for _ in range(50):
            rows = int(generator.integers(1, 40))
            terminals, timeouts = generator.random((2, rows)) < 0.1
            stops, steps = [], 0
            for row in range(rows):
                steps += 1
                if terminals[row] or timeouts[row] or steps == length or row == rows - 1:
                    stops.append(row + 1)
                    steps = 0
            found = find_ends(rows, terminals, timeouts, length)
            assert found.stops.tolist() == stops and found.starts.tolist() == [0, *stops[:-1]]
            assert found.terminated.tolist() == [bool(terminals[stop - 1]) for stop in stops]


class TestReading:
    def test_partitions_read_their_rows_alone(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = write_flat(tmp_path / "hopper.hdf5", tuple(range(0, 400_000, 7)), rows=400_000, chunk=10_000)
        source = opened(path)
        parts = source.partitions()
        assert len(parts) > 2
        assert [part["start"] for part in parts[1:]] == [part["stop"] for part in parts[:-1]]
        assert parts[-1]["stop"] == 400_000 and parts[1]["first"] == parts[0]["count"]
        read: list[tuple[str, int, int]] = []
        whole = flat_file.values_of

        def spied(node: Any, path: str, length: Any, rows: slice) -> Any:
            read.append((path, rows.start, rows.stop))
            return whole(node, path, length, rows)

        monkeypatch.setattr(flat_file, "values_of", spied)
        found = [result for _, result in read_partition(source, {**parts[1]}, 3)]
        first = parts[1]["first"]
        assert [one.metadata.source_index for one in found] == [first, first + 1, first + 2]
        assert all(parts[1]["start"] <= start < stop <= parts[1]["stop"] for _, start, stop in read)
        assert {stop - start for name, start, stop in read if name == "observations"} == {7}

    @pytest.mark.parametrize("chunks", [(1000, 11), (1000, 2)])
    def test_a_chunk_is_unpacked_once_for_all_episodes_in_it(self, tmp_path: Path, chunks: tuple[int, int]) -> None:
        """500 episodes lie in one chunk, or in one row of chunks. Once the first is read, the chunks are overwritten on
        the disk: the others come from what is unpacked already."""
        path = write_flat(tmp_path / "hopper.hdf5", tuple(range(1, 1000, 2)), rows=1000)
        with h5py.File(path, "a") as file:
            values = file.pop("observations")[()]
            made = file.create_dataset("observations", data=values, chunks=chunks, compression="gzip")
            places = [made.id.get_chunk_info(i) for i in range(made.id.get_num_chunks())]
        source = opened(path)
        (part,) = source.partitions()
        candidates = source.candidates(part)
        assert np.array_equal(next(candidates).load().fields["observation"], values[:2])
        with open(path, "r+b") as raw:
            for place in places:
                raw.seek(place.byte_offset)
                raw.write(b"\xff" * place.size)
        last = [candidate.load() for candidate in candidates][-1]
        assert np.array_equal(last.fields["observation"], values[-2:])

    def test_an_episode_can_be_loaded_after_the_others(self, tmp_path: Path) -> None:
        source = opened(write_flat(tmp_path / "hopper.hdf5"))
        candidates = [one for part in source.partitions() for one in source.candidates(part)]
        assert [one.load().num_steps for one in reversed(candidates)] == [2, 4, 1, 3]


class TestFaults:
    @pytest.mark.parametrize(
        ("more", "expected"),
        [
            ({"observations": np.full((10, 11), np.nan)}, "observation: nan at index [0, 0]"),
            ({"rewards": np.full(10, np.inf)}, "rewards: inf is not finite"),
            ({"rewards": np.zeros(9)}, "rewards: expected 10 entries, one a timestep, got 9"),
            ({"rewards": np.zeros((10, 2))}, "rewards: expected a number a timestep"),
        ],
    )
    def test_values_that_cost_their_episodes(self, tmp_path: Path, more: dict[str, Any], expected: str) -> None:
        found = results(write_flat(tmp_path / "hopper.hdf5", **more))
        assert len(found) == 4
        assert all(isinstance(one, Reject) and expected in one.message for one in found), found

    def test_one_bad_value_costs_one_episode(self, tmp_path: Path) -> None:
        path = write_flat(tmp_path / "hopper.hdf5")
        with h5py.File(path, "a") as file:
            file["actions"][5, 1] = np.nan
        assert [type(one) for one in results(path)] == [Episode, Episode, Reject, Episode]

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            (lambda f: f.pop("actions"), "is not in the layout of D4RL: it has no actions, but infos, meta"),
            (lambda f: f.pop("observations"), "no field is left for the observation"),
            (lambda f: linked(f, "actions", h5py.ExternalLink("../other.hdf5", "/a")), "actions: is a link"),
            (lambda f: linked(f, "terminals", h5py.SoftLink("/timeouts")), "terminals: is a link"),
            (lambda f: linked(f, "terminals", np.zeros(9)), "terminals: expected 10 entries"),
            (lambda f: linked(f, "terminals", np.zeros((10, 2))), "terminals: expected a number a timestep"),
            (lambda f: linked(f, "terminals", [b"a"] * 10), "terminals: expected a number a timestep"),
            (lambda f: linked(f, "actions", np.zeros((0, 3))), "actions has no rows"),
            (lambda f: ragged(f, "actions"), "action.*objects of any length|no field is the action"),
        ],
    )
    def test_files_that_cannot_be_planned(self, tmp_path: Path, change: Callable[[Any], Any], expected: str) -> None:
        path = write_flat(tmp_path / "hopper.hdf5")
        with h5py.File(path, "a") as file:
            change(file)
        with pytest.raises(SourceError, match=expected):
            opened(path).specs()

    def test_arrays_that_are_no_field_are_named(self, tmp_path: Path) -> None:
        path = write_flat(tmp_path / "hopper.hdf5")
        with h5py.File(path, "a") as file:
            ragged(file, "infos/words")
            file["infos/short"] = np.zeros(9)
        notes = "\n".join(opened(path).notes())
        assert "infos/words is left out: its values are objects of any length" in notes
        assert "infos/short is left out: it has 9 entries, and the episode 10 timesteps" in notes

    def test_a_file_cut_anywhere_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hdf5, "call_forked", lambda function, limit: function())
        path = write_flat(tmp_path / "hopper.hdf5")
        size = path.stat().st_size
        for cut in sorted({*range(0, size, size // 60), size - 1}, reverse=True):
            os.truncate(path, cut)
            with pytest.raises(SourceError, match=r"hopper\.hdf5 cannot be read"):
                opened(path).specs()

    def test_a_flipped_byte_is_an_error_a_reject_or_a_value(self, tmp_path: Path) -> None:
        path = write_flat(tmp_path / "hopper.hdf5")
        whole = path.read_bytes()
        for place in np.random.default_rng(0).integers(0, len(whole), 25).tolist():
            data = bytearray(whole)
            data[place] ^= 0xFF
            path.write_bytes(data)
            try:
                found = results(path)
            except SourceError as error:
                assert str(path) in str(error) or "field" in str(error)
                continue
            assert all(isinstance(one, Episode) or str(path) in one.message for one in found)

    def test_a_damaged_chunk_costs_the_episodes_in_it(self, tmp_path: Path) -> None:
        path = write_flat(tmp_path / "hopper.hdf5")
        with h5py.File(path) as file:
            chunk = file["observations"].id.get_chunk_info(1)  # rows 4 to 7
        with open(path, "r+b") as raw:
            raw.seek(chunk.byte_offset)
            raw.write(b"\xff" * chunk.size)
        found = results(path)
        assert [type(one) for one in found] == [Episode, Episode, Reject, Episode]
        assert found[2].message.startswith(str(path))

    def test_a_missing_file_in_the_middle_costs_its_partition(self, tmp_path: Path) -> None:
        for name in "abc":
            write_flat(tmp_path / f"{name}.hdf5")
        source = opened(tmp_path)
        parts = source.partitions()
        (tmp_path / "b.hdf5").unlink()
        found = [[result for _, result in read_partition(source, part)] for part in parts]
        assert [len(part) for part in found] == [4, 1, 4]
        assert isinstance(found[1][0], Reject) and "b.hdf5" in found[1][0].message

    def test_a_file_that_changed_since_it_was_planned(self, tmp_path: Path) -> None:
        path = write_flat(tmp_path / "hopper.hdf5")
        source = opened(path)
        (part,) = source.partitions()
        write_flat(path, rows=2000)
        ((_, reject),) = read_partition(source, part)
        assert isinstance(reject, Reject) and "has changed since it was planned" in reject.message


def linked(file: Any, key: str, link: Any) -> None:
    del file[key]
    file[key] = link


def ragged(file: Any, key: str) -> None:
    if key in file:
        del file[key]
    rows = file.create_dataset(key, (10,), h5py.vlen_dtype(np.float32))
    for row in range(10):
        rows[row] = np.zeros(row % 3 + 1)


def test_one_worker_and_two_make_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_flat(Path("hopper.hdf5"), tuple(range(99, 200_000, 100)), rows=200_000, chunk=5000)
    for workers in ("1", "2"):
        assert convert("d4rl:hopper.hdf5", "--workers", workers, out=f"out{workers}/toy/1.0.0") == 0
    assert tree("out1") == tree("out2")
    assert len(list(Path("out1").rglob("*.tfrecord*"))) > 1
