"""Records: one by hand, the round trip, TensorFlow as the oracle, damage, segments."""

import dataclasses
import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from toy_episodes import nested_episode, nested_spec

from gato_tokenize import (
    ContinuousSpec,
    DiscreteSpec,
    Episode,
    EpisodeMetadata,
    EpisodeSpec,
    EpisodeTokenizer,
    ImageSpec,
    TokenSequence,
)
from gato_tokenize.storage.example import decode_example, encode_example
from gato_tokenize.storage.records import Record
from gato_tokenize.storage.schema import FIELDS
from gato_tokenize.storage.segments import content_hash, segments
from gato_tokenize.storage.shards import read_record, read_records, write_records
from gato_tokenize.storage.tfrecord import CorruptRecordError, Damage, index_path, read_frames, read_index, shard_writer


def small_record(steps: int = 3) -> Record:
    spec = EpisodeSpec({"v": ContinuousSpec(2)}, DiscreteSpec(4))
    episode = Episode(spec, {"v": [[0.0, 1.0]] * steps}, [3] * steps)
    return Record(EpisodeTokenizer(spec).encode(episode), EpisodeMetadata("id-1", task="toy", return_=1.5, success=1))


def nested_record(steps: int, seed: int) -> Record:
    return Record(EpisodeTokenizer(nested_spec()).encode(nested_episode(steps, seed)), EpisodeMetadata(f"n-{seed}"))


def test_a_record_by_hand() -> None:
    values = decode_example(small_record(1).to_bytes())
    assert values["tokens"].tolist() == [32512, 32744, 33024, 3]  # type: ignore[union-attr]
    assert zlib.decompress(values["token_kind"][0]) == bytes([2, 2, 4, 6])
    assert zlib.decompress(values["loss_mask"][0]) == bytes([0, 0, 0, 1])
    assert values["episode_metadata/episode_id"] == [b"id-1"]
    assert values["episode_metadata/return"].tolist() == [1.5]  # type: ignore[union-attr]
    assert sorted(values) == [
        *("episode_metadata/domain", "episode_metadata/episode_id", "episode_metadata/num_segments"),
        *("episode_metadata/num_steps", "episode_metadata/return", "episode_metadata/segment_index"),
        *("episode_metadata/source_index", "episode_metadata/source_uri", "episode_metadata/step_offset"),
        *("episode_metadata/success", "episode_metadata/task"),
        *("loss_mask", "token_kind", "tokens"),
    ]


def test_the_table_is_what_is_written_and_no_key_begins_another() -> None:
    keys = [field.key for field in FIELDS]
    whole = EpisodeMetadata("id", "d", "t", "a", "i", "u", 1, 2.5, 1, True, True, "n", 9, 1, 2, 3, "h")
    every = Record(nested_record(2, 0).sequence, whole, np.zeros(2, np.float32))
    photograph = Record(caption(picture("PNG")), whole)
    written = {"schema_version", *decode_example(every.to_bytes()), *decode_example(photograph.to_bytes())}
    assert sorted(written) == sorted(keys)
    assert not [(a, b) for a in keys for b in keys if a != b and b.startswith(a)]


def test_the_documentation_has_the_table() -> None:
    text = (Path(__file__).parents[3] / "docs/records.md").read_text()
    rows = [f"| `{f.key}` | {f.dtype}[{'1' if f.scalar else 'n'}] | {f.content} | {f.absent} |" for f in FIELDS]
    assert "\n".join(rows) in text


def test_a_document_by_hand() -> None:
    """Of a document whose id names its line, only tokens and id are left."""
    named = EpisodeMetadata("a.jsonl#7", "text", "text", source_uri="a.jsonl", source_index=7)
    (record,) = segments(Record(TokenSequence.document(np.array([300, 2], np.int32)), named))
    values = {key: list(value) for key, value in decode_example(record.to_bytes()).items()}
    assert values == {
        "tokens": [300, 2],
        "episode_metadata/episode_id": [b"a.jsonl#7"],
    }
    assert len(record.to_bytes()) == 67
    back = Record.from_bytes(record.to_bytes(), dataset="toy")
    assert back.sequence == record.sequence and back.sequence.loss_mask.tolist() == [1, 1]
    assert repr(back.metadata) == repr(dataclasses.replace(record.metadata, dataset="toy"))
    assert (back.metadata.source_uri, back.metadata.source_index, back.metadata.num_steps) == ("a.jsonl", 7, 1)


