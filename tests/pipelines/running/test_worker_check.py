"""A worker that lacks something is named, with what it lacks."""

import dataclasses
import os
import socket
from pathlib import Path

import pytest
from conversions import write_documents

from pipelines.conversion.plan import make_plan
from pipelines.conversion.work_folder import WorkFolder
from pipelines.running.failure import RunnerError
from pipelines.running.worker_check import WorkerCheck, versions
from pipelines.sources import open_source


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WorkFolder:
    monkeypatch.chdir(tmp_path)
    open_source.cache_clear()
    out = Path("out/toy/1.0.0")
    plan, tokenizer = make_plan([write_documents(6)], out)
    folder = WorkFolder.of(plan, out)
    folder.save(tokenizer)
    return folder


def refusal(check: WorkerCheck) -> str:
    """Return what a worker says after its name."""
    with pytest.raises(RunnerError) as refused:
        check.run()
    here = f"the worker on {socket.gethostname()} "
    assert str(refused.value).startswith(here)
    return str(refused.value).removeprefix(here)


def test_a_sound_worker_answers_and_leaves_nothing(folder: WorkFolder) -> None:
    check = WorkerCheck.of(folder)
    assert len(check.inputs) == 3 and all(size > 0 for _, size in check.inputs)
    with check.offered():
        assert check.answers() == 0
        check.run()
        check.run()
        assert check.answers() == 1
        folder.clean()  # what a killed run left
        assert check.answers() == 0
    assert folder.run_files() == {"plan.json"}


def test_paths_start_where_the_command_was_given(folder: WorkFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    check = WorkerCheck.of(folder)
    with check.offered():
        monkeypatch.chdir("/")
        check.run()
        assert Path.cwd() == Path("/")


def test_a_worker_without_the_folder(folder: WorkFolder, tmp_path: Path) -> None:
    check = dataclasses.replace(WorkerCheck.of(folder), folder=f"{tmp_path}/nowhere")
    assert refusal(check).startswith(f"does not see {tmp_path}/nowhere: every worker needs the inputs and --out on")


def test_a_worker_with_another_folder_of_the_same_path(folder: WorkFolder) -> None:
    """As on a machine where an earlier run was local: there is a folder, even a plan, but not that of the command."""
    assert refusal(WorkerCheck.of(folder)).startswith(f"sees another folder at {folder.path.absolute()} than")


@pytest.mark.skipif(os.getuid() == 0, reason="nothing is closed to root")
def test_a_worker_that_may_not_write(folder: WorkFolder) -> None:
    check = WorkerCheck.of(folder)
    with check.offered():
        (folder.path / "_run").chmod(0o500)
        try:
            assert refusal(check).startswith(f"may not write to {folder.path.absolute()}")
        finally:
            (folder.path / "_run").chmod(0o700)


@pytest.mark.parametrize("name", ["Python", "gato-toolchain", "apache-beam", "numpy", "pillow", "sentencepiece"])
def test_a_worker_with_another_version(folder: WorkFolder, name: str) -> None:
    check = WorkerCheck.of(folder)
    other = {**versions(), name: "0.0.1"}
    check = dataclasses.replace(check, versions=tuple(other.items()))
    with check.offered():
        assert refusal(check).startswith(f"has {name} {versions()[name]}, and the command has 0.0.1: install the same")


def test_the_code_is_part_of_the_version() -> None:
    assert "0.1.0 (code " in versions()["gato-toolchain"]


def test_a_worker_without_an_input(folder: WorkFolder, tmp_path: Path) -> None:
    check = WorkerCheck.of(folder)
    with check.offered():
        Path("docs-1.jsonl.gz").rename("elsewhere")
        assert refusal(check).startswith(f"does not see the input {tmp_path}/docs-1.jsonl.gz")


def test_a_worker_with_another_input(folder: WorkFolder) -> None:
    check = WorkerCheck.of(folder)
    size = Path("docs-1.jsonl.gz").stat().st_size
    with check.offered():
        Path("docs-1.jsonl.gz").write_bytes(b"")
        assert f"sees 0 bytes of the input {Path.cwd()}/docs-1.jsonl.gz, and the command saw {size}" in refusal(check)


def test_a_worker_without_the_folder_of_the_command(folder: WorkFolder, tmp_path: Path) -> None:
    check = dataclasses.replace(WorkerCheck.of(folder), here=f"{tmp_path}/away")
    with check.offered():
        assert refusal(check).startswith(f"does not see the folder {tmp_path}/away, in which the command was given")


def test_a_worker_that_lacks_a_source(folder: WorkFolder) -> None:
    check = dataclasses.replace(WorkerCheck.of(folder), sources=("no_such_module:Source:x",))
    with check.offered():
        assert refusal(check).startswith("cannot open no_such_module:Source:x: ")


def test_many_inputs_are_looked_at_here_and_there(folder: WorkFolder) -> None:
    inputs = []
    for number in range(450):
        path = Path(f"{number:03d}.txt")
        path.touch()
        inputs.append({"uri": str(path)})
    plan = dataclasses.replace(folder.plan, inputs=tuple(inputs))
    found = [name for name, _ in WorkerCheck.of(WorkFolder(folder.path, plan)).inputs]
    assert 80 < len(found) <= 100 and found[0] == "000.txt" and found[-1] > "440.txt"
    assert WorkerCheck.of(WorkFolder(folder.path, dataclasses.replace(plan, inputs=({"uri": "env"},)))).inputs == ()
