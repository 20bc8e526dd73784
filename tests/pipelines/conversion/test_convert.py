"""The promises of a conversion, each broken once while this was written to see its test fail."""

import base64
import contextlib
import dataclasses
import fcntl
import gzip
import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conversions import (
    HERE,
    WORDS,
    children,
    command,
    convert,
    minari_file,
    png,
    rejects,
    slow_source,
    tree,
    write_documents,
    write_lines,
    write_pictures,
)
from PIL import Image

from gato_tokenize import Dataset
from gato_tokenize.tokenizer import EpisodeTokenizer
from pipelines.__main__ import main
from pipelines.conversion.convert import convert as run_plan
from pipelines.conversion.plan import PlanError, make_plan
from pipelines.conversion.reject_budget import RejectBudget
from pipelines.conversion.work_folder import ConvertError, WorkFolder
from pipelines.conversion.write_partition import write_here
from pipelines.sources import open_source


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources are named by relative paths, so that plans are the same wherever the tests run."""
    monkeypatch.chdir(tmp_path)
    open_source.cache_clear()


# ------------------------------------------------------------------------------------------------- what is made


def test_documents_and_pictures_come_back_as_they_were() -> None:
    assert convert(write_documents(), write_pictures()) == 0
    dataset = Dataset.open("out/toy/1.0.0")
    lines = [line for n in range(3) for line in gzip.decompress(Path(f"docs-{n}.jsonl.gz").read_bytes()).splitlines()]
    texts = [json.loads(line)["text"] for line in lines]
    episodes = list(dataset.episodes())
    assert [e.fields["observation/text"][0] for e in episodes if e.metadata.task == "text"] == texts
    pictures = [e for e in episodes if e.metadata.task == "caption"]
    for number, episode in enumerate(pictures):
        assert np.array_equal(episode.fields["observation/image"][0], np.asarray(Image.open(f"{number}.png")))
        assert episode.fields["observation/caption"] == [f"noise number {number}"]
    assert dataset.record(len(dataset) - 1).metadata.episode_id == pictures[-1].metadata.episode_id
    manifest = dataset.manifest
    assert manifest["episodes"] == {"read": 66, "written": 66, "rejected": {}, "filtered": {}, "duplicates": 0}
    assert [(i["uri"], i["sha256"]) for i in manifest["inputs"]][0] == (
        "docs-0.jsonl.gz",
        hashlib.sha256(Path("docs-0.jsonl.gz").read_bytes()).hexdigest(),
    )


def test_the_folder_is_what_the_documentation_says() -> None:
    convert(write_documents(), "--validation-fraction", "0.3")
    names = {name.removeprefix("toy/1.0.0/") for name in tree()}
    shards = {f"toy-{split}.tfrecord-{n:05d}-of-00003" for split in ("train", "validation") for n in range(3)}
    assert names == {
        *shards,
        *(f"index/{shard}.idx" for shard in shards),
        *("manifest.json", "dataset_info.json", "features.json", "stats.json", "episodes.jsonl.gz"),
        *("tokenizer/spec.json", "tokenizer/text.model", "_run/plan.json"),
        *(f"_run/part-{n:05d}.done.json" for n in range(3)),
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # tensorflow_datasets itself
def test_tfds_and_tf_data_read_it() -> None:
    tfds = pytest.importorskip("tensorflow_datasets")
    tf = pytest.importorskip("tensorflow")
    convert(write_documents(), "--validation-fraction", "0.3")
    expected = [list(record.sequence.ids) for record in Dataset.open("out/toy/1.0.0").records()]
    loaded = tfds.load("toy", data_dir="out", split="train", shuffle_files=False)
    assert [list(example["tokens"].numpy()) for example in loaded] == expected
    plain = tf.data.TFRecordDataset(sorted(str(path) for path in Path("out/toy/1.0.0").glob("*-train.*-of-*")))
    parsed = [tf.io.parse_single_example(data, {"tokens": tf.io.RaggedFeature(tf.int64)}) for data in plain]
    assert [list(example["tokens"].numpy()) for example in parsed] == expected


def test_a_split_depends_on_the_id_and_the_seed_alone() -> None:
    source = write_documents()
    splits = {}
    for name, more in (("a", []), ("b", ["--limit", "7"]), ("c", ["--split-seed", "1"])):
        assert convert(source, "--validation-fraction", "0.3", *more, out=f"out/{name}/1.0.0") == 0
        dataset = Dataset.open(f"out/{name}/1.0.0")
        splits[name] = {r.metadata.episode_id: s for s in dataset.splits for r in dataset.records(s)}
    assert len(splits["a"]) == 60 and len(splits["b"]) == 7
    assert {key: splits["a"][key] for key in splits["b"]} == splits["b"]
    assert 8 <= list(splits["a"].values()).count("validation") <= 28
    assert splits["a"] != splits["c"]


def test_a_long_episode_is_cut_and_whole_again() -> None:
    h5py = pytest.importorskip("h5py")
    source = minari_file("none")
    generator = np.random.default_rng(0)
    steps, observations = 9000, generator.normal(size=(9001, 2)).astype(np.float32)
    with h5py.File("minari-none/data/main_data.hdf5", "r+") as file:
        group = file["episode_1"]
        for name, values in {
            "observations": observations,
            "actions": generator.integers(0, 3, steps),
            "rewards": np.ones(steps),
            "terminations": np.zeros(steps, bool),
            "truncations": np.zeros(steps, bool),
        }.items():
            del group[name]
            group[name] = values
        actions = group["actions"][:]
        group.attrs["total_steps"] = steps
    assert convert(source) == 0
    dataset = Dataset.open("out/toy/1.0.0")
    records = [r for r in dataset.records() if r.metadata.source_index == 1]
    assert [(r.metadata.segment_index, r.metadata.num_segments) for r in records] == [(0, 3), (1, 3), (2, 3)]
    assert [r.metadata.step_offset for r in records] == [0, 4096, 8192]  # 4 tokens a timestep, 16,384 a record
    episodes = list(dataset.episodes())
    assert len(episodes) == 3 and episodes[1].num_steps == steps and episodes[1].metadata.return_ == steps
    assert np.array_equal(episodes[1].fields["action"], actions)
    assert np.abs(episodes[1].fields["observation"] - observations[:-1]).max() < 0.05
    assert dataset.record(3).metadata.segment_index == 2


# --------------------------------------------------------------------------------------------- the same bytes


def test_the_same_bytes_for_one_worker_and_two_whatever_the_machine_s_settings() -> None:
    source = write_documents()
    assert convert(source, "--validation-fraction", "0.3", out="one/toy/1.0.0") == 0
    strange = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    words = command(source, "--validation-fraction", "0.3", "--workers", "2", out="two/toy/1.0.0")
    subprocess.run(words, check=True, env=strange, capture_output=True, timeout=120)
    assert tree("one") == tree("two")


def test_without_beam_the_bytes_are_the_same() -> None:
    source = write_documents()
    assert convert(source, "--validation-fraction", "0.3", out="beam/toy/1.0.0") == 0
    plan, tokenizer = make_plan([source], Path("here/toy/1.0.0"), validation_fraction=0.3)
    manifest = run_plan(plan, tokenizer, Path("here/toy/1.0.0"), RejectBudget(), write_here)
    assert tree("beam") == tree("here") and manifest["episodes"]["written"] == 60


def test_a_limit_of_a_partition_is_kept() -> None:
    """As the plan of `--limit` has it: only the first candidates of a partition are read."""
    out = Path("out/toy/1.0.0")
    plan, tokenizer = make_plan([write_documents()], out)
    works = [dataclasses.replace(work, limit=limit) for work, limit in zip(plan.works, (None, 7), strict=False)]
    plan = dataclasses.replace(plan, works=tuple(works))
    manifest = run_plan(plan, tokenizer, out, RejectBudget(), write_here)
    assert manifest["episodes"]["read"] == manifest["episodes"]["written"] == 27
    names = [record.metadata.episode_id for record in Dataset.open(out).records()]
    assert names[20:] == [f"docs-1.jsonl.gz#{number}" for number in range(1, 8)]


def kill_after(seconds: float, words: list[str]) -> int:
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    finished = process.poll()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)
    return -signal.SIGKILL if finished is None else finished


def killed_and_resumed(kills: int, workers: str) -> None:
    words = (slow_source(), write_documents(), "--workers", workers)
    started = time.monotonic()
    subprocess.run(command(*words, out="whole/toy/1.0.0"), check=True, capture_output=True, timeout=300)
    lasts = time.monotonic() - started
    whole, generator = tree("whole"), random.Random(kills)
    killed = 0
    done: dict[str, int] = {}  # of the partitions that are finished: their done-files' times
    while killed < kills:
        code = kill_after(generator.uniform(0.1, lasts), command(*words))
        killed += code != 0
        done = redone_nothing(done)
        if Path("out/toy/1.0.0").exists():  # not killed, or after the last rename
            assert tree("out") == whole
            shutil.rmtree("out")
            done = {}
        else:
            assert code != 0
    subprocess.run(command(*words), check=True, capture_output=True, timeout=300)
    redone_nothing(done)
    assert tree("out") == whole


def redone_nothing(before: dict[str, int]) -> dict[str, int]:
    """The done-files that there are now; those that were there before have not been written again."""
    now = {path.name: path.stat().st_mtime_ns for path in Path("out").rglob("*.done.json")}
    assert before.items() <= now.items(), "a finished partition is not done again"
    return now


def test_killed_and_resumed_it_is_the_same_to_the_byte() -> None:
    killed_and_resumed(kills=4, workers="1")


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_killed_at_many_instants(workers: str) -> None:
    killed_and_resumed(kills=30, workers=workers)


def test_killed_between_the_manifest_and_the_rename() -> None:
    source = write_documents()
    convert(source, "--validation-fraction", "0.01", out="whole/toy/1.0.0")
    plan, _ = make_plan([source], Path("out/toy/1.0.0"), validation_fraction=0.01)
    Path("out/toy").mkdir(parents=True)
    Path("whole/toy/1.0.0").rename(f"out/toy/.1.0.0.partial-{plan.sha256[:16]}")
    convert(source, "--validation-fraction", "0.01", out="again/toy/1.0.0")
    assert convert(source, "--validation-fraction", "0.01") == 0
    assert tree("out") == tree("again")


def test_ctrl_c_says_how_to_go_on() -> None:
    process = subprocess.Popen(command(slow_source(2000)), stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 60
    while not list(Path("out").rglob("*.done.json")) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=15)
    assert process.returncode == 130
    assert "the same command goes on from there" in errors
    assert not Path("out/toy/1.0.0").exists()


@pytest.mark.parametrize("worker", [True, False])
def test_a_killed_process_costs_nothing(worker: bool) -> None:
    """A worker, or the process of the whole local pipeline: what it was at is done again, and the run goes on."""
    source = slow_source(150)
    assert convert(source, out="whole/toy/1.0.0") == 0
    words = command(source, "--workers", "2")
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 60
    while not list(Path("out").rglob("*.done.json")) and time.monotonic() < deadline:
        time.sleep(0.1)
    workers = [pid for pid in children(process.pid) if "sdk_worker_main" in cmdline(pid)]
    os.kill(workers[-1] if worker else parent(workers[-1]), signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "now alone, one after the other" in errors and "left out" not in errors
    assert tree("out") == tree("whole")


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def cmdline(pid: int) -> str:
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


# ------------------------------------------------------------------------------------- what is refused, undamaged


def test_the_same_command_again_does_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    source = write_documents()
    assert convert(source) == 0
    before = tree()
    times = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*")}
    assert convert(source) == 0
    assert tree() == before and times == {path: path.stat().st_mtime_ns for path in Path("out").rglob("*")}
    assert "60 of 60 episodes written" in capsys.readouterr().out


def test_another_plan_s_output_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    source = write_documents()
    assert convert(source) == 0
    before = tree()
    write_lines("docs-0.jsonl.gz", ['{"text": "changed"}'])
    assert convert(source) == 2
    assert "was made by another plan" in capsys.readouterr().err
    assert tree() == before


def test_another_plan_s_unfinished_work_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    source = write_documents()
    write_lines("docs-1.jsonl.gz", ["broken"])
    assert convert(source) == 3
    before = tree()
    assert convert(source, "--limit", "5") == 2
    assert "unfinished work of another plan" in capsys.readouterr().err
    assert tree() == before


def test_a_folder_that_is_no_dataset_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("out/toy/1.0.0").mkdir(parents=True)
    assert convert(write_documents()) == 2
    assert "is no dataset" in capsys.readouterr().err


def test_two_runs_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    source = write_documents()
    plan, _ = make_plan([source], Path("out/toy/1.0.0"))
    folder = Path(f"out/toy/.1.0.0.partial-{plan.sha256[:16]}")
    folder.mkdir(parents=True)
    other = os.open(folder, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    assert convert(source) == 2
    assert "another run is writing to" in capsys.readouterr().err
    os.close(other)
    assert convert(source) == 0


@pytest.mark.parametrize("instant", ["before it has the lock", "before it makes the folder"])
def test_a_run_that_another_one_overtakes(instant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Started twice within seconds: the later run finds the dataset there, once it has the lock."""
    source = write_documents()
    out = Path("out/toy/1.0.0")
    plan, tokenizer = make_plan([source], out)
    lock, make = fcntl.flock, Path.mkdir

    def overtaken(*arguments: Any) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        monkeypatch.setattr(Path, "mkdir", make)
        run_plan(plan, tokenizer, out, RejectBudget(), write_here)
        (lock if instant == "before it has the lock" else make)(*arguments)

    if instant == "before it has the lock":
        monkeypatch.setattr(fcntl, "flock", overtaken)
    else:
        monkeypatch.setattr(Path, "mkdir", lambda path, *_, **__: overtaken(path))

    def run(folder: WorkFolder) -> None:
        raise AssertionError("the work is done")

    manifest = run_plan(plan, tokenizer, out, RejectBudget(), run)
    assert manifest == Dataset.open(out).manifest and [path.name for path in out.parent.iterdir()] == ["1.0.0"]