TEXTS = st.sampled_from(["", "text", "a", "b", "a#1", f"a#{'9' * 5000}", "a#1\n", "a#01", "#1", "a#", "é"])
METADATA = st.builds(
    EpisodeMetadata,
    **dict.fromkeys(("episode_id", "domain", "task", "agent_id", "source_uri", "dataset", "content_hash"), TEXTS),
    **dict.fromkeys(("source_index", "num_steps", "segment_index", "num_segments", "step_offset"), st.integers(0, 2)),
    return_=st.sampled_from([float("nan"), 0.0, -0.0, 1.5]),
    success=st.integers(-1, 1),
    terminated=st.booleans(),
    truncated=st.booleans(),
)


@settings(max_examples=300, deadline=None)
@given(metadata=METADATA, steps=st.integers(1, 2), rewards=st.booleans())
def test_what_is_left_out_comes_back(metadata: EpisodeMetadata, steps: int, rewards: bool) -> None:
    record = dataclasses.replace(small_record(steps), metadata=metadata)
    if rewards:
        record = dataclasses.replace(record, rewards=np.arange(steps, dtype=np.float32))
    back = Record.from_bytes(record.to_bytes(), metadata.dataset)
    assert repr(back) == repr(record)


def test_rewards_are_one_for_each_timestep_and_are_cut_and_joined_with_them() -> None:
    record = dataclasses.replace(small_record(5), rewards=np.array([1, 2, 3, 4, 5], np.float32))
    parts = [Record.from_bytes(part.to_bytes()) for part in segments(record, max_tokens=8)]
    assert [part.rewards.tolist() for part in parts if part.rewards is not None] == [[1, 2], [3, 4], [5]]
    whole = Record.join(parts)
    assert whole.rewards is not None and whole.rewards.tolist() == [1, 2, 3, 4, 5]
    assert whole.sequence == record.sequence and whole != dataclasses.replace(whole, rewards=None)
    with pytest.raises(ValueError, match="2 rewards for 5 timesteps"):
        dataclasses.replace(record, rewards=np.zeros(2, np.float32))
    values = dict(decode_example(record.to_bytes())) | {"rewards": np.zeros(4, np.float32)}
    with pytest.raises(ValueError, match="4 rewards for 5 timesteps"):
        Record.from_bytes(encode_example(values))


@pytest.mark.parametrize("key", ["loss_mask", "image_grid", "episode_metadata/success"])
def test_a_record_of_schema_1_has_every_feature(key: str) -> None:
    shard = next((Path(__file__).parents[2] / "data/golden/schema_1/1.0.0").glob("*00003-of*"))
    data = next(data for _, data in read_frames(shard))
    values = {name: value for name, value in decode_example(data).items() if name != key}
    with pytest.raises(ValueError, match=f"no feature {key!r}"):
        Record.from_bytes(encode_example(values))


@settings(max_examples=25, deadline=None)
@given(steps=st.integers(1, 5), seed=st.integers(0, 10**6))
def test_round_trip_and_tensorflow_s_bytes(steps: int, seed: int) -> None:
    tf = pytest.importorskip("tensorflow")
    record = nested_record(steps, seed)
    data = record.to_bytes()
    assert tf.train.Example.FromString(data).SerializeToString(deterministic=True) == data
    back = Record.from_bytes(data)
    assert back.sequence == record.sequence
    unknown, known = record.metadata.return_, back.metadata.return_
    assert np.isnan(unknown) and np.isnan(known)
    assert dataclasses.replace(back.metadata, return_=0.0) == dataclasses.replace(record.metadata, return_=0.0)


def picture(kind: str, size: tuple[int, int] = (32, 48)) -> bytes:
    out = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def caption(data: bytes) -> TokenSequence:
    spec = EpisodeSpec.caption()
    return EpisodeTokenizer(spec).encode(Episode(spec, {"image": [data], "caption": ["noise"]}))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_photograph_keeps_its_own_bytes(kind: str) -> None:
    data = picture(kind)
    sequence = caption(data)
    assert sequence.encoded == (data,)
    record = Record.from_bytes(Record(sequence).to_bytes())
    assert record.sequence == sequence
    assert "image_patches" not in decode_example(Record(sequence).to_bytes())


def test_a_photograph_that_is_resized_is_stored_as_patches() -> None:
    spec = EpisodeSpec.caption(ImageSpec(resize=(64, 64)))
    sequence = EpisodeTokenizer(spec).encode(Episode(spec, {"image": [picture("JPEG")], "caption": ["noise"]}))
    assert sequence.encoded == () and sequence.grids.tolist() == [[4, 4]]
    assert Record.from_bytes(Record(sequence).to_bytes()).sequence == sequence


