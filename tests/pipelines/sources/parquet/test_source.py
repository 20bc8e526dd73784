"""ParquetSource: episodes, timesteps and samples in the tables that `datasets` writes, beside what pyarrow reads."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from conversions import convert, png, tree
from limited import episodes_of, open_anew, read_source, results_of
from table_files import (
    CONTROL,
    PICTURE,
    atari,
    control,
    save_to_disk,
    timesteps,
    with_camera,
    write_file,
    write_parquet,
    write_stream,
)

from gato_tokenize import DiscreteSpec, Episode, EpisodeSpec, TextSpec
from pipelines.sources.contract import EpisodeSourceContract, SourceContract
from pipelines.sources.errors import SourceError
from pipelines.sources.parquet import rows as reading_rows
from pipelines.sources.parquet.files import find_files
from pipelines.sources.parquet.opening import open_table
from pipelines.sources.reading import Reject

opened = functools.partial(open_anew, "parquet")
results = functools.partial(results_of, "parquet")
episodes = functools.partial(episodes_of, "parquet")
WRITERS = [write_parquet, write_stream, write_file, functools.partial(write_file, compression="zstd")]


class TestContract(EpisodeSourceContract):
    def make(self, folder: Path) -> str:
        return f"parquet:{write_parquet(folder / 'kitchen.parquet', with_camera())}"


class TestContractOfSaved(EpisodeSourceContract):
    def make(self, folder: Path) -> str:
        for split in ("train", "test"):
            save_to_disk(folder / "saved" / split, [with_camera(), with_camera()], split)
        (folder / "saved/dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
        return f"parquet:{folder / 'saved'}"


class TestContractOfTimesteps(EpisodeSourceContract):
    def make(self, folder: Path) -> str:
        for number, first in enumerate((0, 3)):
            write_parquet(folder / f"steps/train-{number:05d}-of-00002.parquet", timesteps(first=first))
        return f"parquet:{folder / 'steps'}?episode=episode_index"


class TestContractOfDocuments(SourceContract):
    def make(self, folder: Path) -> str:
        return f"parquet:{write_parquet(folder / 'wiki.parquet', pa.table({'text': ['one', 'two', 'three']}))}"


class TestRowsAsEpisodes:
    @pytest.mark.parametrize("write", WRITERS)
    @pytest.mark.parametrize("group", [1, 3, 100])
    def test_every_value_is_that_of_pyarrow(self, tmp_path: Path, write: Callable[..., Path], group: int) -> None:
        table = control()
        path = write(tmp_path / "hopper", table, group)
        for number, (one, row) in enumerate(zip(episodes(path), table.to_pylist(), strict=True)):
            assert list(one.fields) == ["observation/continuous", "action"]
            np.testing.assert_array_equal(one.fields["observation/continuous"], row["continuous_observations"])
            np.testing.assert_array_equal(one.fields["action"], row["continuous_actions"])
            np.testing.assert_array_equal(one.rewards, row["rewards"])
            named = one.metadata
            assert (named.episode_id, named.source_index) == (f"{path}#{number}", number)
            assert (named.task, named.domain, named.success) == ("hopper", "parquet", -1)
            assert one.fields["action"].dtype == np.float32 and not one.notes

    @pytest.mark.parametrize("write", WRITERS)
    def test_pictures_keep_their_bytes_and_discrete_actions_are_discrete(
        self, tmp_path: Path, write: Callable[..., Path]
    ) -> None:
        table = atari()
        path = write(tmp_path / "pong.data", table)
        for one, row in zip(episodes(path), table.to_pylist(), strict=True):
            assert one.fields["observation/image"] == [picture["bytes"] for picture in row["image_observations"]]
            assert one.fields["action"].tolist() == row["discrete_actions"]
            assert one.spec.fields["action"] == DiscreteSpec(1024)

    def test_babyai(self, tmp_path: Path) -> None:
        table = pa.table(
            {
                "text_observations": [["go to the red ball"] * 2, ["open the door"]],
                "discrete_observations": [[[2, 0, 5], [1, 0, 8]], [[3, 0, 0]]],
                "discrete_actions": [[0, 2], [6]],
                "rewards": [[0.0, 0.9], [0.5]],
            }
        )
        path = write_parquet(tmp_path / "babyai.parquet", table)
        one, two = episodes(path, "?instruction=observation/text")
        assert one.spec.fields["observation/discrete"] == DiscreteSpec(1024, (3,))
        assert (one.metadata.instruction, two.metadata.instruction) == ("go to the red ball", "open the door")
        assert one.fields["observation/discrete"].tolist() == [[2, 0, 5], [1, 0, 8]] and one.metadata.return_ == 0.9

    @pytest.mark.parametrize(
        "kind",
        [
            pa.large_list(pa.large_list(pa.float32())),
            pa.list_(pa.list_(pa.float32(), 3)),
            pa.list_(pa.list_(pa.float64())),
        ],
    )
    @pytest.mark.parametrize("write", WRITERS)
    def test_every_kind_of_list(self, tmp_path: Path, write: Callable[..., Path], kind: Any) -> None:
        table = control()
        expected = table.column(0).to_pylist()
        table = table.set_column(0, "continuous_observations", pa.array(expected, kind))
        found = episodes(write(tmp_path / "a", table, 3))
        assert [one.fields["observation/continuous"].tolist() for one in found] == expected

    def test_structs_and_lists_of_structs(self, tmp_path: Path) -> None:
        """As `datasets` keeps a Sequence of a dict, and a list of dicts; RLDS's steps are such a list."""
        step = [
            {
                "observation": {"state": [1.0, 2.0], "eye": {"bytes": png(), "path": None}},
                "action": [0.5],
                "reward": 1.0,
            }
        ]
        listed = pa.table({"steps": [step * 2, step * 3], "success": [True, False]})
        found = episodes(write_parquet(tmp_path / "a.parquet", listed))
        assert list(found[0].fields) == ["observation/eye", "observation/state", "action"]
        assert [(one.num_steps, one.metadata.return_, one.metadata.success) for one in found] == [(2, 2, 1), (3, 3, 0)]
        table = pa.table({"observation": [{"state": [[1.0, 2.0]] * 3}] * 2, "actions": [[[0.5]] * 3] * 2})
        (one, _) = episodes(write_stream(tmp_path / "b.arrow", table))
        assert list(one.fields) == ["observation/state", "action"] and one.fields["observation/state"].shape == (3, 2)

    def test_fields_of_any_names_are_chosen(self, tmp_path: Path) -> None:
        steps = [[[1.0, 2.0]] * 4] * 3
        table = pa.table(
            {
                "joints": steps, "gripper": [[True, False] * 2] * 3, "force": steps, "next_observation": steps,
                "timestamp": [[0.1, 0.2, 0.3, 0.4]] * 3, "goal": [[1.0, 2.0, 3.0]] * 3, "id": [1, 2, 3],
                "language_instruction": ["lift", "push", "pull"], "dones": [[False] * 3 + [True]] * 3,
            }
        )  # fmt: skip
        path = write_parquet(tmp_path / "a.parquet", table)
        with pytest.raises(SourceError, match="no field is the action: choose it by action=PATH; fields: observation/"):
            opened(path).specs()
        found = episodes(path, "?action=observation/joints,observation/gripper")
        chosen = ["action/observation/gripper", "action/observation/joints"]
        assert list(found[0].fields) == ["observation/force", "observation/instruction", *chosen]
        assert [one.metadata.instruction for one in found] == ["lift", "push", "pull"]
        assert found[0].metadata.terminated and found[0].num_steps == 4
        notes = "\n".join(opened(path, "?action=observation/joints").notes())
        assert "observation/timestamp is left out: it says when" in notes
        assert "next_observation is left out: it repeats" in notes
        assert "the field id is left out: it has one value an episode, int64" in notes

    def test_a_last_observation_is_left_out_and_other_lengths_are_no_fields(self, tmp_path: Path) -> None:
        table = pa.table(
            {"obs": [[[1.0], [2.0], [3.0]]] * 3, "actions": [[[0.0], [0.5]]] * 3, "goal": [[1.0, 2.0, 3.0, 4.0]] * 3}
        )
        path = write_parquet(tmp_path / "a.parquet", table)
        assert all(one.notes == {"final observation left out": 1} and one.num_steps == 2 for one in episodes(path))
        assert "observation/goal is left out: it has 4 values, where there are 2 actions" in "".join(
            opened(path).notes()
        )

    def test_arrays_of_pixels(self, tmp_path: Path) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
        kind = pa.list_(pa.list_(pa.list_(pa.list_(pa.uint8()))))
        table = pa.table({"eye": pa.array([pixels.tolist()] * 3, kind), "action": [[0.5, 0.1]] * 3})
        (one, *_) = episodes(write_stream(tmp_path / "a.arrow", table))
        np.testing.assert_array_equal(one.fields["observation/eye"], pixels)

    def test_dictionaries_are_texts(self, tmp_path: Path) -> None:
        words = pa.array(["lift", "push", "lift"]).dictionary_encode()
        table = control((2, 2, 2)).append_column("instruction", words)
        for write in (write_parquet, write_stream):
            assert [
                e.metadata.instruction for e in episodes(write(tmp_path / write.__name__, table))
            ] == words.to_pylist()


