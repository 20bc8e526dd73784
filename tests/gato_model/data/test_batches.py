"""Batches against a slow, plain reference for every kind of dataset; each promise was broken to see its test fail."""

import contextlib
import functools
import importlib.util
import itertools
import multiprocessing
import pickle
import re
import runpy
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from model_datasets import (
    flip,
    write_all,
    write_captions,
    write_dataset,
    write_dataset_of_documents,
    write_questions,
)
from numpy.typing import NDArray

from gato_model.data.batch_fields import BATCH_FIELDS
from gato_model.data.batches import Batches, batches
from gato_model.data.packing import round_up
from gato_model.data.record_reader import SequenceReader
from gato_model.data.share import Share
from gato_model.data.token_identity import TokenIdentity
from gato_tokenize import CorruptRecordError, Dataset, Record, Vocabulary
from gato_tokenize.modalities.image import intervals
from gato_tokenize.vocabulary import Kind

NAMES = ("symbolic", "rgb", "lander", "documents", "pictures")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_all(tmp_path_factory.mktemp("datasets"))


# ------------------------------------------------------------------------------------------- the plain reference


MOST = {"text": 1, "caption": 5, "vqa": 5}  # windows in a segment; of an agent's task 2
Codes = NDArray[np.int64]


class Token(NamedTuple):
    """One token with all that a batch says of it."""

    id: int
    kind: int
    position: int
    pixels: bytes
    intervals: tuple[int, ...]


class Stored(NamedTuple):
    """A record token by token, and what its tokens have to do with the loss."""

    name: tuple[str, str, str]  # task, agent, episode
    segment: tuple[int, int]  # index, of how many
    codes: Codes  # a number for each token; equal tokens have equal ones
    loss: list[int]
    splits: list[int]  # where windows may be cut


_numbers: dict[Token, int] = {}


def coded(tokens: list[Token]) -> Codes:
    return np.array([_numbers.setdefault(token, len(_numbers)) for token in tokens], np.int64)


def plain(record: Record, timesteps: bool) -> Stored:
    sequence, metadata = record.sequence, record.metadata
    places = [
        (*map(int, row), *map(int, column))
        for rows, columns in sequence.grids.tolist()
        for row in intervals(rows)
        for column in intervals(columns)
    ]
    patches = iter(zip(sequence.patches, places, strict=True))
    tokens = []
    for start, stop in itertools.pairwise(sequence.step_splits.tolist()):
        after = False  # the separator
        for at in range(start, stop):
            kind = int(sequence.kinds[at])
            position = -1 if kind == Kind.SEPARATOR or not timesteps else -2 if after else at - start
            after = after or kind == Kind.SEPARATOR
            pixels, where = next(patches) if kind == Kind.PATCH else (np.zeros(0, np.uint8), ())
            tokens.append(Token(int(sequence.ids[at]), kind, position, pixels.tobytes(), where))
    splits = sequence.step_splits.tolist() if timesteps else list(range(len(tokens) + 1))
    name = (metadata.task, metadata.agent_id, metadata.episode_id)
    of_episode = (metadata.segment_index, metadata.num_segments)
    return Stored(name, of_episode, coded(tokens), sequence.loss_mask.tolist(), splits)


@functools.cache
def stored(path: Path) -> list[Stored]:
    dataset = Dataset.open(path)
    return [plain(record, dataset.tokenizer.specs[record.metadata.task].timesteps) for record in dataset.records()]


class Part(NamedTuple):
    record: Stored
    start: int
    stop: int


