"""Damaged RLDS files: each record that is lost is one reject, and each that is whole is an episode."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conversions import convert
from limited import read_source
from rlds_files import SIDES, by_hand, group, packed, picture, record, tensor

from gato_tokenize import Dataset, Episode
from gato_tokenize.storage.tfrecord import frame, read_frame_at, record_offsets
from pipelines.__main__ import main
from pipelines.sources import open_source
from pipelines.sources.errors import Filtered, SourceError
from pipelines.sources.reading import Reject


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "toy" / "1.0.0"


def results(folder: Path, options: str = "") -> list[Any]:
    open_source.cache_clear()
    return [result for _, result in read_source(open_source(f"rlds:{folder}{options}"))]


def rejects(found: list[Any]) -> list[int]:
    assert all(isinstance(result, Episode | Reject) for result in found), found
    return [number for number, result in enumerate(found) if isinstance(result, Reject)]


class TestShards:
    def test_a_cut_at_any_byte_costs_the_records_after_it(self, folder: Path) -> None:
        by_hand(folder, {"train": [[record(2, i) for i in range(4)]]})
        path = folder / "toy-train.tfrecord-00000-of-00001"
        whole = path.read_bytes()
        starts = [*record_offsets(path), len(whole)]
        for size in sorted({*starts[1:], *(start + 5 for start in starts[:-1]), *range(1, len(whole), 997)}):
            path.write_bytes(whole[:size])
            kept = sum(start <= size for start in starts[1:])
            found = results(folder)
            assert rejects(found) == list(range(kept, 4)), size
            for number in range(kept, 4):
                assert found[number].source_index == number
            if kept < 4 and size != starts[kept]:
                assert found[kept].exception == "CorruptRecordError"

    @pytest.mark.parametrize("place", ["length", "crc of the length", "data", "crc of the data"])
    def test_a_flipped_byte_costs_its_record_or_the_rest(self, folder: Path, place: str) -> None:
        by_hand(folder, {"train": [[record(2, i) for i in range(4)], [record(2, 5)]]})
        path = folder / "toy-train.tfrecord-00000-of-00002"
        data, (_, second, third, _) = bytearray(path.read_bytes()), list(record_offsets(path))
        at = {"length": second, "crc of the length": second + 9, "data": second + 50, "crc of the data": third - 2}
        data[at[place]] ^= 1
        path.write_bytes(data)
        lost = [1, 2, 3] if "length" in place else [1]
        found = results(folder)
        assert rejects(found) == lost and len(found) == 5
        assert "checksum" in found[1].message and found[1].source_uri == str(path)

    def test_a_missing_shard_costs_its_records(self, folder: Path) -> None:
        by_hand(folder, {"train": [[record(2, 0)], [record(2, 1), record(2, 2)], [record(2, 3)]]})
        (folder / "toy-train.tfrecord-00001-of-00003").unlink()
        found = results(folder)
        assert rejects(found) == [1, 2] and "toy-train.tfrecord-00001-of-00003" in found[2].message

    def test_an_empty_shard_costs_its_records(self, folder: Path) -> None:
        by_hand(folder, {"train": [[record(2, 0)], [record(2, 1)]]})
        (folder / "toy-train.tfrecord-00000-of-00002").write_bytes(b"")
        found = results(folder)
        assert rejects(found) == [0] and "ends after 0 records" in found[0].message

    def test_more_records_than_are_counted_are_reported_after_all_others(self, folder: Path) -> None:
        by_hand(folder, {"train": [[record(2, 0), record(2, 1)], [record(2, 2)]]})
        info = json.loads((folder / "dataset_info.json").read_text())
        info["splits"][0]["shardLengths"][0] = "1"
        (folder / "dataset_info.json").write_text(json.dumps(info))
        found = results(folder)
        assert rejects(found) == [2] and found[2].ends_partition and "goes on after record 0" in found[2].message

    def test_a_file_that_changed_after_it_was_planned_is_refused(self, folder: Path) -> None:
        source = open_source(f"rlds:{by_hand(folder, {'train': [[record(2, 0)]]})}")
        (partition,) = source.partitions()
        path = folder / "toy-train.tfrecord-00000-of-00001"
        path.write_bytes(path.read_bytes() * 2)
        (candidate,) = source.candidates(partition)
        with pytest.raises(ValueError, match="has changed since it was planned"):
            candidate.load()

    def test_a_dataset_without_episodes(self, folder: Path, tmp_path: Path) -> None:
        by_hand(folder, {"train": [[]]})
        assert results(folder, "?roles=action:continuous") == []
        assert convert(f"rlds:{folder}", out=str(tmp_path / "out/toy/1.0.0")) == 2

    def test_a_split_without_any_file(self, folder: Path) -> None:
        by_hand(folder, {"train": [[record(2, 0)]]})
        (folder / "toy-train.tfrecord-00000-of-00001").unlink()
        assert rejects(results(folder)) == [0]


class TestRecords:
    STEP = {"observation": group(cloud=tensor("float32", 2, encoding="zlib"), state=tensor("float32", 3),
                                 any=tensor("float32", -1, -1, encoding="bytes"))}  # fmt: skip

    def good(self, seed: int = 0) -> dict[str, Any]:
        return record(2, seed, **{
            "steps/observation/cloud": [packed(np.ones(2, np.float32))] * 2,
            "steps/observation/any/value": [packed(np.ones(6, np.float32), False)] * 2,
            "steps/observation/any/shape": np.array([2, 3, 2, 3]),
        })  # fmt: skip

    @pytest.mark.parametrize(
        ("features", "message"),
        [
            ({"steps/observation/state": np.ones(5, np.float32)}, "steps/observation/state: 5 numbers do not make 2"),
            ({"steps/observation/state": None}, "steps/observation/state: missing"),
            ({"steps/observation/state": [b"a", b"b"]}, "expected numbers, got byte strings"),
            ({"steps/observation/state": np.full(6, np.nan, np.float32)}, "observation/state: nan"),
            ({"steps/action": np.array([1, np.inf, 1, 1], np.float32)}, "action: inf"),
            ({"steps/reward": np.array([np.nan, 1], np.float32)}, "rewards: nan is not finite"),
            ({"steps/language_instruction": [b"\xff", b""]}, "not UTF-8"),
            ({"steps/language_instruction": [b"a"]}, "expected 2 byte strings, one a timestep, got 1"),
            ({"steps/observation/cloud": [b"xyz", b"xyz"]}, "cannot be decompressed"),
            ({"steps/observation/cloud": [packed(np.ones(2**20))] * 2}, "has not 8 bytes a timestep"),
            ({"steps/observation/cloud": [packed(np.ones(2, np.float32))[:-3]] * 2}, "cut short"),
            ({"steps/observation/any/shape": np.array([2, 3, 3, 2])}, "its shape varies between timesteps"),
            ({"steps/observation/any/shape": np.array([2**40, 2**40] * 2)}, "more than an episode may have"),
            ({"steps/observation/any/value": [b"abc", b"def"]}, "no whole number of float32"),
            ({"steps/is_first": np.array([1, 0, 0])}, "steps/is_first: 3 numbers do not make 2"),
        ],
    )
    def test_a_record_that_does_not_fit_is_one_reject(
        self, folder: Path, features: dict[str, Any], message: str
    ) -> None:
        bad = {key: value for key, value in {**self.good(), **features}.items() if value is not None}
        shards = [[self.good(1), bad, self.good(2)]]
        found = results(by_hand(folder, {"train": shards}, step=self.STEP), "?last_step=keep")
        assert rejects(found) == [1] and message in found[1].message

    def test_bytes_that_are_no_record(self, folder: Path) -> None:
        by_hand(folder, {"train": [[record(2, 0), record(2, 1)]]})
        path = folder / "toy-train.tfrecord-00000-of-00001"
        path.write_bytes(frame(b"\xff\xff\xff") + frame(read_frame_at(path, 0)))
        found = results(folder)
        assert rejects(found) == [0]

    def test_a_broken_picture_is_a_reject_of_the_conversion(self, folder: Path, tmp_path: Path) -> None:
        bad = record(3, 1, **{"steps/observation/eye": [b"", b"\xff\xd8\xff", b""]})
        by_hand(folder, {"train": [[record(3, 0), bad, record(3, 2)]], "val": [[record(2, 5)]]})
        out = tmp_path / "out/toy/1.0.0"
        assert convert(f"rlds:{folder}", out=str(out)) == 3
        assert convert(f"rlds:{folder}", "--max-rejects", "1", out=str(out)) == 0
        dataset = Dataset.open(out)
        assert dataset.splits == ["train", "validation"]
        assert [len(list(dataset.records(split))) for split in dataset.splits] == [2, 1]
        (line,) = (out / "rejects/part-00000.jsonl").read_text().splitlines()
        assert json.loads(line)["stage"] == "tokenize" and "observation/eye" in json.loads(line)["message"]


def test_cameras_that_were_absent_are_counted(folder: Path, tmp_path: Path) -> None:
    black = [picture(np.zeros(SIDES, np.uint8))] * 3
    by_hand(folder, {"train": [[record(3, 0), record(3, 1, **{"steps/observation/eye": black})]]})
    out = tmp_path / "out/toy/1.0.0"
    assert convert(f"rlds:{folder}", out=str(out)) == 0
    assert Dataset.open(out).stats["train"]["toy"]["lints"]["black images"] == 2


def test_a_validation_fraction_replaces_the_splits(folder: Path, tmp_path: Path) -> None:
    by_hand(folder, {"train": [[record(2, i) for i in range(8)]], "val": [[record(2, i) for i in range(8)]]})
    out = tmp_path / "out/toy/1.0.0"
    assert convert(f"rlds:{folder}", "--validation-fraction", "0.5", out=str(out)) == 0
    ids = [record.metadata.episode_id for record in Dataset.open(out).records("train")]
    assert any("val-" in name for name in ids) and any("train-" in name for name in ids)


def test_a_missing_shard_is_read_again_once_it_is_there(folder: Path, tmp_path: Path) -> None:
    by_hand(folder, {"train": [[record(2, 0)], [record(2, 1), record(2, 2)], [record(2, 3)]]})
    path = folder / "toy-train.tfrecord-00001-of-00003"
    content = path.read_bytes()
    path.unlink()
    out = tmp_path / "out/toy/1.0.0"
    assert convert(f"rlds:{folder}", "--max-rejects", "2", out=str(out)) == 0
    path.write_bytes(content)
    assert main(["rejects", "retry", str(out), "--out", str(out.parent / "1.0.1")]) == 0
    assert len(Dataset.open(out.parent / "1.0.1")) == 4


def test_filtered_records_are_counted_by_their_reason(folder: Path) -> None:
    found = results(by_hand(folder, {"train": [[record(2, 0), record(1, 1)]]}))
    assert isinstance(found[1], Filtered)


def test_a_dataset_in_which_no_field_counts_the_steps_is_refused(folder: Path) -> None:
    step: dict[str, Any] = dict.fromkeys(("reward", "is_first", "is_last", "is_terminal", "language_instruction"))
    step |= {"observation": group(any=tensor("float32", -1)), "action": tensor("float32", 2, encoding="bytes")}
    by_hand(folder, {"train": [[record(2)]]}, step=step)
    with pytest.raises(SourceError, match="their number is unknown"):
        open_source(f"rlds:{folder}").specs()
