"""DqnReplaySource against numpy: rows as they stand, rings as Dopamine logs them, and what is missing or damaged."""

import functools
import gzip
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conversions import convert, tree
from dqn_files import ARRAYS, Played, joined, log_ring, packed, play, store, write_checkpoint, write_run
from limited import episodes_of, open_anew, read_source, results_of

from gato_tokenize import Episode
from pipelines.sources.contract import EpisodeSourceContract
from pipelines.sources.dqn_replay import row_stream
from pipelines.sources.dqn_replay.row_stream import RowStream
from pipelines.sources.errors import Filtered, SourceError
from pipelines.sources.reading import Reject, read_partition
from pipelines.sources.recognition import named_source

opened = functools.partial(open_anew, "dqn-replay")
results = functools.partial(results_of, "dqn-replay")
episodes = functools.partial(episodes_of, "dqn-replay")
CUT = "last episode before a gap or the end, of which no mark says that it is whole"
PADDED = "rows of zeros before an episode left out"


class TestContract(EpisodeSourceContract):
    def make(self, folder: Path) -> str:
        write_run(folder / "Pong/1/replay_logs", [7, 1, 9, 12])
        return f"dqn-replay:{folder}/Pong/1?stack=4"


def assert_played(found: list[Any], expected: list[Played], cut: int = 0) -> None:
    """The episodes are those that were played; the last has lost `cut` timesteps."""
    assert [type(one) for one in found] == [Episode] * len(expected), found
    for number, (one, played) in enumerate(zip(found, expected, strict=True)):
        stop = len(played["action"]) - (cut if number == len(expected) - 1 else 0)
        np.testing.assert_array_equal(np.stack(list(one.fields["observation"])), played["observation"][:stop])
        np.testing.assert_array_equal(one.fields["action"], played["action"][:stop])
        np.testing.assert_array_equal(one.rewards, played["reward"][:stop])
        whole = stop == len(played["action"])
        assert (one.metadata.terminated, one.metadata.truncated) == (whole, not whole)
        assert (CUT in one.notes) == (not whole)