def test_another_plan_s_dataset_appears_before_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_documents()
    out = Path("out/toy/1.0.0")
    plan, tokenizer = make_plan([source], out)
    other, _ = make_plan([source], out, max_tokens=9)
    lock = fcntl.flock

    def overtaken(*arguments: Any) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        run_plan(other, tokenizer, Path("other/toy/1.0.0"), RejectBudget(), write_here)
        Path("other/toy/1.0.0").rename(out)
        lock(*arguments)

    monkeypatch.setattr(fcntl, "flock", overtaken)
    with pytest.raises(ConvertError, match="was made by another plan"):
        run_plan(plan, tokenizer, out, RejectBudget(), write_here)


def test_leftovers_of_dead_runs_are_cleaned() -> None:
    source = write_documents()
    plan, _ = make_plan([source], Path("out/toy/1.0.0"))
    folder = Path(f"out/toy/.1.0.0.partial-{plan.sha256[:16]}")
    (folder / "index").mkdir(parents=True)
    for name in (".toy-train.tfrecord-00000-of-00003.tmp-dead", "index/.x.idx.tmp-dead"):
        (folder / name).write_bytes(b"half")
    assert convert(source) == 0
    assert not [name for name in tree() if "tmp" in name]


def test_a_shard_that_is_gone_or_cut_is_written_again() -> None:
    source = write_documents()
    write_lines("docs-9.jsonl.gz", ["broken"])
    assert convert(source, out="whole/toy/1.0.0") == 3
    assert convert(source) == 3
    shards = sorted(path for path in Path("out").rglob("toy-train*") if path.suffix != ".idx")
    shards[0].unlink()
    shards[1].write_bytes(shards[1].read_bytes()[:-1])
    assert convert(source, "--max-rejects", "1") == 0
    assert convert(source, "--max-rejects", "1", out="whole/toy/1.0.0") == 0
    assert tree("out") == tree("whole")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--runner", "FnApiRunner", "--direct_running_mode=multi_threading"], "silently loses records"),
        (["--no_such_option=1"], "unknown option --no_such_option"),
        (["--runner", "PortableRunner", "--workers", "2"], "--workers is for the local"),
        (["--max-rejects", "many"], "--max-rejects is a count such as 10"),
        (["--validation-fraction", "1"], "validation fraction is in"),
        (["--text-model", "absent.model"], "absent.model"),
        (["text:absent-*.txt"], "absent-"),
        (["nothing:x"], "is no source"),
    ],
)
def test_what_cannot_be_planned_is_refused(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert(write_documents(), *words) == 2
    assert message in capsys.readouterr().err
    assert not Path("out").exists()


@pytest.mark.parametrize("out", ["out/Toy/1.0.0", "out/toy/1", "out/toy/latest"])
def test_an_output_that_tfds_could_not_name_is_refused(out: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert(write_documents(), out=out) == 2
    assert not Path("out").exists()


def test_two_specs_of_one_task_are_refused() -> None:
    source = write_documents()
    Path("p.jsonl").write_text('{"image": "0.png", "caption": "x"}\n')
    write_pictures(1)
    with pytest.raises(PlanError, match="both have a task 'caption', with different specs"):
        make_plan([source, "image-text:p.jsonl", "image-text:p.jsonl?resize=32x32"], Path("out/toy/1.0.0"))


def test_without_beam_an_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in ("commands.convert", "running.beam_pipeline", "running.watched_run"):
        monkeypatch.delitem(sys.modules, f"pipelines.{module}", raising=False)
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    assert convert(write_documents()) == 2
    assert "needs the package apache_beam: pip install 'gato-toolchain[beam]'" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------- options


def test_dry_run_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert convert(write_documents(), "--dry-run") == 0
    out = capsys.readouterr().out
    assert "3 shards a split" in out and "docs-0.jsonl.gz" in out and "observation/text" in out
    assert not Path("out").exists()


def test_another_text_model() -> None:
    from gato_tokenize import train_text_model

    Path("corpus.txt").write_text("\n".join(f"{word} {other}" for word in WORDS for other in WORDS) * 20)
    train_text_model([Path("corpus.txt")], Path("small.model"), vocabulary_size=400)
    assert convert(write_documents(), "--text-model", "small.model") == 0
    dataset = Dataset.open("out/toy/1.0.0")
    assert dataset.tokenizer.text is not None and dataset.tokenizer.text.vocabulary_size == 400
    assert max(int(record.sequence.ids.max()) for record in dataset.records()) < 400


def test_local_positions(capsys: pytest.CaptureFixture[str]) -> None:
    source = "rollouts:BabyAI-GoToLocal-v0?episodes=2"  # 7 x 7 x 3 values and more
    assert convert(source, "--local-positions", "100") == 2
    assert "local positions" in capsys.readouterr().err
    assert convert(source, "--local-positions", "200") == 0
    assert Dataset.open("out/toy/1.0.0").tokenizer.local_positions == 200


# ------------------------------------------------------------------------------------------------------- rejects


def spoilt_text(change: str) -> str:
    lines = [b'{"text": "one"}', b'{"text": "two"}', b'{"text": "three"}']
    lines[1] = {"utf8": b'{"text": "\xff\xfe"}', "json": b'{"text": ', "field": b'{"txt": "two"}'}[change]
    Path("docs.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    return "text:docs.jsonl"


def spoilt_picture(change: str) -> str:
    source = write_pictures(3)
    data = png(1)
    Path("1.png").write_bytes({"cut": data[: len(data) // 2], "noise": b"no picture", "empty": b""}[change])
    return source


def rollout(fault: str) -> str:
    return f"rollouts:faulty_environments:Faulty/Count-v0?policy=random&episodes=3&time_limit=2&fault={fault}"


@pytest.mark.parametrize(
    ("make", "change", "stage", "message"),
    [
        (minari_file, "nan", "read", "observation: nan at index [2, 1]"),
        (minari_file, "inf", "read", "observation: inf at index [2, 1]"),
        (minari_file, "range", "read", "action: 3 at index [3] is outside [0, 3)"),
        (minari_file, "ragged", "read", "expected 4 entries, one a timestep, got 2"),
        (minari_file, "empty", "read", "empty"),
        (spoilt_text, "utf8", "read", "docs.jsonl"),
        (spoilt_text, "json", "read", "docs.jsonl"),
        (spoilt_text, "field", "read", "docs.jsonl"),
        (spoilt_picture, "cut", "tokenize", "observation/image: "),
        (spoilt_picture, "noise", "tokenize", "observation/image: "),
        (spoilt_picture, "empty", "read", "1.png"),
        (rollout, "loop", "read", "2"),
        (rollout, "raise", "read", "a lost key"),
        (rollout, "segfault", "read", ""),
    ],
)
def test_one_bad_episode_costs_itself_and_is_rejected(
    make: Any, change: str, stage: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    source = make(change)
    assert convert(source) == 3
    assert not Path("out/toy/1.0.0").exists()
    done = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*.done.json")}  # none, if it stopped early
    assert convert(source, "--max-rejects", "1") == 0
    (reject,) = rejects()
    assert reject["stage"] == stage and message in reject["message"] and reject["source"] == source
    assert reject["episode_id"] and reject["source_uri"] and reject["exception"]
    dataset = Dataset.open("out/toy/1.0.0")
    assert dataset.manifest["episodes"]["written"] == 2 and len(dataset) == 2
    assert list(dataset.manifest["episodes"]["rejected"].values()) == [1]
    for path, changed in done.items():
        assert Path(str(path).replace(path.parts[2], "1.0.0")).stat().st_mtime_ns == changed, "work was done again"
    assert main(["verify", "out/toy/1.0.0"]) == 0


def test_values_beyond_the_bounds_are_clipped_and_counted() -> None:
    h5py = pytest.importorskip("h5py")
    source = minari_file("none")
    with h5py.File("minari-none/data/main_data.hdf5", "r+") as file:
        file["episode_1/observations"][1] = [300.0, -256.5]
    assert convert(source) == 0
    stats = json.loads(Path("out/toy/1.0.0/stats.json").read_text())
    field = stats["train"]["toy/spoilt-v0"]["fields"]["observation"]
    assert (field["clipped"], field["max"], field["min"], field["values"]) == (2, 300.0, -256.5, 24)


def test_pictures_that_do_not_come_back_whole_are_counted() -> None:
    out = io.BytesIO()
    Image.fromarray(np.full((32, 32, 4), 9, np.uint8)).save(out, "PNG")
    lines = []
    for name, data in {"same": png(), "odd": png(size=(30, 48)), "alpha": out.getvalue()}.items():
        Path(f"{name}.png").write_bytes(data)
        lines.append(json.dumps({"image": f"{name}.png", "caption": name}) + "\n")
    Path("pairs.jsonl").write_text("".join(lines))
    assert convert("image-text:pairs.jsonl") == 0
    stats = json.loads(Path("out/toy/1.0.0/stats.json").read_text())
    field = stats["train"]["caption"]["fields"]["observation/image"]
    assert field == {"images": 3, "resized": 1, "alpha_dropped": 1}
    assert convert("image-text:pairs.jsonl?resize=48x32", out="out/toy/1.0.1") == 0
    stats = json.loads(Path("out/toy/1.0.1/stats.json").read_text())
    assert stats["train"]["caption"]["fields"]["observation/image"]["resized"] == 3


def test_what_looks_wrong_is_counted_and_kept() -> None:
    frames = {"black": 0, "grey": 128, "fine": None}
    for name, value in frames.items():
        pixels = np.full((16, 32, 3), value or 0, np.uint8)
        pixels[3, 5, 1] = pixels[3, 5, 1] if value is not None else 7
        Image.fromarray(pixels).save(f"{name}.png")
    lines = [json.dumps({"image": f"{name}.png", "caption": name}) + "\n" for name in frames]
    Path("pairs.jsonl").write_text("".join(lines))
    assert convert("image-text:pairs.jsonl", minari_file("none")) == 0
    stats = json.loads(Path("out/toy/1.0.0/stats.json").read_text())["train"]
    assert stats["caption"]["lints"] == {"black images": 1, "images of one colour value": 1}
    assert stats["toy/spoilt-v0"]["lints"] == {"episodes that neither terminated nor were truncated": 3}
    assert Dataset.open("out/toy/1.0.0").manifest["episodes"]["written"] == 6


def test_blank_lines_are_filtered_and_counted() -> None:
    Path("docs.txt").write_text("one\n\n   \ntwo\n")
    assert convert("text:docs.txt?by=line") == 0
    episodes = Dataset.open("out/toy/1.0.0").manifest["episodes"]
    assert episodes["read"] == 4 and episodes["written"] == 2 and sum(episodes["filtered"].values()) == 2


def test_double_ids_are_an_error_that_names_both(capsys: pytest.CaptureFixture[str]) -> None:
    Path("docs.jsonl").write_text("".join(json.dumps({"text": f"t {n}", "id": n % 4}) + "\n" for n in range(5)))
    assert convert("text:docs.jsonl?id=id") == 2
    error = capsys.readouterr().err
    assert "episode id '0' stands twice, from docs.jsonl (number 1) and docs.jsonl (number 5)" in error
    assert not Path("out/toy/1.0.0").exists()


def test_nothing_written_is_nothing_published(capsys: pytest.CaptureFixture[str]) -> None:
    Path("docs.jsonl").write_text("broken\n")
    assert convert("text:docs.jsonl", "--max-rejects", "100%") == 2
    assert "nothing to publish" in capsys.readouterr().err


def test_an_error_that_is_no_data_s_fault_stops_and_keeps_the_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_documents()
    real = os.replace

    def full(src: Any, dst: Any) -> None:
        if "00002-of" in str(dst):
            raise OSError(28, "No space left on device", str(dst))
        real(src, dst)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        assert convert(source) == 1
    errors = capsys.readouterr().err
    assert "gato-data: OSError: [Errno 28] No space left on device" in errors and "Traceback" not in errors
    assert "What is done is kept" in errors
    assert not Path("out/toy/1.0.0").exists()
    assert not [name for name in tree() if ".tmp-" in name]
    assert convert(source) == 0


@pytest.mark.parametrize(
    ("text", "rejected", "read", "allowed"),
    [("0", 0, 9, True), ("0", 1, 9, False), ("2", 2, 9, True), ("10%", 1, 10, True), ("10%", 2, 10, False)],
)
def test_the_budget(text: str, rejected: int, read: int, allowed: bool) -> None:
    assert RejectBudget(text).allows(rejected, read) is allowed


def test_a_plan_survives_its_json_and_changes_with_what_it_holds() -> None:
    plan, _ = make_plan([write_documents()], Path("out/toy/1.0.0"))
    assert type(plan).from_json(plan.to_json()) == plan
    assert dataclasses.replace(plan, max_tokens=5).sha256 != plan.sha256


def test_the_list_of_episodes_finds_each_record() -> None:
    convert(write_documents(), "--validation-fraction", "0.3")
    folder = Path("out/toy/1.0.0")
    lines = [json.loads(line) for line in gzip.open(folder / "episodes.jsonl.gz", "rt", encoding="utf-8")]
    assert len(lines) == len(Dataset.open(folder)) == 60
    from gato_tokenize import read_record

    for line in lines[:5]:
        record = read_record(folder / line["shard"], line["record"])
        assert record.metadata.episode_id == line["episode_id"] and len(record.sequence) == line["tokens"]


def test_every_task_of_a_dataset_has_its_own_spec() -> None:
    assert convert(write_documents(), write_pictures(), slow_source(2)) == 0
    tokenizer = Dataset.open("out/toy/1.0.0").tokenizer
    assert sorted(tokenizer.specs) == ["BabyAI-GoToLocal-v0", "caption", "text", "vqa"]
    assert isinstance(tokenizer.task("caption"), EpisodeTokenizer)
    with pytest.raises(KeyError, match="no task 'chess'"):
        tokenizer.task("chess")


def test_nothing_in_the_data_is_a_pickle_or_a_path_out() -> None:
    Path("secret.png").write_bytes(png())
    Path("in").mkdir()
    Path("in/pairs.jsonl").write_text(json.dumps({"image": "../secret.png", "caption": "x"}) + "\n")
    assert convert("image-text:in/pairs.jsonl") == 3
    assert base64.b64encode(png()) not in Path("out").joinpath(next(iter(tree()))).read_bytes()
