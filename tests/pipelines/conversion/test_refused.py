"""What is refused, and leaves everything as it was; two runs at once."""

import fcntl
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from conversions import convert, tree, write_documents, write_lines, write_pictures

from gato_tokenize import Dataset
from gato_tokenize.installing import how_to_install
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


def test_the_same_command_again_does_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    source = write_documents()
    assert convert(source) == 0
    assert "published already" not in capsys.readouterr().out
    before = tree()
    times = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*")}
    assert convert(source) == 0
    assert tree() == before and times == {path: path.stat().st_mtime_ns for path in Path("out").rglob("*")}
    out = capsys.readouterr().out
    assert "published already: nothing was written" in out and "60 of 60 episodes written" in out


def test_another_plan_s_output_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    source = write_documents()
    assert convert(source) == 0
    before = tree()
    write_lines("docs-0.jsonl.gz", ['{"text": "changed"}'])
    assert convert(source) == 2
    told = capsys.readouterr()
    assert "was made by another plan" in told.err and "already" not in told.out
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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--runner", "FnApiRunner", "--direct_running_mode=multi_threading"], "silently loses records"),
        (["--no_such_option=1"], "unknown option --no_such_option"),
        (["--runner", "PortableRunner", "--workers", "2"], "--workers is for the local engine"),
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
    assert f"convert needs the package apache_beam: {how_to_install('beam')} installs it" in capsys.readouterr().err
