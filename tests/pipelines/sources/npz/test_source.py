"""NpzSource: files and folders that hold an episode or several, whole, damaged, or with pickled objects."""

import functools
import os
import pickle
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conversions import convert, tree
from limited import episodes_of, open_anew, read_source, results_of
from npz_files import arrays_of, write_episodes, write_npy, write_npz

from gato_tokenize import Episode, ImageTokenizer
from pipelines.sources.contract import EpisodeSourceContract
from pipelines.sources.errors import SourceError
from pipelines.sources.npz import array_set
from pipelines.sources.npz.ends import find_ends
from pipelines.sources.reading import Reject, read_partition

opened = functools.partial(open_anew, "npz")
results = functools.partial(results_of, "npz")
episodes = functools.partial(episodes_of, "npz")
BOUNDS = [(0, 3), (3, 4), (4, 10)]
STACKED = {"episode_ends": [3, 4, 10]}


class TestContract(EpisodeSourceContract):
    def make(self, folder: Path) -> str:
        return f"npz:{write_episodes(folder / 'kitchen')}"


class TestContractOfStacked(EpisodeSourceContract):
    def make(self, folder: Path) -> str:
        for split in ("train", "val"):
            write_npz(folder / f"robomimic/{split}.npz", arrays_of(10, **STACKED))
        return f"npz:{folder / 'robomimic'}"


class TestContractOfFolders(EpisodeSourceContract):
    def make(self, folder: Path) -> str:
        for number in range(3):
            write_npy(folder / f"set/{number}", arrays_of(4, number))
        return f"npz:{folder / 'set'}"