class TestTimesteps:
    @pytest.mark.parametrize("write", WRITERS)
    @pytest.mark.parametrize("group", [1, 4, 100])
    def test_neighbouring_rows_are_an_episode(self, tmp_path: Path, write: Callable[..., Path], group: int) -> None:
        table = timesteps((3, 1, 6), first=7)
        path = write(tmp_path / "steps", table, group)
        found = episodes(path, "?episode=episode_index&instruction=observation/goal")
        assert [one.metadata.episode_id for one in found] == [f"{path}#{number}" for number in (7, 8, 9)]
        assert [one.rewards.tolist() for one in found] == [[0, 1, 2], [3], [4, 5, 6, 7, 8, 9]]
        states = np.concatenate([one.fields["observation/state"] for one in found])
        np.testing.assert_array_equal(states, table.column("observation.state").to_pylist())
        assert all(one.metadata.instruction == "reach" for one in found)

    def test_an_episode_goes_on_in_the_next_shard(self, tmp_path: Path) -> None:
        table = timesteps((3, 5, 4))
        for number, (start, stop) in enumerate(((0, 5), (5, 6), (6, 12))):
            write_parquet(tmp_path / f"train-{number:05d}-of-00003.parquet", table.slice(start, stop - start))
        found = episodes(tmp_path, "?episode=episode_index")
        assert [one.rewards.tolist() for one in found] == [[0, 1, 2], [3, 4, 5, 6, 7], [8, 9, 10, 11]]
        assert found[1].metadata.episode_id == f"{tmp_path}/train-00000-of-00003.parquet#1"
        source = opened(tmp_path, "?episode=episode_index")
        source.shard_bytes = 1  # an episode is never divided between partitions
        assert [one.num_steps for _, one in read_source(source)] == [3, 5, 4]

    def test_files_that_are_no_shards_begin_anew(self, tmp_path: Path) -> None:
        for number in range(3):
            write_parquet(tmp_path / f"episode_{number}.parquet", timesteps((4,)))
        assert [one.num_steps for one in episodes(tmp_path, "?episode=episode_index")] == [4, 4, 4]

    def test_rows_apart_without_a_number_or_out_of_order(self, tmp_path: Path) -> None:
        table = timesteps((2, 3, 2, 2, 1))
        numbers = pa.array([0, 0, 1, 1, 1, None, None, 1, 1, 4])
        table = table.set_column(4, "episode_index", numbers)
        path = write_parquet(tmp_path / "a.parquet", table)
        found = results(path, "?episode=episode_index")
        assert [type(one) for one in found] == [Episode, Reject, Reject, Reject, Episode]
        assert "episode 1 are not next to each other: sort the table" in found[1].message
        assert "2 rows from row 5 are of no episode: episode_index is null" in found[2].message
        assert len({one.episode_id for one in found[1:4]}) == 3
        table = timesteps((3, 3)).set_column(3, "frame_index", pa.array([0, 1, 2, 0, 2, 1]))
        good, bad = results(write_parquet(path, table), "?episode=episode_index")
        assert isinstance(good, Episode) and "frame_index does not ascend" in bad.message

    def test_a_column_that_is_not_there(self, tmp_path: Path) -> None:
        path = write_parquet(tmp_path / "a.parquet", timesteps())
        with pytest.raises(SourceError, match="has no column trial; columns: observation.state, action"):
            opened(path, "?episode=trial").specs()
        with pytest.raises(SourceError, match="observation.state is .*, and numbers no episodes"):
            opened(path, "?episode=observation.state").partitions()


