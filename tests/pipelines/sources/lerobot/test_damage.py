"""Damaged LeRobot datasets: what is lost is a reject, what is whole is an episode, and nothing hangs or crashes."""

import functools
import shutil
import subprocess
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from conversions import command, convert, rejects, tree
from lerobot_files import EYE, change_info, change_table, picture, shown, write_info, write_table, write_v2, write_v3
from limited import read_source

from gato_tokenize import Episode
from pipelines.processes.forked import call_forked
from pipelines.sources import open_source
from pipelines.sources.errors import Filtered, SourceError
from pipelines.sources.reading import Reject

DATA, VIDEO = "data/chunk-000/file-000.parquet", f"videos/{EYE}/chunk-000/file-000.mp4"
TABLE = "meta/episodes/chunk-000/file-000.parquet"
STARTS, LENGTHS = (0, 7, 12, 21), (7, 5, 9, 4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "toy"


def results(folder: Path, options: str = "") -> list[Any]:
    open_source.cache_clear()
    return [result for _, result in read_source(open_source(f"lerobot:{folder}{options}"))]


def lost(folder: Path) -> list[int]:
    """The numbers of the episodes that are rejects. All others are whole, and each frame of them is the right one."""
    found = results(folder)
    assert len(found) == 4 and all(isinstance(result, Episode | Reject) for result in found), found
    for number, result in enumerate(found):
        if isinstance(result, Episode):
            frames = [shown(frame) for frame in result.fields["observation/images/eye"]]
            assert frames == list(range(STARTS[number], STARTS[number] + LENGTHS[number]))
            assert result.fields["observation/state"][:, 0].tolist() == [number] * LENGTHS[number]
    return [number for number, result in enumerate(found) if isinstance(result, Reject)]


def cuts(data: bytes, count: int = 40) -> list[int]:
    return sorted({*range(0, len(data), max(1, len(data) // count)), len(data) - 1})


def one_camera(folder: Path) -> Path:
    return write_v3(folder, LENGTHS, cameras=(EYE,))


@pytest.mark.parametrize("name", [DATA, VIDEO])
def test_a_file_cut_at_any_byte_costs_the_episodes_in_it(folder: Path, name: str) -> None:
    path = one_camera(folder) / name
    whole = path.read_bytes()
    needed = whole.index(b"udta") if name == VIDEO else len(whole)  # the name of the encoder, which nothing needs
    for size in cuts(whole):
        path.write_bytes(whole[:size])
        assert lost(folder) == [0, 1, 2] if size < needed else lost(folder) in ([], [0, 1, 2]), size
    path.write_bytes(whole)
    assert lost(folder) == []


def test_a_video_whose_index_comes_first_is_cut(folder: Path) -> None:
    """Then a decoder reads what is there: the frames after the cut are missing, and so are their episodes."""
    path = one_camera(folder) / VIDEO
    with av.open(str(path)) as video, av.open(str(folder / "x.mp4"), "w", options={"movflags": "faststart"}) as fast:
        stream = fast.add_stream_from_template(video.streams.video[0])
        for packet in video.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                fast.mux(packet)
    whole = (folder / "x.mp4").read_bytes()
    path.write_bytes(whole)
    assert lost(folder) == []
    seen = set()
    for size in cuts(whole):
        path.write_bytes(whole[:size])
        found = lost(folder)
        assert found == [0, 1, 2][3 - len(found) :] and found, size
        seen.add(len(found))
    assert seen == {1, 2, 3}


def test_a_table_of_episodes_without_its_footer(folder: Path) -> None:
    path = one_camera(folder) / TABLE
    (folder / "meta/episodes/chunk-001").mkdir()
    table = folder / "meta/episodes/chunk-001/file-000.parquet"
    shutil.copy(path, table)
    whole = path.read_bytes()
    for size in cuts(whole, 10):
        path.write_bytes(whole[:size])
        table.unlink(missing_ok=True)
        found = results(folder)
        assert [type(result) for result in found] == [Reject] * 4
        assert all(str(path) in result.message for result in found)


def test_a_lost_part_of_the_table_costs_its_episodes(folder: Path) -> None:
    path = one_camera(folder) / TABLE
    listed = pq.read_table(path)
    write_table(path, listed.slice(0, 2).to_pydict())
    write_table(path.parent / "file-001.parquet", listed.slice(2).to_pydict())
    assert lost(folder) == []
    path.write_bytes(path.read_bytes()[:-5])
    found = results(folder)
    assert sorted(type(result) is Reject for result in found) == [False, False, True, True]
    assert [result.metadata.episode_id for result in found if isinstance(result, Episode)] == ["toy/2", "toy/3"]


@pytest.mark.parametrize("name", [DATA, VIDEO, TABLE])
def test_a_flipped_byte_never_crashes_and_never_mixes_episodes(folder: Path, name: str) -> None:
    path = one_camera(folder) / name
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    outcomes = set()
    for at in generator.integers(0, len(whole), 60).tolist():
        data = bytearray(whole)
        data[at] ^= 1 << int(generator.integers(8))
        path.write_bytes(data)
        outcomes |= set(call_forked(functools.partial(_outcomes, folder), 60))
    assert "Episode" in outcomes and outcomes <= {"Episode", "Reject", "SourceError", "Filtered"}


def _outcomes(folder: Path) -> list[str]:
    try:
        found = results(folder)
    except SourceError:
        return ["SourceError"]
    for result in found:
        if isinstance(result, Episode):
            assert result.num_steps == len(result.fields["observation/images/eye"]) > 0
    return [type(result).__name__ for result in found]


@pytest.mark.parametrize("name", [DATA, VIDEO])
def test_a_missing_file_costs_its_episodes(folder: Path, name: str) -> None:
    (one_camera(folder) / name).unlink()
    found = results(folder)
    assert lost(folder) == [0, 1, 2] and name.rpartition("/")[2] in found[1].message


def test_a_missing_file_of_v2_in_the_middle(folder: Path) -> None:
    write_v2(folder)
    (folder / "data/chunk-000/episode_000001.parquet").unlink()
    (folder / f"videos/chunk-000/{EYE}/episode_000002.mp4").unlink()
    assert [type(result) for result in results(folder)] == [Episode, Reject, Reject]


def test_a_malformed_line_of_v2_costs_its_episode(folder: Path) -> None:
    write_v2(folder)
    path = folder / "meta/episodes.jsonl"
    first, _, third = path.read_text().splitlines()
    path.write_text("\n".join([first, '{"episode_index": "one"}', "", third]))
    change_info(folder, total_episodes=3)
    kinds = [type(result) for result in results(folder)]
    assert kinds == [Episode, Reject, Episode, Filtered]  # the last is the number that no line has


def test_an_empty_dataset_is_named(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_v3(folder, cameras=())
    write_info(folder, "v3.0", 0, ())
    write_table(
        folder / TABLE, {name: [] for name in ("episode_index", "length", "data/chunk_index", "data/file_index")}
    )
    assert convert(f"lerobot:{folder}", out=str(tmp_path / "out/toy/1.0.0")) != 0
    assert "has no episodes" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["meta/info.json", "meta/tasks.parquet", "meta/stats.json"])
def test_a_cut_file_of_meta_is_named(folder: Path, name: str) -> None:
    path = one_camera(folder) / name
    path.write_bytes((path.read_bytes() if path.exists() else b'{"a": 1}')[:-4])
    with pytest.raises(SourceError, match=name):
        results(folder)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("action", [[0.0, float("nan")]] * 9, "is not finite"),
        ("action", [[0.0, 1.0]] * 8 + [[0.0]], "lengths from 1 to 2"),
        ("action", [[0.0, 1.0, 2.0]] * 9, "do not make shape"),
        ("action", [[0.0, 1.0]] * 8 + [None], "row 8 holds no value"),
        ("action", ["up"] * 9, "expected numbers"),
        ("task_index", [7] * 9, "task 7"),
        ("frame_index", [0, 1, 2, 4, 5, 6, 7, 8, 9], "does not count 0, 1, 2"),
        ("episode_index", [2, 2, 1, 2, 2, 2, 2, 2, 2], "not next to each other"),
        ("episode_index", [1] * 9, "0 rows are of episode 2"),
        ("timestamp", [0.0, 0.2, 0.1, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], "do not ascend"),
        ("timestamp", [float("nan")] * 9, "do not ascend"),
    ],
)
def test_wrong_rows_cost_their_episode(folder: Path, column: str, values: list[Any], message: str) -> None:
    write_v2(folder, cameras=(EYE,))
    change_table(folder / "data/chunk-000/episode_000002.parquet", **{column: values})
    found = results(folder)
    assert [type(result) for result in found] == [Episode, Episode, Reject]
    assert message in found[2].message


def test_a_fault_in_a_video_costs_no_other_episode_of_it(folder: Path) -> None:
    """The decoder is opened anew after an error, and finds the right frames again."""
    write_v3(folder, LENGTHS, (0, 0, 0, 0), cameras=(EYE,), gop=100)
    starts = [0.0, 50.0, 1.2, 2.1]
    change_table(folder / TABLE, **{f"videos/{EYE}/from_timestamp": starts})
    assert lost(folder) == [1]


def test_killed_resumed_and_with_two_workers_the_bytes_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_v3(Path("toy"), [12] * 16, [0] * 8 + [1] * 8)
    (Path("toy") / f"videos/{EYE}/chunk-000/file-001.mp4").write_bytes(b"")
    words = ("lerobot:toy?resize=128x128", "--max-rejects", "8")  # 98 kB a timestep: five partitions
    assert convert(*words, out="one/toy/1.0.0") == 0
    assert len(rejects("one")) == 8 and len(list(Path("one").rglob("*.idx"))) > 3
    for delay in (1.5, 3.0):
        process = subprocess.Popen(command(*words, out="two/toy/1.0.0"), stderr=subprocess.DEVNULL)
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)
    done = command(*words, "--workers", "2", out="two/toy/1.0.0")
    subprocess.run(done, check=True, capture_output=True, timeout=120)
    assert tree("one") == tree("two")


def test_pictures_of_the_helper_can_be_told_apart() -> None:
    assert [shown(picture(number)) for number in range(256)] == list(range(256))