def parts_of(codes: Codes, records: list[Stored], most: int) -> list[Part] | None:
    """At most `most` windows of records, cut where they may be, whose tokens in order are these, or None."""
    for record in records:
        for start in record.splits[:-1]:
            if record.codes[start] != codes[0]:
                continue
            size = min(len(codes), len(record.codes) - start)
            differ = np.flatnonzero(record.codes[start : start + size] != codes[:size])
            same = int(differ[0]) if differ.size else size
            if same == len(codes) and start + same in record.splits:
                return [Part(record, start, start + same)]
            whole = [len(record.codes)] if record.name[0] in MOST else reversed(record.splits)
            for stop in whole if most > 1 else ():
                if start < stop <= start + same:
                    rest = parts_of(codes[stop - start :], records, most - 1)
                    if rest is not None and legal([Part(record, start, stop), *rest]):
                        return [Part(record, start, stop), *rest]
    return None


def legal(parts: list[Part]) -> bool:
    """A segment is of one task and agent; a prompt is another episode's."""
    names = [part.record.name for part in parts]
    same = len({name[:2] for name in names}) == 1
    return same and (names[0][0] in ("caption", "vqa") or len({name[2] for name in names}) == len(names))


def tokens_of(batch: dict[str, Any]) -> list[list[Token]]:
    rows, length = batch["tokens"].shape
    at = {int(place): number for number, place in enumerate(batch["patch_index"]) if place < rows * length}
    out = []
    for row in range(rows):
        line = []
        for column in range(length):
            number = at.get(row * length + column)
            pixels = b"" if number is None else batch["patches"][number].tobytes()
            where = () if number is None else tuple(map(int, batch["patch_intervals"][number]))
            fields = [int(batch[name][row, column]) for name in ("tokens", "kinds", "local_positions")]
            line.append(Token(*fields, pixels, where))
        out.append(line)
    return out


def check(batch: dict[str, Any], records: dict[int, list[Stored]]) -> list[list[list[Part]]]:
    """Everything in a batch against the records; returns the parts, by row and segment."""
    rows, length = batch["tokens"].shape
    found = []
    expected_targets = {}
    for row, line in enumerate(tokens_of(batch)):
        segments = batch["segments"][row].tolist()
        used = sum(1 for s in segments if s)
        assert segments == sorted(segments[:used]) + [0] * (length - used)  # padding at the end only
        assert set(segments[:used]) == set(range(1, max(segments) + 1))
        assert set(line[used:]) <= {Token(0, 0, -1, b"", ())}
        of_row = []
        for segment in range(1, max(segments) + 1):
            first = segments.index(segment)
            tokens = line[first : first + segments.count(segment)]
            of_share = records[int(batch["dataset"][row])]
            parts = parts_of(coded(tokens), of_share, MOST.get(of_share[0].name[0], 2))
            assert parts, f"row {row}, segment {segment} is made of no records"
            loss = [mask for part in parts for mask in part.record.loss[part.start : part.stop]]
            for offset in range(len(tokens) - 1):
                if loss[offset + 1]:
                    expected_targets[row * length + first + offset] = tokens[offset + 1].id
            of_row.append(parts)
        found.append(of_row)
    check_targets(batch, expected_targets)
    check_padding(batch)
    return found


def check_targets(batch: dict[str, Any], expected: dict[int, int]) -> None:
    rows, length = batch["tokens"].shape
    mask, targets = batch["target_mask"].ravel(), batch["targets"].ravel()
    assert {at: int(targets[at]) for at in range(rows * length) if mask[at]} == expected
    assert not targets[mask == 0].any() and set(mask.tolist()) <= {0, 1}
    index = batch["target_index"].tolist()
    assert index == sorted(expected) + [rows * length] * (len(index) - len(expected))


def check_padding(batch: dict[str, Any]) -> None:
    rows, length = batch["tokens"].shape
    count = int((batch["kinds"] == Kind.PATCH).sum())
    assert batch["patch_index"][count:].tolist() == [rows * length] * (len(batch["patch_index"]) - count)
    assert not batch["patches"][count:].any()
    assert set(map(tuple, batch["patch_intervals"][count:].tolist())) <= {(0, 1, 0, 1)}
    for name, used in (("target_index", int(batch["target_mask"].sum())), ("patch_index", count)):
        assert len(batch[name]) == round_up(used)


# ------------------------------------------------------------------------------------------------ what is in them