class TestSamples:
    def test_documents(self, tmp_path: Path) -> None:
        table = pa.table({"id": [1, 2, 3, 4], "text": ["one", None, " ", "grüße"], "title": ["a", "b", "c", "d"]})
        found = results(write_parquet(tmp_path / "wiki.parquet", table))
        assert [type(one) for one in found] == [Episode, Reject, Reject, Episode]
        assert "text: holds no value" in found[1].message and "text: the text is empty" in found[2].message
        assert found[3].fields["observation/text"] == ["grüße"] and found[3].spec == EpisodeSpec.document()
        assert found[3].metadata.domain == "text"
        assert episodes(tmp_path / "wiki.parquet", "?column=title")[1].fields["observation/text"] == ["b"]

    def test_pictures_with_captions(self, tmp_path: Path) -> None:
        """As JAT keeps Conceptual Captions, and others lists of one picture."""
        pictures = [{"bytes": png(i), "path": None} for i in range(3)]
        texts = ["a", "b", "c"]
        single = pa.table({"images": pa.array(pictures, PICTURE), "text": texts})
        several = pa.table({"images": pa.array([[one] for one in pictures], pa.list_(PICTURE)), "text": texts})
        for table in (single, several):
            found = episodes(write_stream(tmp_path / "captions.arrow", table), "?resize=32x32")
            assert [one.fields["observation/image"] for one in found] == [[picture["bytes"]] for picture in pictures]
            assert [one.fields["observation/caption"] for one in found] == [["a"], ["b"], ["c"]]
            assert found[0].spec.fields["observation/image"].resize == (32, 32)
        pair = pa.table({"images": pa.array([pictures[:2]], pa.list_(PICTURE)), "text": ["a"]})
        (reject,) = results(write_stream(tmp_path / "captions.arrow", pair))
        assert "images: expected one value, got 2" in reject.message

    def test_questions(self, tmp_path: Path) -> None:
        pictures = pa.array([{"bytes": png(i), "path": None} for i in range(3)], PICTURE)
        table = pa.table({"image": pictures, "question": ["q"] * 3, "answer": ["a"] * 3, "question_id": [1, 2, 3]})
        path = write_parquet(tmp_path / "vqa.parquet", table)
        one, *_ = episodes(path)
        assert list(one.fields) == ["observation/image", "observation/question", "observation/answer"]
        assert one.spec.fields["observation/question"] == TextSpec(predict=False)
        assert any("question_id is left out" in note for note in opened(path).notes())

    @pytest.mark.parametrize(
        ("option", "expected"),
        [
            ("max_steps=3", "max_steps=3 has no effect: the rows are documents"),
            ("fields=text", "fields=text has no effect"),
            ("resize=32x32", "for rows with pictures"),
            ("column=id", "column=id: no column of texts; those are text"),
        ],
    )
    def test_options_without_effect_are_refused(self, tmp_path: Path, option: str, expected: str) -> None:
        path = write_parquet(tmp_path / "wiki.parquet", pa.table({"id": [1, 2], "text": ["one", "two"]}))
        with pytest.raises(SourceError, match=expected):
            opened(path, f"?{option}").specs()


