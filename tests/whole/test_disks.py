"""Full disks, read-only folders, places that cannot be a folder: one line says so, and the same command goes on."""

import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conversions import (
    command,
    convert,
    everything,
    tree,
    write_documents,
)

from gato_tokenize import Dataset
from gato_tokenize.storage.durable import TEMPORARY
from pipelines.__main__ import main
from pipelines.sources import open_source

PAGE = 4096  # bytes: a file on a tmpfs takes whole pages


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    open_source.cache_clear()


class Disk:
    """A file system of its own at `disk/`, of a size that can be changed."""

    def __init__(self) -> None:
        Path("disk").mkdir()

    def mount(self, **options: Any) -> None:
        words = ["mount", "-t", "tmpfs", "-o", _options(options), "tmpfs", "disk"]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")

    def remount(self, *flags: str, **options: Any) -> None:
        subprocess.run(["mount", "-o", ",".join(["remount", *flags, _options(options)]), "disk"], check=True)

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", "disk"], check=False, capture_output=True)


def _options(options: dict[str, Any]) -> str:
    return ",".join(f"{name}={value}" for name, value in options.items())


@pytest.fixture
def disk() -> Iterator[Disk]:
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("mounting a small file system needs root")
    made = Disk()
    try:
        yield made
    finally:
        made.unmount()


ONE_LINE = re.compile(
    r"([\d:]{8} \d+ episodes? read, [\d.]+/s, [\d.,]+ \w+ written, \d+ of \d+ shards(, about [\d:]+ left)?\n)*"
    r"gato-data: (OSError: )?\[Errno \d+\] [^\n]+\. What is done is kept: mend it and give the same command again\n"
    r"([\d:]{8} \d+ episodes? read, [\d.]+/s, [\d.,]+ \w+ written, \d+ of \d+ shards(, about [\d:]+ left)?\n)*"
)


