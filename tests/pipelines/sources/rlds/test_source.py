"""RldsSource: datasets written by hand, whole: what becomes of each field, flag, split and version."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from limited import read_source
from rlds_files import TEXT, by_hand, eye, group, image, packed, picture, record, sequence, tensor

from gato_tokenize import ContinuousSpec, DiscreteSpec, Episode, ImageSpec, TextSpec
from pipelines.sources import open_source, pieces
from pipelines.sources.contract import EpisodeSourceContract
from pipelines.sources.errors import Filtered, SourceError
from pipelines.sources.reading import Reject
from pipelines.sources.source import Source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "toy" / "1.0.0"


def opened(folder: Path, options: str = "") -> Source:
    open_source.cache_clear()
    return open_source(f"rlds:{folder}" + (f"?{options}" if options else ""))


def results(folder: Path, options: str = "") -> list[Any]:
    return [result for _, result in read_source(opened(folder, options))]


def one(folder: Path, features: dict[str, Any], options: str = "", **more: Any) -> Any:
    """What becomes of a dataset's one record."""
    (result,) = results(by_hand(folder, {"train": [[features]]}, **more), options)
    return result


class TestContract(EpisodeSourceContract):
    def make(self, folder: Path) -> str:
        return f"rlds:{by_hand(folder / 'toy/1.0.0')}"


def test_by_hand(folder: Path) -> None:
    source = opened(by_hand(folder))
    (spec,) = source.specs().values()
    assert spec.fields == {
        "observation/eye": ImageSpec(None, (32, 48)),
        "observation/instruction": TextSpec(),
        "observation/state": ContinuousSpec(3),
        "action": ContinuousSpec(2),
    }
    read = read_source(source)
    assert [(candidate.episode_id, candidate.split) for candidate, _ in read] == [
        ("toy/1.0.0/train-00000/0", "train"),
        ("toy/1.0.0/train-00000/1", "train"),
        ("toy/1.0.0/train-00001/0", "train"),
        ("toy/1.0.0/val-00000/0", "validation"),
    ]
    episode = read[0][1]
    assert isinstance(episode, Episode) and episode.num_steps == 2
    assert episode.observations["eye"] == [eye(0), eye(1)]  # the file's own bytes
    assert np.allclose(episode.observations["state"], [[0, 0.1, 0.2], [0.3, 0.4, 0.5]])
    assert np.allclose(episode.actions, [[0, 0.01], [0.02, 0.03]])
    named = episode.metadata
    assert (named.task, named.domain, named.instruction) == ("toy", "rlds", "lift block 0")
    assert (named.return_, named.success, named.terminated, named.truncated) == (2.0, -1, True, False)
    assert named.source_uri == f"{folder}/toy-train.tfrecord-00000-of-00002"
    assert episode.notes == {"last step left out, whose action RLDS does not define": 1}
    assert [entry["uri"] for entry in source.inputs()] == [
        f"{folder}/dataset_info.json",
        f"{folder}/features.json",
        f"{folder}#files",
    ]


class TestEndings:
    def test_the_action_of_the_last_step_is_left_out_or_kept(self, folder: Path) -> None:
        action = np.array([0, 0, 0.5, 0.5, 9, 9], np.float32)
        features = record(3, **{"steps/action": action})
        assert one(folder, features).actions.tolist() == [[0, 0], [0.5, 0.5]]
        kept = one(folder, features, "last_step=keep")
        assert kept.actions.tolist() == [[0, 0], [0.5, 0.5], [9, 9]] and kept.notes == {}
        assert kept.metadata.return_ == 3.0

    def test_an_episode_that_was_cut_keeps_every_step_and_has_no_end(self, folder: Path) -> None:
        zeros = np.zeros(3, np.int64)
        cut = one(folder, record(3, **{"steps/is_last": zeros, "steps/is_terminal": zeros}))
        assert cut.num_steps == 3 and not cut.metadata.terminated and not cut.metadata.truncated

    def test_a_last_step_that_is_not_terminal_is_a_truncation(self, folder: Path) -> None:
        cut = one(folder, record(3, **{"steps/is_terminal": np.zeros(3, np.int64)}))
        assert not cut.metadata.terminated and cut.metadata.truncated

    def test_flags_before_the_end_are_counted_and_cut_nothing(self, folder: Path) -> None:
        wrong = np.array([1, 1, 0], np.int64)
        odd = one(folder, record(3, **{"steps/is_terminal": wrong, "steps/is_last": wrong}))
        assert odd.num_steps == 3
        assert odd.notes == {"is_last set before the last step": 2, "is_terminal set before the last step": 2}

    def test_without_flags_and_rewards_nothing_is_assumed(self, folder: Path) -> None:
        names = ("is_first", "is_last", "is_terminal", "reward")
        bare = one(folder, record(3, **{f"steps/{name}": None for name in names}), step=dict.fromkeys(names))
        assert bare.num_steps == 3 and np.isnan(bare.metadata.return_) and bare.notes == {}

    @pytest.mark.parametrize("steps", [0, 1])
    def test_a_record_without_an_action_is_filtered(self, folder: Path, steps: int) -> None:
        whole = record(3)
        result = results(by_hand(folder, {"train": [[whole, record(steps)]]}))[1]
        assert isinstance(result, Filtered) and str(result) == "it has no step with an action"

    def test_success_is_the_episodes(self, folder: Path) -> None:
        features = record(2, **{"episode_metadata/success": np.array([0], np.int64)})
        metadata = {"episode_metadata": group(success=tensor("bool"))}
        assert one(folder, features, episode=metadata).metadata.success == 0