@pytest.mark.parametrize(
    ("name", "length"),
    [("symbolic", 400), ("symbolic", 320), ("rgb", 256), ("rgb", 48), ("lander", 96), ("documents", 128)]
    + [("pictures", 256), ("pictures", 64)],
)
def test_a_batch_is_made_of_the_records(made: dict[str, Path], name: str, length: int) -> None:
    records = {0: stored(made[name])}
    reader = batches([Share(made[name])], 8, length, seed=3, prompt_share=0.5)
    seen: Counter[str] = Counter()
    for step in range(3):
        batch = reader.batch(step)
        for row in check(batch, records):
            for parts in row:
                seen["segments"] += 1
                seen["joined"] += len(parts) > 1
                seen["from the middle of an episode"] += parts[-1].start > 0 or parts[-1].record.segment[0] > 0
                seen["cut"] += parts[-1].stop < len(parts[-1].record.codes)
        seen["padding"] += bool((batch["segments"] == 0).any())
        seen["several"] += batch["segments"].max() > 1
    wanted = {"segments", "from the middle of an episode", "cut"} | ({"joined"} if name != "documents" else set())
    wanted -= {"from the middle of an episode"} if name == "pictures" else set()  # cropped at their end only
    assert all(seen[what] for what in wanted), seen


def test_a_mixture_of_all_kinds(made: dict[str, Path]) -> None:
    records = {number: stored(made[name]) for number, name in enumerate(NAMES)}
    reader = batches([Share(made[name]) for name in NAMES], 10, 300)
    batch = reader.batch(5)
    check(batch, records)
    assert sorted(batch["dataset"].tolist()) == sorted([0, 1, 2, 3, 4] * 2)
    assert reader.names == list(NAMES)
    assert reader.domains == ["BabyAI", "BabyAI", "Box2D", "text", "vision-language"]
    assert reader.local_positions == 512


def test_the_table_is_what_a_batch_holds(made: dict[str, Path]) -> None:
    batch = batches([Share(made["rgb"])], 3, 100).batch(0)
    assert list(batch) == [field.name for field in BATCH_FIELDS]
    sizes = {"B": 3, "L": 100, "N": len(batch["patch_index"]), "K": len(batch["target_index"])}
    for field in BATCH_FIELDS:
        array = batch[field.name]
        assert array.dtype == np.dtype(field.dtype), field
        assert array.shape == tuple(sizes.get(axis, axis) for axis in field.axes), field


def test_the_table_by_hand() -> None:
    of_tokens = {"tokens": "int32", "kinds": "uint8", "local_positions": "int32", "segments": "int32"}
    of_tokens |= {"targets": "int32", "target_mask": "uint8"}
    assert {field.name: field.dtype for field in BATCH_FIELDS if field.axes == ("B", "L")} == of_tokens
    others = {field.name: (field.dtype, field.shape(3, 100)) for field in BATCH_FIELDS if field.name not in of_tokens}
    assert others == {
        "target_index": ("int32", (None,)),
        "patches": ("uint8", (None, 16, 16, 3)),
        "patch_index": ("int32", (None,)),
        "patch_intervals": ("int32", (None, 4)),
        "dataset": ("int32", (3,)),
    }


def test_the_documentation_has_the_table() -> None:
    text = (Path(__file__).parents[3] / "docs/reading.md").read_text()
    rows = [f"| `{f.name}` | {f.dtype}[{', '.join(map(str, f.axes))}] | {f.content} |" for f in BATCH_FIELDS]
    assert "\n".join(rows) in text


def test_quantization_reaches_the_patches(made: dict[str, Path]) -> None:
    assert batches([Share(made["rgb"])], 2, 100, quantization=64).batch(0)["patch_intervals"].max() == 64


# ---------------------------------------------------------------------------------------------------- determinism


def equal(one: dict[str, Any], two: dict[str, Any]) -> bool:
    return set(one) == set(two) and all(np.array_equal(one[name], two[name]) for name in one)