class TestWholeFiles:
    @pytest.mark.parametrize("write", [write_npz, functools.partial(write_npz, compressed=True), write_npy])
    def test_every_value_is_that_of_numpy(self, tmp_path: Path, write: Callable[..., Path]) -> None:
        suffix = "" if write is write_npy else ".npz"
        paths = [write(tmp_path / f"set/{n}{suffix}", arrays_of(rows, n)) for n, rows in enumerate((3, 1, 12))]
        for path, one, (number, rows) in zip(paths, episodes(tmp_path / "set"), enumerate((3, 1, 12)), strict=True):
            expected = arrays_of(rows, number)
            assert list(one.fields) == ["observation/eye", "observation/joints", "action"]
            np.testing.assert_array_equal(np.stack(one.fields["observation/eye"]), expected["eye"])
            np.testing.assert_array_equal(one.fields["observation/joints"], expected["joints"])
            np.testing.assert_array_equal(one.fields["action"], expected["actions"])
            np.testing.assert_array_equal(one.rewards, expected["rewards"])
            named = one.metadata
            assert (named.episode_id, named.source_uri, named.task, named.domain) == (
                str(path),
                str(path),
                "set",
                "npz",
            )
            assert not named.terminated and not named.truncated and named.success == -1 and not one.notes

    def test_names_texts_flags_and_facts(self, tmp_path: Path) -> None:
        more = {
            "observations/joints": np.ones((4, 2)), "observations/hand": np.zeros(4), "joints": None, "eye": None,
            "instruction": "lift the cup", "dones": np.arange(4) == 3, "success": True, "timestamp": np.arange(4.0),
            "goal": np.ones(7), "weight": 3.5, "cloud": np.zeros((4, 300, 3)), "words": np.array(["a", "b", "c", "ü"]),
        }  # fmt: skip
        path = write_npz(tmp_path / "a.npz", arrays_of(4, **more))
        (one,) = episodes(path)
        observed = ["observation/hand", "observation/instruction", "observation/joints", "observation/words"]
        assert list(one.fields) == [*observed, "action"]
        assert one.metadata.instruction == "lift the cup" and one.fields["observation/words"] == ["a", "b", "c", "ü"]
        assert one.metadata.terminated and one.metadata.success == 1 and one.metadata.return_ == 6
        notes = "\n".join(opened(path).notes())
        assert "observation/goal is left out: it has 7 rows, where there are 4 actions" in notes
        assert "observation/weight is left out: it has one value, float64" in notes
        assert "observation/cloud is left out: its 900 numbers" in notes
        assert "observation/timestamp is left out: it says when" in notes

    def test_a_last_observation_is_left_out(self, tmp_path: Path) -> None:
        (one,) = episodes(write_npz(tmp_path / "a.npz", arrays_of(5, actions=np.zeros((4, 1)), rewards=np.ones(4))))
        assert one.num_steps == 4 and one.notes == {"final observation left out": 1}

    @pytest.mark.parametrize("order", [">f8", "<f4", "<i2"])
    def test_orders_of_bytes_and_of_axes(self, tmp_path: Path, order: str) -> None:
        values = np.asfortranarray(np.arange(12).reshape(4, 3).astype(order))
        for path in (
            write_npz(tmp_path / "a.npz", arrays_of(4, joints=values)),
            write_npy(tmp_path / "b", arrays_of(4, joints=values)),
        ):
            (one,) = episodes(path)
            assert one.fields["observation/joints"].tolist() == values.tolist()

    def test_resizing_while_reading_gives_the_patches_of_the_whole_picture(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(array_set, "BLOCK_BYTES", 10_000)
        path = write_npz(tmp_path / "a.npz", arrays_of(5, side=48))
        (one,) = episodes(path, "?resize=32x32")
        assert one.notes == {"observation/eye: image resized while it was read": 5}
        for picture, full in zip(one.fields["observation/eye"], arrays_of(5, side=48)["eye"], strict=True):
            oracle = ImageTokenizer(32, 32)
            np.testing.assert_array_equal(oracle.encode(picture).pixels, oracle.encode(full).pixels)

    def test_splits_of_folders(self, tmp_path: Path) -> None:
        for split in ("train", "valid"):
            write_episodes(tmp_path / f"set/{split}", (2, 2))
        source = opened(tmp_path / "set")
        assert source.splits() == ("train", "validation")
        assert [candidate.split for candidate, _ in read_source(source)] == ["train"] * 2 + ["validation"] * 2


class TestStacked:
    @pytest.mark.parametrize("compressed", [False, True])
    def test_every_value_is_that_of_numpy(
        self, tmp_path: Path, compressed: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(array_set, "BLOCK_BYTES", 5000)
        path, expected = tmp_path / "train.npz", arrays_of(10, **STACKED)
        write_npz(path, expected, compressed)
        for order in (1, -1):
            source = opened(path)
            candidates = [one for part in source.partitions() for one in source.candidates(part)]
            found = [one.load() for one in candidates[::order]][::order]
            for number, (one, (start, stop)) in enumerate(zip(found, BOUNDS, strict=True)):
                np.testing.assert_array_equal(np.stack(one.fields["observation/eye"]), expected["eye"][start:stop])
                np.testing.assert_array_equal(one.fields["action"], expected["actions"][start:stop])
                np.testing.assert_array_equal(one.rewards, range(start, stop))
                assert one.metadata.episode_id == f"{path}#{number}" and not one.metadata.truncated

    @pytest.mark.parametrize(
        ("name", "values", "option"),
        [
            ("episode_ends", [3, 4, 10], ""),
            ("traj_lengths", [3, 1, 6], ""),
            ("episode_lengths", np.array([3.0, 1, 6]), ""),
            ("episode_starts", np.isin(np.arange(10), (0, 3, 4)), ""),
            ("terminals", np.isin(np.arange(10), (2, 3, 9)).astype(np.float32)[:, None], "?ends=terminals"),
            ("stops", [3, 4, 10], "?ends=stops"),
            ("sizes", [3, 1, 6], "?ends=sizes"),
        ],
    )
    def test_every_way_to_say_where_episodes_end(self, tmp_path: Path, name: str, values: Any, option: str) -> None:
        for path in (
            write_npz(tmp_path / "a.npz", arrays_of(10, **{name: values})),
            write_npy(tmp_path / "b", arrays_of(10, **{name: values})),
        ):
            found = episodes(path, option)
            assert [one.rewards.tolist() for one in found] == [list(range(*bounds)) for bounds in BOUNDS]
            assert all(one.metadata.terminated == (name == "terminals") for one in found)
            assert all(name not in field for field in found[0].fields)

    def test_rows_after_the_last_flag_are_a_truncated_episode(self, tmp_path: Path) -> None:
        path = write_npz(tmp_path / "a.npz", arrays_of(10, dones=np.isin(np.arange(10), (2, 5))))
        found = episodes(path, "?ends=dones")
        assert [(one.num_steps, one.metadata.terminated, one.metadata.truncated) for one in found] == [
            (3, True, False), (3, True, False), (4, False, True),
        ]  # fmt: skip
        assert "the last episode of a file has no mark of its end" in found[2].notes

    def test_flags_in_the_middle_are_never_passed_over(self, tmp_path: Path) -> None:
        path = write_npz(tmp_path / "a.npz", arrays_of(10, dones=np.isin(np.arange(10), (2, 9))))
        (reject,) = results(path)
        assert "dones is set at row 2 and the rows go on: ends=dones makes several episodes of it" in reject.message

    def test_ends_beyond_before_and_empty(self, tmp_path: Path) -> None:
        path = write_npz(tmp_path / "a.npz", arrays_of(10, episode_ends=[3, 3, 12]))
        found = results(path)
        assert [type(one) for one in found] == [Episode, Reject, Reject]
        assert "episode 1 is empty" in found[1].message
        assert "has 10 rows, and the episode ends at row 12" in found[2].message
        path = write_npz(tmp_path / "b.npz", arrays_of(10, episode_ends=[3, 8]))
        assert len(episodes(path)) == 2 and any("2 rows after the last end" in note for note in opened(path).notes())

    @pytest.mark.parametrize(
        ("values", "option", "expected"),
        [
            ([3, 2, 10], "", "episode 1 would end at row 2, before it begins"),
            ([], "", "episode_ends is empty"),
            ([1.5, 10], "", "expected whole numbers or flags, got 1.5"),
            ([[1, 2], [3, 4]], "", "expected whole numbers or flags, got int64"),
            ([3, 10], "?ends=marks", "option ends=marks: .* has no such array; arrays: actions, episode_ends"),
        ],
    )
    def test_ends_that_cannot_be_used(self, tmp_path: Path, values: Any, option: str, expected: str) -> None:
        path = write_npz(tmp_path / "a.npz", arrays_of(10, episode_ends=np.array(values)))
        with pytest.raises(SourceError, match=expected):
            opened(path, option).partitions()

    def test_numbers_that_are_neither_lengths_nor_ends(self) -> None:
        with pytest.raises(ValueError, match="marks holds neither the lengths of episodes, whose sum would be 10"):
            find_ends(np.array([3, 4]), "marks", 10)

    @pytest.mark.parametrize("compressed", [False, True])
    def test_a_file_is_never_in_memory_as_a_whole(self, tmp_path: Path, compressed: bool) -> None:
        """Of 64 MB, each episode takes 1 MB."""
        arrays = arrays_of(64, side=592, episode_ends=np.arange(1, 65))
        path = write_npz(tmp_path / "a.npz", {**arrays, "eye": arrays["eye"] // 64}, compressed)
        del arrays
        one = array_set.open_set(str(path))
        tracemalloc.start()
        for row in range(64):
            assert one.rows("eye").read(row, row + 1).shape == (1, 592, 592, 3)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        one.close()
        assert peak < 8 * 2**20


class Bomb:
    def __reduce__(self) -> Any:
        return os.mkdir, ("exploded",)


class TestFaults:
    def test_pickled_objects_are_never_opened(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        bomb = np.array([Bomb(), 1], object)
        path = write_npz(tmp_path / "a.npz", arrays_of(4, info=bomb))
        assert isinstance(results(path)[0], Episode)
        assert any("observation/info is left out: it holds pickled Python objects" in n for n in opened(path).notes())
        write_npz(path, arrays_of(4, actions=bomb))
        with pytest.raises(
            SourceError, match=r"a\.npz: actions: it holds pickled Python objects, which are never opened"
        ):
            opened(path).specs()
        folder = tmp_path / "rlds_style"
        folder.mkdir()
        np.save(folder / "episode_0.npy", np.array([{"action": 1}], object))
        with pytest.raises(SourceError, match="episode_0: it holds pickled Python objects"):
            opened(folder).specs()
        (tmp_path / "b.npz").write_bytes(pickle.dumps(Bomb()))
        with pytest.raises(SourceError, match=r"b\.npz cannot be read: File is not a zip file"):
            opened(tmp_path / "b.npz").specs()
        assert not Path("exploded").exists()

    def test_a_damaged_missing_or_other_file_costs_itself(self, tmp_path: Path) -> None:
        folder = write_episodes(tmp_path / "set", (3, 3, 3, 3, 3, 3))
        data = (folder / "episode_1.npz").read_bytes()
        (folder / "episode_1.npz").write_bytes(data[: len(data) // 2])
        write_npz(folder / "episode_2.npz", arrays_of(3, actions=None))
        write_npz(folder / "episode_3.npz", arrays_of(3, joints=np.ones((3, 9))))
        write_npz(folder / "episode_4.npz", arrays_of(3, joints=np.full((3, 3), np.nan)))
        found = results(folder)
        assert [type(one) for one in found] == [Episode, *[Reject] * 4, Episode]
        for one, expected in zip(found[1:5], ("cannot be read", "no array of this name", "[3, 3]", "nan"), strict=True):
            assert expected in one.message and one.source_uri in one.message

    @pytest.mark.parametrize("compressed", [False, True])
    def test_a_changed_byte_of_an_episode_is_noticed(self, tmp_path: Path, compressed: bool) -> None:
        """A .npz has checksums, which are checked where an array is read to its end."""
        folder = tmp_path / "set"
        for number in range(2):
            write_npz(folder / f"{number}.npz", arrays_of(40, number, eye=None), compressed)
        path = folder / "1.npz"
        with zipfile.ZipFile(path) as file:
            place = file.getinfo("joints.npy").header_offset + 400
        data = bytearray(path.read_bytes())
        data[place] ^= 0xFF
        path.write_bytes(data)
        good, bad = results(folder)
        assert isinstance(good, Episode) and isinstance(bad, Reject) and str(path) in bad.message

    @pytest.mark.parametrize("option", ["", "?ends=terminals"])
    def test_cut_or_changed_anywhere(self, tmp_path: Path, option: str) -> None:
        flags = np.arange(6) % 3 == 2
        path = write_npz(tmp_path / "a.npz", arrays_of(6, eye=None, terminals=flags if option else None))
        whole = path.read_bytes()
        for cut in range(0, len(whole), 97):
            path.write_bytes(whole[:cut])
            with pytest.raises(SourceError, match=r"a\.npz cannot be read"):
                opened(path, option).specs()
        for place in range(0, len(whole), 23):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
            try:
                found = results(path, option)
            except SourceError:
                continue
            assert all(isinstance(one, Episode) or str(path) in one.message for one in found)

    def test_a_cut_array_costs_the_episodes_that_it_lacks(self, tmp_path: Path) -> None:
        folder = write_npy(tmp_path / "set", arrays_of(10, **STACKED))
        path = folder / "joints.npy"
        path.write_bytes(path.read_bytes()[:-12])
        found = results(folder)
        assert [type(one) for one in found] == [Episode, Episode, Reject]
        assert "joints: it is cut" in found[2].message

    def test_claimed_sizes_are_not_believed(self, tmp_path: Path) -> None:
        folder = write_npy(tmp_path / "set", arrays_of(4))
        for shape in ("(4, 1000000000000)", "(4, 1000000)", "(1000000000000, 3)"):
            head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
            (folder / "joints.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode())
            try:
                found = results(folder)
            except SourceError as error:
                assert "no field is left" in str(error)
                continue
            assert all(isinstance(one, Reject | Episode) for one in found)

    def test_a_file_that_changed_since_it_was_planned(self, tmp_path: Path) -> None:
        for option, more in (("", {}), ("", STACKED)):
            path = write_npz(tmp_path / "a.npz", arrays_of(10, **more))
            (part,) = (source := opened(path, option)).partitions()
            write_npz(path, arrays_of(30, **more))
            found = [one for _, one in read_partition(source, part)]
            assert found and all(isinstance(one, Reject) for one in found)
            assert "has changed since it was planned" in found[0].message  # type: ignore[union-attr]

    @pytest.mark.parametrize(
        ("name", "expected"),
        [("a.csv", r"ends in \.npz, \.npy"), ("joints.npy", "is one array: give the folder that holds all arrays")],
    )
    def test_what_is_no_set(self, tmp_path: Path, name: str, expected: str) -> None:
        write_npy(tmp_path, {"joints": np.ones(3)})
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub/a.csv").write_text("1")
        with pytest.raises(SourceError, match=expected):
            opened(tmp_path / ("sub" if name == "a.csv" else name)).specs()


@pytest.mark.parametrize("stacked", [False, True])
def test_one_worker_and_two_make_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stacked: bool) -> None:
    monkeypatch.chdir(tmp_path)
    if stacked:
        write_npz(Path("set/train.npz"), arrays_of(300, side=96, episode_ends=range(20, 301, 20)), True)
    else:
        write_episodes(Path("set"), [20] * 15, side=96)
    for workers in ("1", "2"):
        assert convert("npz:set", "--workers", workers, out=f"out{workers}/toy/1.0.0") == 0
    assert tree("out1") == tree("out2")
    assert len(list(Path("out1").rglob("*.tfrecord*"))) > 1