class TestRows:
    @pytest.mark.parametrize("rows", [1, 3, 10, 29, 100])
    def test_every_value_is_that_of_numpy(self, tmp_path: Path, rows: int) -> None:
        """Episodes lie in one file, across two, and across many."""
        folder = tmp_path / "Pong/1/replay_logs"
        played = write_run(folder, [7, 1, 9, 12], rows)
        found = episodes(folder)
        assert_played(found, played)
        assert list(found[0].fields) == ["observation", "action"] and not found[0].notes
        assert {(one.metadata.task, one.metadata.domain, one.metadata.agent_id) for one in found} == {
            ("Pong", "atari", "DQN")
        }
        starts = np.cumsum([0, 7, 1, 9])
        assert [one.metadata.episode_id for one in found] == [f"{folder}/ckpt.{s // rows}#{s % rows}" for s in starts]

    def test_the_last_episode_is_cut_and_noted(self, tmp_path: Path) -> None:
        played = write_run(tmp_path, [7, 9])
        store(tmp_path, "terminal", 0).unlink()
        packed(store(tmp_path, "terminal", 0), joined(played)["terminal"] * (np.arange(16) < 10))
        one, two = episodes(tmp_path)
        assert not one.notes and two.notes == {CUT: 1} and two.metadata.truncated and not two.metadata.terminated

    def test_stacks_begin_with_black(self, tmp_path: Path) -> None:
        played = write_run(tmp_path, [7, 2, 9], rows=5)
        for one, whole in zip(episodes(tmp_path, "?stack=4"), played, strict=True):
            assert list(one.fields) == [*(f"observation/{i}" for i in range(4)), "action"]
            pictures = whole["observation"]
            for step in range(len(pictures)):
                for frame in range(4):
                    back = step - 3 + frame
                    expected = pictures[back] if back >= 0 else np.zeros((16, 16), np.uint8)
                    np.testing.assert_array_equal(one.fields[f"observation/{frame}"][step], expected)

    def test_options_that_change_the_spec_are_in_the_tasks_name(self, tmp_path: Path) -> None:
        write_run(tmp_path / "Pong", [3, 3])
        source = opened(tmp_path / "Pong", "?stack=2&actions=6")
        ((task, spec),) = source.specs().items()
        assert task == "Pong/stack=2/actions=6" and spec.fields["action"].size == 6
        assert len(opened(tmp_path / "Pong", "?stack=12").specs()["Pong/stack=12"].fields) == 13
        assert "observation/00" in opened(tmp_path / "Pong", "?stack=12").specs()["Pong/stack=12"].fields

    @pytest.mark.parametrize("option", ["stack=0", "stack=17", "actions=0", "order=some", "padding=some"])
    def test_options_that_are_refused(self, tmp_path: Path, option: str) -> None:
        with pytest.raises(SourceError, match=f"option {option} must be"):
            opened(tmp_path, f"?{option}")

    def test_runs_and_games_by_a_pattern(self, tmp_path: Path) -> None:
        for name in ("Pong/1/replay_logs", "Pong/2/replay_logs", "Breakout/1/replay_logs"):
            write_run(tmp_path / "dqn" / name, [3, 4])
        assert len(episodes(tmp_path / "dqn/Pong/*")) == 4
        found = episodes(tmp_path / "dqn/*/1")
        assert [one.metadata.task for one in found] == ["Breakout"] * 2 + ["Pong"] * 2
        with pytest.raises(SourceError, match=r"holds no files like \$store\$_observation_ckpt.0.gz"):
            opened(tmp_path / "dqn/Pong").specs()

    def test_a_plain_path_is_recognised(self, tmp_path: Path) -> None:
        write_run(tmp_path / "Pong/1/replay_logs", [3])
        for path in (tmp_path / "Pong/1", tmp_path / "Pong/1/replay_logs"):
            assert named_source(str(path)) == f"dqn-replay:{path}"

    def test_max_steps_reads_no_more_pictures_than_it_keeps(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_run(tmp_path, [300, 300], rows=700)
        read: list[tuple[int, int]] = []
        whole = RowStream.read

        def spied(self: RowStream, start: int, stop: int) -> Any:
            read.append((start, stop) if "observation" in self._path else (0, 0))
            return whole(self, start, stop)

        monkeypatch.setattr(RowStream, "read", spied)
        found = episodes(tmp_path, "?max_steps=5")
        assert [one.num_steps for one in found] == [5, 5] and found[0].metadata.truncated
        assert [rows for rows in read if rows != (0, 0)] == [(0, 8), (300, 308)]


class TestRings:
    @pytest.mark.parametrize("final", [False, True])
    @pytest.mark.parametrize("capacity", [20, 31, 64])
    def test_what_was_played_is_what_is_read(self, tmp_path: Path, capacity: int, final: bool) -> None:
        """Rows of zeros are left out, the last row of a file comes first, and the old rows of the last one are not
        read again."""
        played = [play(int(n), i) for i, n in enumerate(np.random.default_rng(capacity).integers(1, 40, 30))]
        log_ring(tmp_path, played, capacity, final)
        total = sum(len(one["action"]) + 3 for one in played)
        logged = total if final else (total + 1) // capacity * capacity - 1
        ends = np.cumsum([len(one["action"]) + 3 for one in played])
        count = int(np.searchsorted(ends, logged, "left")) + 1
        cut = int(ends[count - 1]) - logged
        found = results(tmp_path)
        if isinstance(found[-1], Filtered):  # nothing but the zeros before it was logged
            assert cut >= len(played[count - 1]["action"])
            found, count, cut = found[:-1], count - 1, 0
        assert_played(found, played[:count], cut)
        assert all(one.notes[PADDED] == 3 for one in found) and not opened(tmp_path).notes()

    def test_padding_can_be_kept(self, tmp_path: Path) -> None:
        log_ring(tmp_path, [play(5, 0), play(20, 1)], 20)
        one, _ = episodes(tmp_path, "?padding=keep")
        assert one.num_steps == 8 and not one.notes
        assert not np.stack(list(one.fields["observation"]))[:3].any()

    def test_no_more_than_three_black_rows_are_padding(self, tmp_path: Path) -> None:
        played = write_run(tmp_path, [9])
        for array in ("observation", "action", "reward"):
            values = played[0][array].copy()
            values[:5] = 0
            packed(store(tmp_path, array, 0), values)
        assert [(one.num_steps, one.notes) for one in episodes(tmp_path)] == [(6, {PADDED: 3})]

    def test_a_black_picture_with_a_reward_is_none(self, tmp_path: Path) -> None:
        played = write_run(tmp_path, [9])
        packed(store(tmp_path, "observation", 0), np.zeros_like(played[0]["observation"]))
        packed(store(tmp_path, "action", 0), np.zeros(9, np.int32))
        packed(store(tmp_path, "reward", 0), np.array([0, 1, 0, 0, 0, 0, 0, 0, 0], np.float32))
        assert [one.num_steps for one in episodes(tmp_path)] == [8]

    def test_without_counts_the_order_is_chosen(self, tmp_path: Path) -> None:
        played = [play(11, i) for i in range(9)]
        log_ring(tmp_path, played, 40)
        for path in tmp_path.glob("add_count*"):
            path.unlink()
        assert_played(results(tmp_path, "?order=ring"), played[:9], 7)
        assert not opened(tmp_path, "?order=ring").notes()
        (note,) = opened(tmp_path).notes()
        assert note.startswith("no add_count_ckpt tells the order of the rows") and str(tmp_path) in note

    def test_order_rows_ignores_the_counts(self, tmp_path: Path) -> None:
        played = write_run(tmp_path, [30, 30, 30], rows=30)
        for number in range(3):
            packed(tmp_path / f"add_count_ckpt.{number}.gz", np.array(30 * number + 29))
        assert_played(results(tmp_path, "?order=rows"), played)

    def test_a_log_that_was_missed_is_a_gap(self, tmp_path: Path) -> None:
        """Three rows of zeros may pass over the one count at which the buffer is logged."""
        rows = joined([play(10, 0), play(10, 1)])
        write_checkpoint(tmp_path, 0, rows, 19)
        write_checkpoint(tmp_path, 1, joined([play(10, 2), play(10, 3)]), 59)
        found = results(tmp_path)
        assert [type(one) for one in found] == [Episode, Episode, Filtered, Episode, Episode]
        assert "beginning is in a checkpoint that is not there" in str(found[2])
        assert [one.num_steps for one in found if isinstance(one, Episode)] == [10, 9, 10, 9]


class TestGaps:
    def test_a_checkpoint_missing_in_the_middle(self, tmp_path: Path) -> None:
        played = write_run(tmp_path, [15, 15, 15, 15, 20], rows=20)
        for array in ARRAYS:
            store(tmp_path, array, 1).unlink()
        found = results(tmp_path)
        assert [type(one) for one in found] == [Episode, Episode, Filtered, Episode, Episode]
        assert_played(found[:2], played[:2], 10)
        assert str(found[2]) == "episode whose beginning is in a checkpoint that is not there"
        assert_played(found[3:], played[3:])
        assert opened(tmp_path).notes()[0] == f"{tmp_path} lacks the checkpoints 1"

    def test_last_checkpoints_alone(self, tmp_path: Path) -> None:
        played = [play(17, i) for i in range(30)]
        log_ring(tmp_path, played, 60)
        for path in [path for path in tmp_path.iterdir() if int(path.suffixes[-2][1:]) < 6]:
            path.unlink()
        found = results(tmp_path)
        assert isinstance(found[0], Filtered)
        assert_played(found[1:], played[18:], 1)
        assert opened(tmp_path).notes() == [f"{tmp_path} lacks the checkpoints 0 to 5"]

    def test_an_episode_after_a_gap_that_begins_with_padding_is_whole(self, tmp_path: Path) -> None:
        played = [play(17, i) for i in range(6)]
        log_ring(tmp_path, played, 21)
        for array in ARRAYS:
            store(tmp_path, array, 0).unlink()
        assert_played(results(tmp_path), played[1:], 16)

    @pytest.mark.parametrize("array", ["observation", "action", "reward"])
    def test_a_missing_array_costs_the_episodes_of_its_checkpoint(self, tmp_path: Path, array: str) -> None:
        played = write_run(tmp_path, [15, 15, 15, 15], rows=20)
        store(tmp_path, array, 1).unlink()
        found = results(tmp_path)
        assert [type(one) for one in found] == [Episode, Reject, Reject, Episode]
        assert f"{store(tmp_path, array, 1)} is not there" in found[1].message
        assert_played([found[0], found[3]], [played[0], played[3]])

    @pytest.mark.parametrize("damage", ["missing", "cut", "text"])
    def test_a_checkpoint_whose_terminals_cannot_be_read_is_one_reject(self, tmp_path: Path, damage: str) -> None:
        write_run(tmp_path, [15, 15, 15, 15], rows=20)
        path = store(tmp_path, "terminal", 1)
        data = path.read_bytes()
        path.unlink() if damage == "missing" else path.write_bytes(data[:30] if damage == "cut" else b"words")
        found = results(tmp_path)
        assert [type(one) for one in found] == [Episode, Episode, Filtered, Episode, Reject]
        assert str(path) in found[4].message and "no episode can be found in the checkpoint 1" in found[4].message

    def test_nothing_that_can_be_read(self, tmp_path: Path) -> None:
        write_run(tmp_path, [15])
        store(tmp_path, "terminal", 0).write_bytes(b"")
        with pytest.raises(SourceError, match="has no rows that can be read: .*terminal_ckpt.0.gz"):
            opened(tmp_path).partitions()
        write_run(tmp_path, [15])
        store(tmp_path, "observation", 0).write_bytes(b"")
        with pytest.raises(SourceError, match="nothing tells the pictures of .*observation_ckpt.0.gz"):
            opened(tmp_path).partitions()


class TestFaults:
    @pytest.mark.parametrize("array", ["observation", "action", "reward"])
    def test_a_file_cut_anywhere_costs_the_episodes_after_the_cut(self, tmp_path: Path, array: str) -> None:
        played = write_run(tmp_path, [4, 4, 4, 8, 10], rows=20)
        path = store(tmp_path, array, 0)
        whole = path.read_bytes()
        seen = set()
        for size in np.linspace(1, len(whole) - 1, 12).astype(int).tolist():
            path.write_bytes(whole[:size])
            try:
                found = results(tmp_path)
            except SourceError as error:
                assert str(path) in str(error)
                continue
            sound = [type(one) for one in found[:4]].index(Reject)
            seen.add(sound)
            assert [type(one) for one in found] == [Episode] * sound + [Reject] * (4 - sound) + [Episode]
            assert_played(found[:sound], played[:sound])
            assert all(str(path) in one.message for one in found[sound:4])
        assert len(seen) > 1

    def test_damage_is_found_once_for_all_episodes_after_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_run(tmp_path, [2] * 50, rows=100)
        path = store(tmp_path, "observation", 0)
        path.write_bytes(path.read_bytes()[:9000])
        count = []
        whole = row_stream.opened
        monkeypatch.setattr(row_stream, "opened", lambda *given: count.append(given) or whole(*given))
        found = results(tmp_path)
        assert sum(isinstance(one, Reject) for one in found) > 10
        assert len([given for given in count if given[0] == str(path)]) <= 3

    def test_a_wrong_checksum_is_told_with_the_last_row(self, tmp_path: Path) -> None:
        write_run(tmp_path, [10, 10], rows=20)
        path = store(tmp_path, "observation", 0)
        data = bytearray(path.read_bytes())
        data[-6] ^= 1
        path.write_bytes(data)
        one, two = results(tmp_path)
        assert isinstance(one, Episode) and isinstance(two, Reject) and "CRC check failed" in two.message

    @pytest.mark.parametrize(
        ("array", "values", "expected"),
        [
            (
                "observation",
                np.zeros((20, 84, 80), np.uint8),
                r"expected uint8\[16, 16\] in each row, got uint8\[84, 80",
            ),
            ("observation", np.zeros((20, 16, 16), np.float32), "expected uint8"),
            ("observation", np.ones((19, 16, 16), np.uint8), "has 19 rows, and row 19 is asked for"),
            ("observation", np.asfortranarray(np.ones((20, 16, 16), np.uint8)), "Fortran's order"),
            ("action", np.zeros((20, 2), np.int32), "expected a number in each row"),
            ("action", np.zeros(20, np.float32), "expected a number in each row"),
            ("action", np.full(20, 18, np.int32), "18 at index"),
            ("action", np.array(7), "a single value"),
            ("reward", np.full(20, np.nan, np.float32), "nan is not finite"),
        ],
    )
    def test_values_that_cost_the_episodes_of_their_file(
        self, tmp_path: Path, array: str, values: Any, expected: str
    ) -> None:
        write_run(tmp_path, [20, 20, 20], rows=20)
        packed(store(tmp_path, array, 1), values)
        found = results(tmp_path)
        assert [type(one) for one in found] == [Episode, Reject, Episode]
        assert pytest.importorskip("re").search(expected, found[1].message), found[1].message

    def test_pickled_objects_are_not_opened(self, tmp_path: Path) -> None:
        write_run(tmp_path, [20, 20], rows=20)
        with gzip.open(store(tmp_path, "action", 1), "wb") as file:
            np.save(file, np.array([{}] * 20), allow_pickle=True)
        one, two = results(tmp_path)
        assert isinstance(one, Episode) and "it holds pickled Python objects, which are never opened" in two.message

    def test_claimed_sizes_are_not_believed(self, tmp_path: Path) -> None:
        write_run(tmp_path, [20], rows=20)
        for array in ("terminal", "observation"):
            with gzip.open(store(tmp_path, array, 1), "wb") as file:
                np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (2**50,)})
        for array in ("action", "reward"):
            packed(store(tmp_path, array, 1), np.zeros(2))
        one, two = results(tmp_path)
        assert isinstance(one, Episode) and isinstance(two, Reject) and "more than 1073741824 bytes" in two.message

    def test_a_run_that_changed_since_it_was_planned(self, tmp_path: Path) -> None:
        write_run(tmp_path, [7, 7])
        (part,) = opened(tmp_path).partitions()
        write_run(tmp_path, [7, 6])
        ((_, reject),) = read_partition(opened(tmp_path), part)
        assert isinstance(reject, Reject) and "has changed since it was planned" in reject.message

    def test_other_ends_make_another_plan(self, tmp_path: Path) -> None:
        write_run(tmp_path, [7, 7])
        before = opened(tmp_path).inputs()
        data = joined([play(6, 0), play(8, 1)])["terminal"]
        packed(store(tmp_path, "terminal", 0), data)
        assert opened(tmp_path).inputs() != before