@settings(max_examples=40, deadline=None)
@given(steps=st.integers(1, 12), tokens=st.integers(1, 200), size=st.integers(1, 20_000))
def test_segments_cut_at_timesteps_and_join_again(steps: int, tokens: int, size: int) -> None:
    record = nested_record(steps, 5)
    parts = list(segments(record, tokens, size))
    assert type(record.sequence).join([part.sequence for part in parts]) == record.sequence
    assert [part.metadata.segment_index for part in parts] == list(range(len(parts)))
    assert {part.metadata.num_segments for part in parts} == {len(parts)}
    assert {part.metadata.num_steps for part in parts} == {steps}
    offsets = np.cumsum([0, *(part.sequence.num_steps for part in parts)])
    assert [part.metadata.step_offset for part in parts] == offsets[:-1].tolist()
    digest = content_hash(record.sequence) if len(parts) > 1 else ""  # one record is enough to compute it
    assert {part.metadata.content_hash for part in parts} == {digest}
    for part in parts:  # one timestep less does not reach the limit
        shorter = part.sequence.steps(0, part.sequence.num_steps - 1)
        assert len(shorter) < tokens and shorter.ids.nbytes + shorter.patches.nbytes < size


def test_files_and_random_access(tmp_path: Path) -> None:
    records = [nested_record(2, seed) for seed in range(5)]
    path = tmp_path / "toy-train.tfrecord-00000-of-00001"
    assert write_records(path, records) == 5
    assert [r.sequence for r in read_records(path)] == [r.sequence for r in records]
    assert read_record(path, 3).sequence == records[3].sequence
    with pytest.raises(IndexError, match="has 5 records"):
        read_record(path, 5)


def test_damage_raises_by_default_and_costs_one_record_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "shard"
    write_records(path, [nested_record(2, seed) for seed in range(3)])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptRecordError, match="record 1 at byte"):
        list(read_records(path))
    lost: list[Damage] = []
    kept = [record.metadata.episode_id for record in read_records(path, "skip", lost)]
    assert kept == ["n-0", "n-2"] and [damage.record for damage in lost] == [1]
    with pytest.raises(ValueError, match="needs a list"):
        list(read_records(path, "skip"))


def test_lost_records_are_numbered_as_they_stand_in_the_shard(tmp_path: Path) -> None:
    path = tmp_path / "shard"
    with shard_writer(path) as shard:
        for number in range(6):
            shard.write(b"no record" if number in (1, 4) else nested_record(1, number).to_bytes())
    data = bytearray(path.read_bytes())
    data[read_index(index_path(path))[2][0] + 20] ^= 1
    path.write_bytes(data)
    lost: list[Damage] = []
    kept = [record.metadata.episode_id for record in read_records(path, "skip", lost)]
    assert kept == ["n-0", "n-3", "n-5"] and sorted(damage.record for damage in lost) == [1, 2, 4]
    for number, reason in ((1, "record 1 at byte"), (2, "checksum of its data")):
        with pytest.raises(CorruptRecordError, match=reason) as caught:
            read_record(path, number)
        assert caught.value.damage.record == number


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": None}, "no feature 'tokens'"),
        ({"tokens": np.array([-1, 1, 1, 1])}, r"ids outside the vocabulary \[0, 2147483648\)"),
        ({"token_kind": [b"not zlib"]}, "no zlib data"),
        ({"token_kind": [zlib.compress(bytes([9] * 4))]}, "holds 9"),
        ({"loss_mask": [zlib.compress(bytes([2] * 4))]}, "holds 2"),
        ({"token_kind": [zlib.compress(bytes(10**6))]}, "does not inflate to 4 bytes"),
        ({"token_kind": [zlib.compress(bytes(3))]}, "does not inflate to 4 bytes"),
        ({"step_splits": np.array([0, 9])}, "ends at 9, there are 4 tokens"),
        ({"step_splits": np.array([0, 3, 1, 4])}, "step_splits must rise"),
        ({"image_grid": np.array([1])}, "pairs of rows and columns"),
        ({"schema_version": np.array([3])}, "this release reads 1 and 2"),
        ({"episode_metadata/success": np.array([7])}, "success is 1, 0 or -1"),
        ({"episode_metadata/task": [b"\xff"]}, "utf-8"),
        ({"tokens": [b"text"]}, "is not a list of int64"),
    ],
)
def test_what_is_no_record_is_refused(change: dict[str, object], message: str) -> None:
    values: dict[str, object] = dict(decode_example(small_record(1).to_bytes()))
    values |= change
    data = encode_example({key: value for key, value in values.items() if value is not None})  # type: ignore[misc]
    with pytest.raises(ValueError, match=message):
        Record.from_bytes(data)


def test_a_padded_sequence_is_no_record() -> None:
    record = small_record()
    with pytest.raises(ValueError, match="padded"):
        Record(record.sequence.pad(100)).to_bytes()