def refused_by_the_disk(words: list[str], name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Check that a conversion into disk/ ends with exit code 1, one line that holds `name`, and no half file."""
    capsys.readouterr()
    assert convert(*words, out="disk/toy/1.0.0") == 1
    errors = capsys.readouterr().err
    assert ONE_LINE.fullmatch(errors) and name in errors, errors
    assert not Path("disk/toy/1.0.0").exists()
    assert not [path for path in tree("disk") if TEMPORARY in path]


@pytest.fixture
def failed(monkeypatch: pytest.MonkeyPatch) -> Callable[[], set[str]]:
    """The kinds of files whose writing failed before it is called, known by the removal of their temporaries."""
    unlink, log = Path.unlink, Path("failed").resolve()  # the pipeline's process has no other way to report
    log.touch()

    def spy(path: Path, missing_ok: bool = False) -> None:
        if TEMPORARY in path.name:
            kind = re.sub(r"\d{5}(-of-\d{5})?", "N", path.name.split(TEMPORARY)[0].removeprefix("."))
            log.write_text(f"{log.read_text()}{kind}\n")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", spy)
    return lambda: set(log.read_text().split())


KINDS = {
    *("text.model", "spec.json", "plan.json", "part-N.jsonl", "part-N.done.json", "part-N.episodes.jsonl.gz"),
    *(f"toy-{split}.tfrecord-N{end}" for split in ("train", "validation") for end in ("", ".idx")),
    *(
        "README.md",
        "croissant.json",
        "stats.json",
        "features.json",
        "dataset_info.json",
        "episodes.jsonl.gz",
        "manifest.json",
    ),
}


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_a_full_disk_that_grows(
    disk: Disk, step: int, capsys: pytest.CaptureFixture[str], failed: Callable[[], set[str]]
) -> None:
    """The same command gets further each time, and to the same bytes in the end."""
    words = everything()
    assert convert(*words, out="whole/toy/1.0.0") == 0
    disk.mount(size=PAGE)
    for size in range(1, 300, step):
        disk.remount(size=size * PAGE)
        if _finishes(words, capsys):
            break
    assert len(failed()) >= 5 and failed() <= KINDS, failed()
    assert tree("disk") == tree("whole")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_disk_that_is_full_at_every_stage(
    disk: Disk, capsys: pytest.CaptureFixture[str], failed: Callable[[], set[str]]
) -> None:
    """Disks of every size, each enlarged after it was full: writing of each kind of file fails at one of them."""
    words = everything()
    assert convert(*words, out="whole/toy/1.0.0") == 0
    for size in itertools.count(1):
        disk.mount(size=size * PAGE)
        finished = _finishes(words, capsys)
        disk.remount(size="64m")
        assert convert(*words, out="disk/toy/1.0.0") == 0
        assert tree("disk") == tree("whole")
        disk.unmount()
        if finished:
            break
    # stats.json is written first after the partitions, into room that their temporary files leave: it may always fit.
    assert failed() | {"stats.json"} == KINDS, KINDS ^ failed()


def _finishes(words: list[str], capsys: pytest.CaptureFixture[str]) -> bool:
    capsys.readouterr()
    code = convert(*words, out="disk/toy/1.0.0")
    errors = capsys.readouterr().err
    assert (code == 0) == Path("disk/toy/1.0.0").exists()
    assert not [path for path in tree("disk") if TEMPORARY in path]
    assert code == 0 or (code == 1 and ONE_LINE.fullmatch(errors) and "No space left on device" in errors), errors
    return code == 0


@pytest.mark.parametrize("pages", [2, 30])
def test_a_full_disk_that_is_enlarged_once(disk: Disk, pages: int, capsys: pytest.CaptureFixture[str]) -> None:
    words = everything()
    assert convert(*words, out="whole/toy/1.0.0") == 0
    disk.mount(size=pages * PAGE)
    refused_by_the_disk(words, "No space left on device", capsys)
    disk.remount(size="64m")
    assert convert(*words, out="disk/toy/1.0.0") == 0
    assert tree("disk") == tree("whole")


@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_a_disk_without_room_for_another_name(disk: Disk, step: int, capsys: pytest.CaptureFixture[str]) -> None:
    """It has bytes enough, but no inodes: files cannot be made, while those that are open can be written."""
    words = everything()
    assert convert(*words, out="whole/toy/1.0.0") == 0
    disk.mount(size="64m", nr_inodes=2)
    for inodes in range(2, 200, step):
        disk.remount(nr_inodes=inodes)
        if _finishes(words, capsys):
            break
    assert inodes > 20 and tree("disk") == tree("whole")


def test_a_full_disk_under_two_workers(disk: Disk, tmp_path: Path) -> None:
    words = everything()
    assert convert(*words, out="whole/toy/1.0.0") == 0
    disk.mount(size=28 * PAGE)
    words = command(*words, "--workers", "2", out="disk/toy/1.0.0")
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and ONE_LINE.fullmatch(done.stderr) and "No space left" in done.stderr, done.stderr
    assert not Path("disk/toy/1.0.0").exists()
    disk.remount(size="64m")
    subprocess.run(words, check=True, capture_output=True, timeout=120)
    assert tree("disk") == tree("whole")


def test_a_read_only_folder(disk: Disk, capsys: pytest.CaptureFixture[str]) -> None:
    """Refused at the start, in the middle and before publishing: nothing changes, and made writable it goes on."""
    words = everything()
    assert convert(*words, out="whole/toy/1.0.0") == 0
    disk.mount(size="64m")
    unpublished = [word if word != "1" else "0%" for word in words]  # a share is judged at the end
    for prepare in (None, "middle", "unpublished"):
        if prepare == "middle":
            disk.remount(size=30 * PAGE)
            refused_by_the_disk(words, "No space left on device", capsys)
            disk.remount(size="64m")
        if prepare == "unpublished":
            assert convert(*unpublished, out="disk/toy/1.0.0") == 3
        before = tree("disk")
        disk.remount("ro")
        refused_by_the_disk(words, "Read-only file system", capsys)
        assert tree("disk") == before
        disk.remount("rw")
    assert convert(*words, out="disk/toy/1.0.0") == 0
    disk.remount("ro")
    assert tree("disk") == tree("whole")
    assert convert(*words, out="disk/toy/1.0.0") == 0, "what is there already needs no writing"
    assert main(["verify", "disk/toy/1.0.0"]) == 0
    assert len(list(Dataset.open("disk/toy/1.0.0").records())) > 10


@pytest.mark.parametrize("place", ["a-file/toy/1.0.0", "/dev/null/toy/1.0.0", "/proc/toy/1.0.0"])
def test_an_output_that_cannot_be_a_folder(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a-file").write_text("precious")
    assert convert(write_documents(), out=place) in (1, 2)
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and "[Errno" in errors and "Traceback" not in errors
    assert Path("a-file").read_text() == "precious"