class TestFields:
    def test_the_instruction_may_stand_beside_the_steps(self, folder: Path) -> None:
        features = record(3, **{"steps/language_instruction": None, "episode_metadata/language_instruction": [b"push"]})
        metadata = {"episode_metadata": group(language_instruction=TEXT)}
        episode = one(folder, features, step={"language_instruction": None}, episode=metadata)
        assert episode.observations["instruction"] == ["push", "push"] and episode.metadata.instruction == "push"

    def test_another_instruction_can_be_chosen(self, folder: Path) -> None:
        features = record(2, **{"steps/note": [b"a", b"b"]})
        assert one(folder, features, "instruction=note", step={"note": TEXT}).observations["instruction"] == ["a"]

    def test_an_embedding_is_left_out_unless_it_is_asked_for(self, folder: Path) -> None:
        features = record(2, **{"steps/language_embedding": np.ones(1024, np.float32)})
        by_hand(folder, {"train": [[features]]}, step={"language_embedding": tensor("float32", 512)})
        source = opened(folder)
        assert not any("embedding" in path for spec in source.specs().values() for path in spec.fields)
        assert any("language_embedding" in note and "512" in note for note in source.notes())
        (asked,) = opened(folder, "fields=language_embedding").specs().values()
        assert asked.fields["observation/language_embedding"] == ContinuousSpec(512)

    def test_depth_of_16_bits_is_left_out_unless_it_is_asked_for(self, folder: Path) -> None:
        deep = picture(np.full((32, 48), 0x1234, np.uint16), "PNG")
        step = {"observation": group(depth=image(32, 48, 1, dtype="uint16"), state=tensor("float32", 3))}
        features = record(2, **{"steps/observation/depth": [deep, deep]})
        assert "depth" not in one(folder, features, step=step).observations
        assert any("uint16" in note for note in opened(folder).notes())
        asked = opened(folder, "fields=observation/depth")
        (result,) = [result for _, result in read_source(asked)]
        assert result.observations["depth"] == [deep]

    def test_arrays_as_byte_strings(self, folder: Path) -> None:
        cloud = np.arange(8, dtype=np.float32).reshape(4, 2)
        step = {"observation": group(cloud=tensor("float32", 4, 2, encoding="zlib"),
                                     raw=tensor("uint8", 2, encoding="bytes"),
                                     any=tensor("float32", -1, -1, encoding="zlib"))}  # fmt: skip
        features = record(2, **{
            "steps/observation/cloud": [packed(cloud), packed(cloud + 1)],
            "steps/observation/raw": [b"\x01\xc8", b"\x02\x03"],
            "steps/observation/any/value": [packed(cloud[:3]), packed(cloud[1:])],
            "steps/observation/any/shape": np.array([3, 2, 3, 2], np.int64),
        })  # fmt: skip
        episode = one(folder, features, "last_step=keep", step=step)
        assert np.array_equal(episode.observations["cloud"], [cloud, cloud + 1])
        assert episode.observations["raw"].tolist() == [[1, 200], [2, 3]]
        assert episode.observations["any"].tolist() == [cloud[:3].tolist(), cloud[1:].tolist()]
        assert episode.spec.fields["observation/raw"] == DiscreteSpec(256, 2)

    def test_rows_of_one_length_are_an_array_and_others_are_left_out(self, folder: Path) -> None:
        step = {"observation": group(three=sequence(tensor("int32")), square=sequence(sequence(tensor())),
                                     ragged=sequence(tensor()), words=sequence(TEXT))}  # fmt: skip
        rows = "steps/observation/{}/ragged_row_lengths_{}".format
        flat = "steps/observation/{}/ragged_flat_values".format
        features = record(2, **{
            flat("three"): np.arange(6), rows("three", 0): np.array([3, 3]),
            flat("square"): np.arange(8, dtype=np.float32), rows("square", 0): np.array([2, 2]),
            rows("square", 1): np.array([2, 2, 2, 2]),
            flat("ragged"): np.ones(3, np.float32), rows("ragged", 0): np.array([1, 2]),
            flat("words"): [b"a"], rows("words", 0): np.array([1, 0]),
        })  # fmt: skip
        episode = one(folder, features, "last_step=keep", step=step)
        assert episode.observations["three"].tolist() == [[0, 1, 2], [3, 4, 5]]
        assert episode.observations["square"].tolist() == [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]
        assert set(episode.observations) == {"three", "square", "instruction"}
        notes = "\n".join(opened(folder).notes())
        assert "ragged" in notes and "varies" in notes and "words is left out: a list of texts" in notes

    def test_a_length_that_differs_later_costs_that_episode(self, folder: Path) -> None:
        step = {"observation": group(row=sequence(tensor()))}

        def rows(length: int) -> dict[str, Any]:
            return record(2, **{
                "steps/observation/row/ragged_flat_values": np.ones(2 * length, np.float32),
                "steps/observation/row/ragged_row_lengths_0": np.array([length, length]),
            })  # fmt: skip

        *whole, last = results(by_hand(folder, {"train": [[rows(3)] * 4 + [rows(2)]]}, step=step))
        assert all(isinstance(result, Episode) for result in whole)
        assert isinstance(last, Reject) and "observation/row" in last.message

    def test_bounds_labels_and_unsigned_numbers(self, folder: Path) -> None:
        step = {"observation": group(bounded=tensor("int32", 2, minimum="0", maximum="3"),
                                     label={"classLabel": {"numClasses": "5"}},
                                     big=tensor("uint64"), flag=tensor("bool", 1))}  # fmt: skip
        features = record(2, **{
            "steps/observation/bounded": np.array([0, 3, 1, 2]), "steps/observation/label": np.array([4, 0]),
            "steps/observation/big": np.array([-1, 5]), "steps/observation/flag": np.array([1, 0]),
        })  # fmt: skip
        episode = one(folder, features, "last_step=keep", step=step)
        fields = episode.spec.fields
        assert fields["observation/bounded"] == DiscreteSpec(4, 2)
        assert fields["observation/label"] == DiscreteSpec(5)
        assert fields["observation/flag"] == DiscreteSpec(2, 1)
        assert episode.observations["big"].tolist() == [2.0**64, 5]  # as float32, not -1
        assert episode.observations["flag"].tolist() == [[True], [False]]

    def test_a_range_of_actions_comes_from_the_first_records(self, folder: Path) -> None:
        features = record(2, **{"steps/action": np.array([0.5, -3, 0.1, 2], np.float32)})
        action = one(folder, features).spec.action
        assert action == ContinuousSpec(2, (-1, -4), (1, 4))

    @pytest.mark.parametrize(
        ("said", "why"),
        [
            ({"audio": {"shape": {}}, "pythonClassName": "tfds.Audio"}, "a feature of the class Audio"),
            (tensor("complex64", 2), "numbers of the dtype complex64"),
            (tensor("int4", 2), "numbers of the dtype int4"),
            (image(4, 4, 1, dtype="float32"), "pictures of float32"),
            (sequence(image(4, 4, 1)), "a list of pictures"),
            (tensor("float32", 2, encoding="lz4"), "the encoding lz4"),
            ({"tensor": {"shape": {}}}, "its description cannot be read"),
            (tensor("float32", 0), "an array without elements"),
        ],
    )
    def test_what_cannot_be_read_is_left_out_and_noted(self, folder: Path, said: Any, why: str) -> None:
        episode = one(folder, record(2), step={"observation": group(odd=said, state=tensor("float32", 3))})
        assert set(episode.observations) == {"state", "instruction"}
        assert any("observation/odd" in note and why in note for note in opened(folder).notes())


