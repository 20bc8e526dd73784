"""LeRobotSource: whole datasets of each version, written with the format's own libraries."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lerobot_files import (
    EYE,
    FPS,
    WRIST,
    change_info,
    change_table,
    features,
    picture,
    rows,
    shown,
    write_info,
    write_table,
    write_v2,
    write_v3,
    write_video,
)
from limited import read_source
from rlds_files import picture as encoded

from gato_tokenize import ContinuousSpec, Episode, ImageSpec, TextSpec
from pipelines.sources import open_source
from pipelines.sources.contract import EpisodeSourceContract
from pipelines.sources.errors import Filtered, SourceError
from pipelines.sources.reading import Reject
from pipelines.sources.source import Source
from pipelines.stats.lints import STILL_CAMERA, VIDEO_DRIFT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "toy"


def opened(folder: Path, options: str = "") -> Source:
    open_source.cache_clear()
    return open_source(f"lerobot:{folder}" + (f"?{options}" if options else ""))


def results(folder: Path, options: str = "") -> list[Any]:
    return [result for _, result in read_source(opened(folder, options))]


def episodes(folder: Path, options: str = "") -> list[Episode]:
    found = results(folder, options)
    assert found and all(isinstance(result, Episode) for result in found), found
    return found


def numbers(episode: Episode, camera: str = "eye") -> list[int]:
    return [shown(frame) for frame in episode.fields[f"observation/images/{camera}"]]


def rejects(folder: Path, options: str = "") -> dict[int, str]:
    """{number of an episode: why it is a reject}; all others are episodes."""
    found = read_source(opened(folder, options))
    assert all(isinstance(result, Episode | Reject) for _, result in found), found
    return {candidate.source_index: result.message for candidate, result in found if isinstance(result, Reject)}


class TestContractV3(EpisodeSourceContract):
    def make(self, folder: Path) -> str:
        return f"lerobot:{write_v3(folder / 'toy')}"


class TestContractV2(EpisodeSourceContract):
    def make(self, folder: Path) -> str:
        return f"lerobot:{write_v2(folder / 'toy')}"


class TestContractGr00t(EpisodeSourceContract):
    def make(self, folder: Path) -> str:
        write_v2(folder / "toy", version="v2.0")
        slices = {"state": {"arm": {"start": 0, "end": 2}, "hand": {"start": 2, "end": 3}}}
        (folder / "toy/meta/modality.json").write_text(json.dumps(slices))
        return f"lerobot:{folder / 'toy'}"


def test_v3_by_hand(folder: Path) -> None:
    source = opened(write_v3(folder))
    (spec,) = source.specs().values()
    assert spec.fields == {
        "observation/images/eye": ImageSpec(None, (32, 32)),
        "observation/images/wrist": ImageSpec(None, (32, 32)),
        "observation/instruction": TextSpec(),
        "observation/state": ContinuousSpec(3),
        "action": ContinuousSpec(2),
    }
    read = read_source(source)
    assert [(candidate.episode_id, candidate.split) for candidate, _ in read] == [
        (f"toy/{number}", "train") for number in range(4)
    ]
    second = read[1][1]
    assert second.fields["observation/state"].tolist() == [[1.0, step, 0.0] for step in range(5)]
    assert second.fields["action"] == pytest.approx(np.array([[step / 5, -1] for step in range(5)]))
    assert numbers(second) == list(range(7, 12)) and numbers(second, "wrist") == list(range(107, 112))
    named = second.metadata
    assert (named.instruction, named.return_, named.terminated, named.success) == ("drop it", 1.0, True, -1)
    assert read[0][1].metadata.instruction == "lift the cube"
    assert second.notes == {}


@pytest.mark.parametrize("codec", ["libx264", "libsvtav1", "mpeg4"])
@pytest.mark.parametrize("gop", [1, 2, 100])
def test_each_row_has_the_frame_of_its_time(folder: Path, codec: str, gop: int) -> None:
    write_v3(folder, (7, 5, 9, 4), (0, 0, 0, 0), (EYE,), codec, gop)
    assert [numbers(episode) for episode in episodes(folder)] == [
        list(range(start, start + length)) for start, length in ((0, 7), (7, 5), (12, 9), (21, 4))
    ]


@pytest.mark.parametrize("version", ["v2.0", "v2.1"])
def test_v2_by_hand(folder: Path, version: str) -> None:
    read = episodes(write_v2(folder, version=version))
    assert [numbers(episode) for episode in read] == [
        [40 * i + step for step in range(length)] for i, length in enumerate((7, 5, 9))
    ]
    assert [episode.metadata.instruction for episode in read] == ["lift the cube", "drop it", "drop it"]


def test_the_names_of_early_v2(folder: Path) -> None:
    write_v2(
        folder,
        version="v2.0",
        cameras=(),
        data="data/chunk-{0:03d}/train-{1:05d}-of-{2:05d}.parquet",
        data_path="data/chunk-{episode_chunk:03d}/train-{episode_index:05d}-of-{total_episodes:05d}.parquet",
    )
    assert (folder / "data/chunk-000/train-00002-of-00003.parquet").exists()
    assert len(episodes(folder)) == 3


def test_pictures_in_the_data_files_are_kept_as_they_are(folder: Path) -> None:
    write_v2(folder, cameras=())
    files = [encoded(picture(step), "PNG") for step in range(7)]
    structs = [{"bytes": data, "path": f"frame_{step}.png"} for step, data in enumerate(files)]
    change_table(folder / "data/chunk-000/episode_000000.parquet", **{EYE: structs})
    for number, length in ((1, 5), (2, 9)):
        change_table(folder / f"data/chunk-000/episode_{number:06d}.parquet", **{EYE: structs[:1] * length})
    structs[3] = {"bytes": None, "path": "frame_3.png"}
    change_table(folder / "data/chunk-000/episode_000002.parquet", **{EYE: [*structs, *structs[:2]]})
    change_info(folder, features=features([EYE], "image"))
    found = results(folder)
    assert found[0].fields["observation/images/eye"] == files
    assert isinstance(found[2], Reject) and "row 3 holds no value" in found[2].message


def test_an_episode_that_goes_on_in_the_next_data_file(folder: Path) -> None:
    write_v3(folder)
    first, second = (folder / f"data/chunk-000/file-{number:03d}.parquet" for number in (0, 1))
    whole = rows(2, 9)
    write_table(first, {n: rows(0, 7)[n] + rows(1, 5)[n] + values[:4] for n, values in whole.items()})
    write_table(second, {n: values[4:] + rows(3, 4)[n] for n, values in whole.items()})
    read = episodes(folder)
    assert [episode.num_steps for episode in read] == [7, 5, 9, 4]
    assert read[2].fields["observation/state"][:, 1].tolist() == list(range(9))
    write_table(second, {n: values[5:] + rows(3, 4)[n] for n, values in whole.items()})
    assert list(rejects(folder)) == [2]


def test_splits_and_what_is_in_none(folder: Path) -> None:
    write_v3(folder, splits={"train": "0:2", "val": "2:3"})
    read = read_source(opened(folder))
    assert [candidate.split for candidate, _ in read] == ["train", "train", "validation", "train"]
    assert isinstance(read[3][1], Filtered) and "no split" in str(read[3][1])
    chosen = read_source(opened(folder, "splits=val"))
    assert [candidate.episode_id for candidate, result in chosen if isinstance(result, Episode)] == ["toy/2"]


def test_episodes_that_are_announced_but_not_stored_are_filtered_and_noted(folder: Path) -> None:
    source = opened(write_v3(folder, total_episodes=7, splits={"train": "0:7"}))
    read = read_source(source)
    assert [candidate.episode_id for candidate, _ in read] == [f"toy/{number}" for number in range(7)]
    assert [str(result) for _, result in read if isinstance(result, Filtered)] == [
        "announced by info.json, but not stored"
    ] * 3
    assert "3 episodes announced by info.json, but not stored" in source.notes()


def test_a_timestamp_out_of_tolerance_costs_its_episode(folder: Path) -> None:
    write_v2(folder)
    times = [step / FPS for step in range(5)]
    times[2] += 0.003
    change_table(folder / "data/chunk-000/episode_000001.parquet", timestamp=times)
    ((number, message),) = rejects(folder).items()
    assert number == 1 and "no frame within 0.0001 s of 0.203000 s" in message and "tolerance=" in message
    assert [numbers(episode)[:3] for episode in episodes(folder, "tolerance=0.004")][1] == [40, 41, 42]


def test_lints_of_videos(folder: Path) -> None:
    write_v2(folder, (12, 12, 12), cameras=(EYE,))
    write_video(folder / f"videos/chunk-000/{EYE}/episode_000000.mp4", list(range(14)))
    write_video(folder / f"videos/chunk-000/{EYE}/episode_000001.mp4", [5] * 11 + [9])
    write_video(folder / f"videos/chunk-000/{EYE}/episode_000002.mp4", list(range(11)))
    first, second, third = results(folder)
    assert first.notes == {VIDEO_DRIFT: 1}
    assert second.notes == {STILL_CAMERA: 1}
    assert isinstance(third, Reject) and "no frame within" in third.message


def test_drift_within_a_shared_video(folder: Path) -> None:
    write_v3(folder, (6, 6), (0, 0), (EYE,))
    table = folder / "meta/episodes/chunk-000/file-000.parquet"
    change_table(table, **{f"videos/{EYE}/to_timestamp": [0.8, 1.2]})
    assert [episode.notes for episode in episodes(folder)] == [{VIDEO_DRIFT: 1}, {}]


def test_fps_decodes_the_frames_that_it_keeps(folder: Path) -> None:
    read = episodes(write_v3(folder), "fps=5")
    assert numbers(read[0]) == [0, 2, 4, 6] and numbers(read[2]) == [12, 14, 16, 18, 20]


def test_frames_are_resized_as_they_are_decoded(folder: Path) -> None:
    read = episodes(write_v3(folder), "resize=16x48")
    assert np.shape(read[0].fields["observation/images/eye"]) == (7, 16, 48, 3)


def test_a_video_of_another_size_is_named(folder: Path) -> None:
    write_v2(folder, cameras=(EYE,))
    write_video(folder / f"videos/chunk-000/{EYE}/episode_000001.mp4", range(5), side=48)
    assert "its frames are [48, 48], and info.json states [32, 32]" in rejects(folder)[1]


def test_statistics_in_meta_give_an_action_its_range(folder: Path) -> None:
    write_v3(folder)
    stats = {"action": {"min": [-0.5, -3.0], "max": [0.5, 1.0]}}
    (folder / "meta/stats.json").write_text(json.dumps(stats))
    (spec,) = opened(folder).specs().values()
    assert spec.action == ContinuousSpec(2, (-1.0, -4.0), (1.0, 4.0))


def test_the_statistics_of_episodes_give_an_action_its_range(folder: Path) -> None:
    write_v2(folder)
    lines = [{"episode_index": i, "stats": {"action": {"min": [-i, 0], "max": [0, i]}}} for i in range(4)]
    (folder / "meta/episodes_stats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (spec,) = opened(folder).specs().values()
    assert spec.action == ContinuousSpec(2, -4.0, 4.0)


def test_without_statistics_the_first_episodes_give_an_action_its_range(folder: Path) -> None:
    write_v2(folder, cameras=())
    change_table(folder / "data/chunk-000/episode_000001.parquet", action=[[0.0, 7.0]] * 5)
    (spec,) = opened(folder).specs().values()
    assert spec.action == ContinuousSpec(2, (-1.0, -8.0), (1.0, 8.0))


def test_lists_of_doubles_are_read_as_what_info_states(folder: Path) -> None:
    write_v2(folder, cameras=(), features={**features([]), "observation.code": {"dtype": "int64", "shape": [2]}})
    for number, length in ((0, 7), (1, 5), (2, 9)):
        half = 0.5 if number == 1 else 0.0
        path = folder / f"data/chunk-000/episode_{number:06d}.parquet"
        change_table(path, **{"observation.code": [[1.0, 2.0 + half]] * length})
    ((number, message),) = rejects(folder).items()
    assert number == 1 and "observation.code: 2.5 is no int64" in message


class TestGr00t:
    @pytest.fixture
    def set(self, folder: Path) -> Path:
        said = {
            **features([EYE]),
            "annotation.human.action.task_description": {"dtype": "int64", "shape": [1]},
            "annotation.human.validity": {"dtype": "int64", "shape": [1]},
        }
        write_v2(folder, version="v2.0", cameras=(EYE,), features=said)
        for number, length in ((0, 7), (1, 5), (2, 9)):
            path = folder / f"data/chunk-000/episode_{number:06d}.parquet"
            annotations = {name: [1] * length for name in said if name.startswith("annotation")}
            change_table(path, **annotations)
        return folder

    def modality(self, folder: Path, **said: Any) -> None:
        whole = {
            "state": {"arm": {"start": 0, "end": 2}, "hand": {"start": 2, "end": 3}},
            "action": {"hand": {"start": 1, "end": 2}},
            "video": {"ego": {"original_key": EYE}},
            "annotation": {"human.action.task_description": {}, "human.validity": {}},
        }
        (folder / "meta/modality.json").write_text(json.dumps({**whole, **said}))

    def test_slices_become_fields(self, set: Path) -> None:
        self.modality(set)
        source = opened(set)
        (spec,) = source.specs().values()
        assert spec.fields == {
            "observation/images/eye": ImageSpec(None, (32, 32)),
            "observation/instruction": TextSpec(),
            "observation/state/arm": ContinuousSpec(2),
            "observation/state/hand": ContinuousSpec(1),
            "action/hand": ContinuousSpec(1),
        }
        assert any("observation/state is left out: meta/modality.json divides it" in note for note in source.notes())
        episode = episodes(set)[1]
        assert episode.fields["observation/state/arm"].tolist() == [[1.0, step] for step in range(5)]
        assert episode.fields["action/hand"].tolist() == [[-1.0]] * 5

    def test_an_annotation_is_an_instruction_by_the_number_of_a_task(self, set: Path) -> None:
        self.modality(set)
        read = episodes(set, "instruction=annotation/human.action.task_description")
        assert [episode.metadata.instruction for episode in read] == ["drop it"] * 3

    @pytest.mark.parametrize(
        ("said", "message"),
        [
            ({"state": {"arm": {"start": 0, "end": 4}}}, "state/arm is 0 to 4 of observation.state"),
            ({"action": {"arm": {"start": 0, "end": 1, "original_key": "no.such"}}}, "action/arm is part of 'no.such'"),
            ({"state": [1]}, "state must be an object"),
        ],
    )
    def test_a_slice_that_is_not_there_is_named(self, set: Path, said: Any, message: str) -> None:
        self.modality(set, **said)
        with pytest.raises(SourceError, match=message):
            opened(set).specs()


class TestRefused:
    @pytest.mark.parametrize(
        ("said", "message"),
        [
            ({"codebase_version": "v1.6"}, "'v1.6', and v2.0, v2.1, v3.0 can be read"),
            ({"codebase_version": "v3.1"}, "'v3.1'"),
            ({"codebase_version": None}, "codebase_version is None"),
            ({"fps": 0}, "fps"),
            ({"features": {}}, "features"),
            ({"features": {"action": {"dtype": "float32"}}}, "'action' needs a dtype and a shape"),
            ({"splits": {"train": "all"}}, "FIRST:STOP"),
            ({"total_episodes": 10**12}, "total_episodes"),
            ({"data_path": "../{file_index}.parquet"}, "leaves the dataset's folder"),
            ({"video_path": "/{video_key}.mp4"}, "leaves the dataset's folder"),
            ({"data_path": "{file_index.__class__}"}, "unknown"),
            ({"data_path": "data/{no_such}.parquet"}, "no_such is unknown"),
        ],
    )
    def test_an_info_that_cannot_be_read(self, folder: Path, said: dict[str, Any], message: str) -> None:
        write_info(folder, "v3.0", 1, (), **said)
        with pytest.raises(SourceError, match=message):
            opened(folder).specs()

    def test_a_feature_named_with_dots(self, folder: Path) -> None:
        write_v2(folder, cameras=("observation.images.../../etc",))
        assert all("leaves the dataset's folder" in message for message in rejects(folder).values())

    def test_a_folder_that_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "other.txt").touch()
        with pytest.raises(SourceError, match=r"no meta/info.json; found: other.txt"):
            opened(tmp_path).specs()

    def test_missing_columns_of_the_episodes_are_named(self, folder: Path) -> None:
        write_v3(folder)
        table = folder / "meta/episodes/chunk-000/file-000.parquet"
        change_table(table, drop=[f"videos/{WRIST}/from_timestamp"])
        with pytest.raises(SourceError, match=f"no column videos/{WRIST}/from_timestamp, which LeRobot v3.0 writes"):
            opened(folder).partitions()
        assert len(episodes(folder, "fields=-observation/images/wrist")) == 4

    def test_a_table_that_names_no_files_is_refused_unless_each_episode_has_one(self, folder: Path) -> None:
        write_v3(folder)
        table = folder / "meta/episodes/chunk-000/file-000.parquet"
        change_table(table, drop=["data/chunk_index", "data/file_index"])
        with pytest.raises(SourceError, match="no column data/chunk_index, data/file_index"):
            opened(folder).partitions()

    def test_missing_columns_of_the_data_are_named(self, folder: Path) -> None:
        write_v3(folder)
        change_table(folder / "data/chunk-000/file-001.parquet", drop=["timestamp", "action"])
        ((number, message),) = rejects(folder).items()
        assert number == 3 and "no column action, timestamp" in message


def test_a_table_that_names_no_files_is_read_by_the_order_of_the_files(folder: Path) -> None:
    write_v3(folder, (7, 5, 9), (0, 1, 2))
    table = folder / "meta/episodes/chunk-000/file-000.parquet"
    write_table(table, {"episode_index": [0, 1, 2], "length": [7, 5, 9]})
    source = opened(folder)
    assert any("taken for one episode each" in note for note in source.notes())
    assert [numbers(episode) for episode in episodes(folder)] == [
        list(range(start, start + length)) for start, length in ((0, 7), (7, 5), (12, 9))
    ]
    change_table(folder / "data/chunk-000/file-001.parquet", episode_index=[2] * 5)
    assert "0 rows are of episode 1" in rejects(folder)[1]