def mixture(made: dict[str, Path], **options: Any) -> Batches:
    return batches([Share(made[name]) for name in NAMES], 48, 256, **options)  # 3 batches a round


def test_a_batch_depends_on_seed_and_step_alone(made: dict[str, Path]) -> None:
    reader = mixture(made)
    in_order = [reader.batch(step) for step in range(7)]
    for step in (6, 2, 5):
        assert equal(mixture(made, cache_bytes=0).batch(step), in_order[step])
        assert equal(reader.batch(step), in_order[step])
    with mixture(made).iterate(start=4) as resumed:
        for step in (4, 5, 6):
            assert equal(next(resumed), in_order[step])
    assert not equal(mixture(made, seed=1).batch(0), in_order[0])
    assert not any(equal(a, b) for a, b in itertools.pairwise(in_order))


@pytest.fixture
def reading_threads(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Records of every size are read by threads; the names of those that read."""
    monkeypatch.setattr("gato_model.data.batches._LARGE", 0)
    names: set[str] = set()
    read = SequenceReader.data

    def noted(self: SequenceReader, row: int) -> bytes:
        names.add(threading.current_thread().name.rpartition("_")[0])
        return read(self, row)

    monkeypatch.setattr(SequenceReader, "data", noted)
    return names


@pytest.mark.parametrize("cache_bytes", [0, 1 << 16, 1 << 28])
def test_several_threads_read_the_same_batches(
    made: dict[str, Path], cache_bytes: int, reading_threads: set[str]
) -> None:
    one = mixture(made)
    expected = [one.batch(step) for step in (0, 1, 5, 3)]
    assert "read-records" not in reading_threads
    three = mixture(made, threads=3, cache_bytes=cache_bytes)
    for step, batch in zip((0, 1, 5, 3), expected, strict=True):
        assert equal(three.batch(step), batch)
    assert "read-records" in reading_threads
    fresh = mixture(made)
    for reader in (fresh, three):
        reader.bytes_used = 0.0
        reader.batch(9)
    assert three.bytes_used == fresh.bytes_used > 0
    assert not any(thread.name.startswith("read-records") for thread in threading.enumerate())


def test_a_copy_in_another_process_reads_the_same_batches(made: dict[str, Path]) -> None:
    reader = mixture(made)
    here = [reader.batch(step) for step in (0, 4)]  # its files are open and its cache is full
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        there = list(pool.map(reader.batch, (0, 4)))
    assert all(map(equal, here, there))
    assert len(pickle.dumps(reader)) < 4 << 20
    assert equal(reader.batch(4), here[1])


def test_a_batch_is_the_callers_own(made: dict[str, Path]) -> None:
    reader = mixture(made)
    for array in reader.batch(0).values():
        array[:] = 0
    assert equal(reader.batch(0), mixture(made).batch(0))


@pytest.mark.parametrize("cuts", [(0, 24, 48), (0, 1, 47, 48)])
def test_workers_rows_together_are_the_batch(made: dict[str, Path], cuts: tuple[int, ...]) -> None:
    whole = mixture(made).batch(4)
    parts = [mixture(made, rows=rows).batch(4) for rows in itertools.pairwise(cuts)]
    for name in ("tokens", "kinds", "local_positions", "segments", "targets", "target_mask", "dataset"):
        assert np.array_equal(np.concatenate([part[name] for part in parts]), whole[name]), name
    for index, values in (("target_index", None), ("patch_index", "patches"), ("patch_index", "patch_intervals")):
        shifted, of_parts = [], []
        for start, part in zip(cuts, parts, strict=False):
            used = part[index] < part["tokens"].size
            shifted.append(part[index][used] + start * 256)
            of_parts.append(part[values or index][used])
        used = whole[index] < whole["tokens"].size
        assert np.array_equal(np.concatenate(shifted), whole[index][used])
        assert not values or np.array_equal(np.concatenate(of_parts), whole[values][used])


def test_a_worker_reads_what_its_rows_need(made: dict[str, Path]) -> None:
    readers = {rows: mixture(made, rows=rows, cache_bytes=0) for rows in ((0, 48), (0, 6))}
    for reader in readers.values():
        reader.batch(0)
    assert readers[0, 6].bytes_read < readers[0, 48].bytes_read / 2


def test_resuming_reads_one_round(made: dict[str, Path]) -> None:
    late, early = mixture(made), mixture(made)
    late.batch(1000)
    early.batch(0)
    assert 0 < late.bytes_read < 2 * early.bytes_read


# ---------------------------------------------------------------------------------------------------- proportions


def test_rows_are_mixed_by_weight_inside_every_batch(made: dict[str, Path]) -> None:
    shares = [Share(made["documents"], 5), Share(made["lander"], 3.0), Share(made["rgb"], 2)]
    reader = batches(shares, 7, 64)
    assert reader.weights.tolist() == [0.5, 0.3, 0.2]
    counts = np.array([np.bincount(reader.batch(step)["dataset"], minlength=3) for step in range(200)])
    assert (abs(counts - reader.weights * 7) < 1).all()  # to within one row in each batch
    assert abs(counts.mean(axis=0) / 7 - reader.weights).max() < 0.02  # and without a bias


def test_tokens_are_drawn_evenly(made: dict[str, Path]) -> None:
    """Documents of 1 to 2,000 tokens in rows of 100: each should be seen in proportion to its length."""
    records = Dataset.open(made["documents"]).records()
    sizes = {record.sequence.ids.tobytes(): len(record.sequence) for record in records}
    texts = {ids: np.frombuffer(ids, np.int32) for ids in sizes}
    reader = batches([Share(made["documents"])], 64, 100)
    seen: Counter[bytes] = Counter()
    for step in range(60):
        batch = reader.batch(step)
        for row, segments in zip(batch["tokens"], batch["segments"], strict=True):
            for segment in range(1, segments.max() + 1):
                window = row[segments == segment]
                (owner,) = {ids for ids, text in texts.items() if window.tobytes() in text.tobytes()} or {b""}
                seen[owner] += len(window)
    total, of_sizes = sum(seen.values()), sum(sizes.values())
    large = [ids for ids, size in sizes.items() if size > 200]
    ratios = np.array([seen[ids] / total / (sizes[ids] / of_sizes) for ids in large])
    assert len(large) > 15 and abs(ratios.mean() - 1) < 0.1 and ratios.min() > 0.6 and ratios.max() < 1.5


def test_prompts_are_other_episodes_of_the_task_and_agent(made: dict[str, Path]) -> None:
    records = {0: stored(made["symbolic"])}
    joined, ends, whole = 0, 0, 0
    reader = batches([Share(made["symbolic"])], 64, 800)
    for step in range(6):
        for row in check(reader.batch(step), records):
            for parts in row[:1]:  # the first of a row always has the room
                whole += 1
                joined += len(parts) == 2
                if len(parts) == 2:
                    assert parts[0].record.name[:2] == parts[1].record.name[:2]
                    assert parts[0].record.name[2] != parts[1].record.name[2]
                    ends += parts[0].stop == len(parts[0].record.codes)
    assert 0.17 < joined / whole < 0.33
    assert ends > joined / 2


def test_half_of_the_prompts_are_from_the_end_of_the_episode(made: dict[str, Path]) -> None:
    """The end of a long episode in several records is the end of the last."""
    records = {0: stored(made["lander"])}
    reader = batches([Share(made["lander"])], 128, 96, prompt_share=1.0)
    rows = [row for step in range(6) for row in check(reader.batch(step), records)]
    prompts = [parts[0] for row in rows for parts in row if len(parts) == 2]
    last = [p for p in prompts if p.record.segment[0] == p.record.segment[1] - 1]
    ends = sum(p.stop == len(p.record.codes) for p in last)
    assert len(prompts) > 700 and 0.4 < ends / len(prompts) < 0.65


def test_no_prompts(made: dict[str, Path], tmp_path: Path) -> None:
    records = {0: stored(made["rgb"])}
    reader = batches([Share(made["rgb"])], 32, 128, prompt_share=0.0)
    assert all(len(parts) == 1 for row in check(reader.batch(0), records) for parts in row)


@pytest.mark.parametrize("prompt_share", [0.0, 1.0])
def test_history_dropout_takes_the_sight_of_other_timesteps(made: dict[str, Path], prompt_share: float) -> None:
    """The tokens stay; in the fraction of sequences that is asked for, each timestep is a segment of its own."""
    data = Share(made["lander"])
    options = {"prompt_share": prompt_share, "seed": 4}
    whole = batches([data], 64, 96, **options).batch(3)  # type: ignore[arg-type]
    every = batches([data], 64, 96, history_dropout=1.0, **options).batch(3)  # type: ignore[arg-type]
    assert (whole["tokens"] == every["tokens"]).all()
    separators = (whole["tokens"] == 33024).sum()
    kinds = {(row, segment) for row, line in enumerate(every["segments"]) for segment in line if segment}
    assert len(kinds) == separators  # a separator stands in every timestep
    half = batches([data], 64, 96, history_dropout=0.5, **options)  # type: ignore[arg-type]
    apart, sequences = 0, 0
    for step in range(4):
        batch, plain = half.batch(step), batches([data], 64, 96, **options).batch(step)  # type: ignore[arg-type]
        for line, before in zip(batch["segments"], plain["segments"], strict=True):
            for segment in set(before[before > 0].tolist()):
                inside = before == segment
                if (plain["tokens"][0] == 33024)[inside].sum() > 1 or inside.sum() > 24:
                    sequences += 1
                    apart += len(set(line[inside].tolist())) > 1
    assert 0.35 < apart / sequences < 0.65
    mine = batches([data], 64, 96, history_dropout=0.5, rows=(16, 48), **options).batch(2)  # type: ignore[arg-type]
    assert (mine["segments"] == half.batch(2)["segments"][16:48]).all()


def test_history_dropout_leaves_documents_alone(made: dict[str, Path]) -> None:
    plain, dropped = (batches([Share(made["documents"])], 16, 100, history_dropout=p).batch(0) for p in (0.0, 1.0))
    assert (plain["segments"] == dropped["segments"]).all()


def test_five_samples_make_a_sequence(made: dict[str, Path]) -> None:
    records = {0: stored(made["pictures"])}
    reader = batches([Share(made["pictures"])], 8, 1024)
    sizes = Counter(len(parts) for row in check(reader.batch(0), records) for parts in row[:-1])
    assert set(sizes) == {5}


def test_rows_are_nearly_full(made: dict[str, Path]) -> None:
    for name, most in (("documents", 1 / 32), ("lander", 12 / 256), ("pictures", 1 / 8)):
        reader = batches([Share(made[name])], 32, 256)
        assert (reader.batch(0)["segments"] == 0).mean() <= most, name


def test_a_long_record_is_read_once_for_many_rows(tmp_path: Path) -> None:
    path = write_dataset_of_documents(tmp_path / "long", 40, 3000)
    reader = batches([Share(path)], 16, 256, cache_bytes=0)
    for step in range(24):
        reader.batch(step)
    assert 1 < reader.bytes_read / reader.bytes_used < 4


# ------------------------------------------------------------------------------------------------- other frameworks


def test_a_tf_dataset_and_a_foreign_keras_model(made: dict[str, Path]) -> None:
    tf = pytest.importorskip("tensorflow")
    import keras

    reader = mixture(made)
    dataset = reader.dataset(start=3)
    assert list(dataset.element_spec) == [field.name for field in BATCH_FIELDS]
    assert dataset.element_spec["tokens"] == tf.TensorSpec((48, 256), tf.int32)
    assert dataset.element_spec["kinds"] == tf.TensorSpec((48, 256), tf.uint8)
    assert dataset.element_spec["patches"] == tf.TensorSpec((None, 16, 16, 3), tf.uint8)
    for step, batch in enumerate(dataset.take(2).as_numpy_iterator(), 3):
        assert equal(batch, reader.batch(step))
    small = batches(made["documents"], 2, 64).dataset()
    pairs = small.map(lambda batch: (batch["tokens"], batch["targets"], batch["target_mask"]))
    model = keras.Sequential([keras.layers.Embedding(33_025, 4), keras.layers.Dense(33_025)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(pairs, steps_per_epoch=2, shuffle=False, verbose=0)
    assert np.isfinite(history.history["loss"][0])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # tensorflow_datasets itself
def test_the_page_on_reading_runs(made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On pictures of both ways of storing them, read with tf.data as the record reader reads them."""
    pytest.importorskip("tensorflow_datasets")
    (tmp_path / "sources").mkdir()
    with contextlib.chdir(tmp_path / "sources"):
        write_dataset(tmp_path / "data" / "toy" / "1.0.0", [write_questions(), write_captions()])
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[3] / "docs" / "reading.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.S)
    missing = [name for name in ("torch", "jax") if not importlib.util.find_spec(name)]
    wanted = [block for block in blocks if not any(re.search(rf"(import|from) {name}", block) for name in missing)]
    Path("page.py").write_text("\n".join(wanted))  # AutoGraph needs the source of functions: a file
    names = runpy.run_path("page.py")
    for mine, theirs in zip(Dataset.open("data/toy/1.0.0").records(), names["records"], strict=True):
        sequence = mine.sequence
        assert np.array_equal(sequence.ids, theirs["tokens"]) and np.array_equal(sequence.kinds, theirs["kinds"])
        assert np.array_equal(sequence.loss_mask, theirs["loss_mask"])
        assert np.array_equal(sequence.patches, theirs["patches"])


def test_workers_that_take_turns_share_no_round(made: dict[str, Path]) -> None:
    reader = mixture(made)  # 3 batches a round
    assert list(itertools.islice(reader.steps(2), 8)) == [0, 3, 1, 4, 2, 5, 6, 9]
    assert list(itertools.islice(reader.steps(1, 5), 3)) == [5, 6, 7]
    for workers in (1, 2, 3):
        steps = list(itertools.islice(reader.steps(workers), 18))
        assert sorted(steps) == list(range(18)) and list(itertools.islice(reader.steps(workers, 7), 11)) == steps[7:]
        rounds = [{step // 3 for step in steps[worker::workers]} for worker in range(workers)]
        assert sum(map(len, rounds)) == len(set.union(*rounds))
    with pytest.raises(TypeError, match="not iterable"):
        iter(reader)


@pytest.mark.parametrize("workers", [0, 2])
def test_pytorch_reads_the_same_batches(made: dict[str, Path], workers: int) -> None:
    data = pytest.importorskip("torch.utils.data")
    reader = mixture(made)
    steps = reader.steps(max(workers, 1), start=5)
    loader = data.DataLoader(reader, batch_size=None, sampler=steps, num_workers=workers)
    for step, batch in zip(itertools.islice(reader.steps(max(workers, 1), 5), 6), loader, strict=False):
        assert equal({name: tensor.numpy() for name, tensor in batch.items()}, mixture(made).batch(step))


def test_reading_needs_no_tensorflow(made: dict[str, Path]) -> None:
    code = (
        "import sys; from gato_model import Share, batches\n"
        f"batches([Share({str(made['rgb'])!r})], 2, 64).batch(0)\n"
        "print([name for name in ('tensorflow', 'keras', 'pipelines', 'apache_beam') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


# ------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be an int of at least 1"),
        ({"sequence_length": 1}, "sequence_length must be"),
        ({"seed": -1}, "seed must be"),
        ({"prompt_share": 1.5}, "prompt_share must be"),
        ({"history_dropout": -0.1}, "history_dropout must be"),
        ({"rows": (2, 9)}, r"rows must be \(start, stop\)"),
        ({"rows": (1, 1)}, "rows must be"),
        ({"quantization": 0}, "quantization"),
        ({"cache_bytes": -1}, "cache_bytes"),
        ({"threads": 0}, "threads must be an int of at least 1"),
        ({"sequence_length": 150}, "task 'BabyAI-GoToLocal-v0' has timesteps of .* sequence_length is 150"),
    ],
)
def test_options_out_of_range(made: dict[str, Path], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        batches([Share(made["symbolic"])], **{"batch_size": 4, **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": 0}, "weight must be a positive finite number"),
        ({"weight": float("nan")}, "weight must be"),
        ({"weight": float("inf")}, "weight must be"),
        ({"weight": True}, "weight must be"),
        ({"min_expert_share": 1.5}, r"min_expert_share must be in \[0, 1\]"),
    ],
)
def test_a_share_refuses_nonsense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Share("data/x/1.0.0", **options)
    with pytest.raises(ValueError, match="expected the folder"):
        Share(3)  # type: ignore[arg-type]


def test_shares_that_cannot_be_read(made: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no shares"):
        batches([], 4)
    with pytest.raises(FileNotFoundError, match="no complete dataset"):
        batches([Share(tmp_path)], 4)
    with pytest.raises(KeyError, match="no split 'test'"):
        batches([Share(made["rgb"])], 4, split="test")
    with pytest.raises(ValueError, match="step must be"):
        batches(made["rgb"], 4).batch(-1)


def test_another_vocabulary_or_text_model_is_refused(made: dict[str, Path]) -> None:
    other = TokenIdentity(Vocabulary(disjoint=True))
    with pytest.raises(ValueError, match=r"the model and .*documents.*different vocabularies.*check_identity=False"):
        batches([Share(made["documents"])], 4, identity=other)
    with pytest.raises(ValueError, match="the model and .* have different text models: abc and"):
        batches([Share(made["documents"])], 4, identity=TokenIdentity(Vocabulary(), "abc"))
    mine = batches([Share(made["documents"])], 4)
    assert mine.identity.text_model_sha256 is not None and mine.tokenizer_sha256 == mine.identity.sha256
    assert batches([Share(made["lander"])], 4, identity=mine.identity).identity == mine.identity
    assert batches([Share(made["lander"]), Share(made["documents"])], 4).identity == mine.identity
    assert batches([Share(made["documents"])], 4, identity=other, check_identity=False).identity == other


def test_a_damaged_record_is_named(tmp_path: Path, reading_threads: set[str]) -> None:
    path = write_dataset_of_documents(tmp_path / "damaged", 1, 50)
    (shard,) = Dataset.open(path).shards()
    flip(shard, 100)
    with pytest.raises(
        CorruptRecordError, match=r"texts-train.*: record 0 at byte 0 is lost: the checksum of its data"
    ):
        batches([Share(path)], 4).batch(0)
    with pytest.raises(CorruptRecordError), batches([Share(path)], 4).iterate() as ahead:
        next(ahead)
    assert "read-records" not in reading_threads
    with pytest.raises(CorruptRecordError, match="record 0 at byte 0 is lost"):
        batches([Share(path)], 4, threads=2).batch(0)
    assert "read-records" in reading_threads
    assert not any(thread.name.startswith("read-records") for thread in threading.enumerate())


def test_episodes_below_the_experts_share_are_left_out(made: dict[str, Path]) -> None:
    reader = batches([Share(made["symbolic"], min_expert_share=0.8)], 16, 800)
    (left_out,) = reader.left_out
    assert left_out["BabyAI-GoToLocal-v0"] > 0
    good = {record.sequence.ids.tobytes() for record in Dataset.open(made["symbolic"]).records()
            if record.metadata.return_ > 0.7}  # fmt: skip
    assert len(good) == 21 - left_out["BabyAI-GoToLocal-v0"]