class TestFiles:
    def test_splits_are_those_of_the_names(self, tmp_path: Path) -> None:
        for name in ("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001-0123456789abcdef", "valid/a"):
            write_parquet(tmp_path / f"jat/data/{name}.parquet", control((2,)))
        source = opened(tmp_path / "jat")
        found = {
            candidate.episode_id.removeprefix(f"{tmp_path}/"): candidate.split for candidate, _ in read_source(source)
        }
        assert set(found.values()) == {"train", "test", "validation"} == set(source.splits())
        assert found["jat/data/test-00000-of-00001-0123456789abcdef.parquet#0"] == "test"
        assert list(source.specs()) == ["jat"]
        assert len(read_source(opened(tmp_path / "jat", "?splits=test:held_out"))) == 1

    def test_names_without_a_split(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            write_parquet(tmp_path / f"{name}.parquet", control((2,)))
        assert opened(tmp_path).splits() == ()
        assert {candidate.split for candidate, _ in read_source(opened(tmp_path))} == {""}

    def test_a_folder_that_datasets_saved(self, tmp_path: Path) -> None:
        """Its own list says which files belong to it, and which are missing."""
        folder = save_to_disk(tmp_path / "saved", [control((2,)), control((3,)), control((4,))])
        write_stream(folder / "cache-0123.arrow", control((5,)))
        assert [one.num_steps for one in episodes(folder)] == [2, 3, 4]
        (folder / "data-00001-of-00003.arrow").unlink()
        found = results(folder)
        assert [type(one) for one in found] == [Episode, Reject, Episode]
        assert "data-00001-of-00003.arrow is missing, and state.json lists it" in found[1].message
        (folder / "state.json").write_text('{"_data_files": [{"filename": "../other.arrow"}]}')
        with pytest.raises(SourceError, match="must name files of its folder"):
            opened(folder).specs()
        (folder / "state.json").write_text("{")
        with pytest.raises(SourceError, match=r"state\.json cannot be read"):
            opened(folder).specs()

    def test_what_is_left_out_or_missing_is_noted(self, tmp_path: Path) -> None:
        write_stream(tmp_path / "cache-0123.arrow", control())
        write_parquet(tmp_path / "train-00002-of-00004.parquet", control())
        notes = "\n".join(opened(tmp_path).notes())
        assert "cache-0123.arrow is of the cache of `datasets`, and is left out" in notes
        assert "of 4 files, these are missing, and no episode of theirs is read: 0, 1, 3" in notes

    @pytest.mark.parametrize(
        ("path", "expected"),
        [
            ("jat/atari-pong/train-00000-of-00001.parquet", "atari-pong"),
            ("pusht/data/train.parquet", "pusht"),
            ("kitchen.parquet", "kitchen"),
            ("train.parquet", "parquet"),
        ],
    )
    def test_a_task_is_called_after_what_says_something(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, expected: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        write_parquet(Path(path), control())
        assert find_files(path).name == expected

    def test_nothing_is_there(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("1")
        with pytest.raises(SourceError, match=r"no file below .* ends in \.parquet, \.arrow, \.feather"):
            opened(tmp_path).specs()
        with pytest.raises(SourceError, match="neither a Parquet nor an Arrow file: it begins with b'1'"):
            opened(tmp_path / "a.csv").specs()


class TestMemory:
    @pytest.mark.parametrize("equal", [False, True])
    @pytest.mark.parametrize("write", [write_parquet, write_stream])
    def test_a_row_group_is_never_in_memory_as_a_whole(
        self, tmp_path: Path, write: Callable[..., Path], equal: bool
    ) -> None:
        """64 rows of 1 MB in one group, after an empty one: lists of more than 2^31 elements are never joined either.

        Equal pictures are in a Parquet file once, so that its own sizes say nothing.
        """
        generator = np.random.default_rng(0)
        same = generator.bytes(2**18)
        datas = [[same if equal else generator.bytes(2**18) for _ in range(4 if row else 0)] for row in range(64)]
        pictures = [[{"bytes": data, "path": None} for data in row] for row in datas]
        table = pa.table({"eye": pa.array(pictures, pa.list_(PICTURE)), "action": [[0.5] * 4] * 64})
        path = write(tmp_path / "a", table, 64, **({"write_batch_size": 4} if write is write_parquet else {}))
        del table, pictures, datas
        before, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.system_memory_pool())
        pa.set_memory_pool(pool)
        try:
            rows = reading_rows.TableRows(str(path), None, ["eye", "action"])
            assert sum(rows.read(row, row + 1).num_rows for row in range(64)) == 64
            rows.close()
        finally:
            pa.set_memory_pool(before)
        assert pool.max_memory() < 32 * 2**20

    def test_a_group_is_unpacked_once_for_neighbouring_rows(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reading_rows, "BATCH_BYTES", 1)
        path = write_parquet(tmp_path / "a.parquet", control([2] * 12), 5)
        kind, begun = type(open_table(str(path))), []
        batches = kind.batches

        def counted(self: Any, group: int, columns: Any, rows: int) -> Any:
            begun.append((group, rows))
            return batches(self, group, columns, rows)

        monkeypatch.setattr(kind, "batches", counted)
        rows = reading_rows.TableRows(str(path), None, CONTROL.names)
        for row in range(12):
            assert rows.read(row, row + 1).num_rows == 1
        assert begun == [(0, 1), (0, 1), (1, 1), (2, 1)]  # the first time to see how large a row is

    def test_an_episode_can_be_loaded_after_the_others(self, tmp_path: Path) -> None:
        source = opened(write_parquet(tmp_path / "a.parquet", control()))
        candidates = [one for part in source.partitions() for one in source.candidates(part)]
        assert [one.load().num_steps for one in reversed(candidates)] == [2, 6, 1, 3]


@pytest.mark.parametrize("option", ["", "?episode=episode_index"])
def test_one_worker_and_two_make_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    monkeypatch.chdir(tmp_path)
    if option:
        for number in range(2):
            table = timesteps([25_000] * 6, first=6 * number)
            write_parquet(Path(f"set/train-{number:05d}-of-00002.parquet"), table, 10_000)
    else:
        write_parquet(Path("set/train.parquet"), control([2500] * 200), 20)
    for workers in ("1", "2"):
        assert convert(f"parquet:set{option}", "--workers", workers, out=f"out{workers}/toy/1.0.0") == 0
    assert tree("out1") == tree("out2")
    assert len(list(Path("out1").rglob("*.tfrecord*"))) > 1