class TestFolder:
    def test_the_newest_version_is_read_and_the_others_are_named(self, folder: Path) -> None:
        for version in ("0.9.0", "0.10.0"):
            by_hand(folder.parent / version)
        (folder.parent / "notes.txt").write_text("")
        source = opened(folder.parent)
        assert source.inputs()[0]["uri"] == f"{folder.parent}/0.10.0/dataset_info.json"
        assert source.notes()[0] == f"{folder.parent}/0.10.0 is the newest version; 0.9.0 is left out"

    def test_splits_of_any_name(self, folder: Path) -> None:
        by_hand(folder, {name: [[record(2, i)]] for i, name in enumerate(("train", "valid", "test_unseen"))})
        assert opened(folder).splits() == ("train", "validation", "test_unseen")
        chosen = opened(folder, "splits=test_unseen:dev")
        assert [candidate.split for candidate, _ in read_source(chosen)] == ["dev"]
        with pytest.raises(SourceError, match="no split val; splits: train, valid, test_unseen"):
            opened(folder, "splits=val").splits()

    @pytest.mark.parametrize("form", ["array_record", "riegeli", "parquet"])
    def test_another_file_format_is_refused_by_name(self, folder: Path, form: str) -> None:
        by_hand(folder, fileFormat=form)
        with pytest.raises(SourceError, match=f"{form}.*tfds convert_format"):
            opened(folder).specs()

    def test_files_of_another_name(self, folder: Path) -> None:
        by_hand(folder, {"train": [[record(2)]]})
        info = json.loads((folder / "dataset_info.json").read_text())
        info["splits"][0]["filepathTemplate"] = "{SPLIT}_{SHARD_INDEX}.{FILEFORMAT}"
        (folder / "dataset_info.json").write_text(json.dumps(info))
        (folder / "toy-train.tfrecord-00000-of-00001").rename(folder / "train_00000.tfrecord")
        assert isinstance(results(folder)[0], Episode)

    @pytest.mark.parametrize("template", ["../{SPLIT}", "/etc/{SPLIT}", "{WHAT}-{SPLIT}"])
    def test_a_template_that_leaves_the_folder_is_refused(self, folder: Path, template: str) -> None:
        by_hand(folder, splits={"train": [[record(2)]]})
        info = json.loads((folder / "dataset_info.json").read_text())
        info["splits"][0]["filepathTemplate"] = template
        (folder / "dataset_info.json").write_text(json.dumps(info))
        with pytest.raises(SourceError, match="names no file of this folder"):
            opened(folder).inputs()

    def test_records_are_counted_where_the_info_does_not(self, folder: Path) -> None:
        by_hand(folder)
        info = json.loads((folder / "dataset_info.json").read_text())
        for split in info["splits"]:
            del split["shardLengths"], split["numBytes"]
        (folder / "dataset_info.json").write_text(json.dumps(info))
        assert len(results(folder)) == 4

    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (lambda path: (path / "features.json").unlink(), "is no RLDS dataset"),
            (lambda path: (path / "dataset_info.json").unlink(), "dataset_info.json cannot be read"),
            (lambda path: (path / "features.json").write_text("{"), "features.json"),
            (lambda path: (path / "features.json").write_text('{"type": "x", "content": {}}'), "before version 4.5"),
            (
                lambda path: (path / "features.json").write_text(json.dumps(group(image=TEXT))),
                "a sequence of timesteps",
            ),
            (lambda path: (path / "dataset_info.json").write_text('{"name": "a/b"}'), "its name must be"),
            (lambda path: (path / "dataset_info.json").write_text('{"name": "a", "splits": 3}'), "`splits` must be"),
        ],
    )
    def test_what_is_no_dataset_is_refused(self, folder: Path, spoil: Any, message: str) -> None:
        spoil(by_hand(folder))
        with pytest.raises(SourceError, match=message):
            source = opened(folder)
            source.specs(), source.partitions()

    def test_partitions_are_ranges_of_records(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        by_hand(folder, {"train": [[record(2, i) for i in range(5)], [record(2, 9)]]})
        ids = [candidate.episode_id for candidate, _ in read_source(opened(folder))]
        size = (folder / "toy-train.tfrecord-00000-of-00002").stat().st_size // 5
        monkeypatch.setattr(pieces, "PIECE_BYTES", 2 * size + 500)
        source = opened(folder)
        assert [partition["count"] for partition in source.partitions()] == [2, 2, 2]
        assert [candidate.episode_id for candidate, _ in read_source(source)] == ids
        assert source.partitions()[2]["pieces"][0]["last"] and len(source.partitions()[2]["pieces"]) == 2

    def test_pictures_that_are_resized_make_smaller_partitions(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        by_hand(folder, {"train": [[record(2, i) for i in range(16)]]})
        size = (folder / "toy-train.tfrecord-00000-of-00001").stat().st_size
        monkeypatch.setattr(pieces, "PIECE_BYTES", 2 * size)
        assert len(opened(folder).partitions()) == 1
        assert len(opened(folder, "resize=64x64").partitions()) > 3