class TestReading:
    def test_a_file_is_unpacked_once_for_all_its_partitions(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = tmp_path / "Pong"
        whole = {
            "observation": np.ones((4000, 84, 84), np.uint8),
            "action": np.ones(4000, np.int32),
            "reward": np.ones(4000, np.float32),
            "terminal": (np.arange(4000) % 100 == 99).astype(np.uint8),
        }
        write_checkpoint(folder, 0, whole)
        source = opened(folder)
        source.shard_bytes = 5 * 2**20
        parts = source.partitions()
        assert len(parts) > 5
        count: list[Any] = []
        opener = row_stream.opened
        monkeypatch.setattr(row_stream, "opened", lambda *given: count.append(given) or opener(*given))
        found = [result for part in parts for _, result in read_partition(source, part)]
        assert len(found) == 40 and len(count) == 3

    def test_a_fork_does_not_share_the_open_file(self, tmp_path: Path) -> None:
        write_run(tmp_path, [5, 5, 5, 5])
        source = opened(tmp_path)
        candidates = [one for part in source.partitions() for one in source.candidates(part)]
        candidates[0].load()
        if (child := os.fork()) == 0:
            try:
                candidates[3].load()
                os._exit(0)
            except BaseException:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        np.testing.assert_array_equal(
            np.stack(list(candidates[1].load().fields["observation"])), play(5, 1)["observation"]
        )

    def test_an_episode_can_be_loaded_after_the_others(self, tmp_path: Path) -> None:
        write_run(tmp_path, [3, 9, 5], rows=6)
        source = opened(tmp_path)
        candidates = [one for part in source.partitions() for one in source.candidates(part)]
        assert [one.load().num_steps for one in reversed(candidates)] == [5, 9, 3]
        assert len(read_source(source, 2)) == 2

    def test_memory_does_not_grow_with_the_file(self, tmp_path: Path) -> None:
        """400 MB of pictures in one file."""
        peaks = []
        for rows in (5_000, 60_000):
            folder = tmp_path / f"{rows}"
            folder.mkdir()
            with gzip.open(store(folder, "observation", 0), "wb", compresslevel=1) as file:
                np.lib.format.write_array_header_1_0(
                    file, {"descr": "|u1", "fortran_order": False, "shape": (rows, 84, 84)}
                )
                for _ in range(0, rows, 100):
                    file.write(bytes(100 * 84 * 84))
            for array, values in (
                ("action", np.ones(rows, np.int32)),
                ("reward", np.ones(rows, np.float32)),
                ("terminal", (np.arange(rows) % 500 == 499).astype(np.uint8)),
            ):
                packed(store(folder, array, 0), values)
            source = opened(folder)
            tracemalloc.start()
            parts = source.partitions()
            (_, first), *_ = read_partition(source, parts[0], 1)
            *_, last = source.candidates(parts[-1])
            assert isinstance(first, Episode) and last.load().num_steps == 500
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert peaks[1] < peaks[0] + 2 * 2**20, peaks


def log_pong() -> None:
    log_ring(Path("Pong/1/replay_logs"), [play(60, i, 84) for i in range(12)], 200)


def test_one_worker_and_two_make_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    log_pong()
    for workers in ("1", "2"):
        words = ["dqn-replay:Pong/1", "--workers", workers]
        assert convert(*words, out=f"out{workers}/toy/1.0.0") == 0
    assert tree("out1") == tree("out2")
    assert len(list(Path("out1").rglob("*.tfrecord*"))) > 1
