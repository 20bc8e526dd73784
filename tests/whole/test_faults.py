"""Faults of the machine: full disks, read-only folders, kills at every step, limits of memory and of open files; and
that nothing of the machine shows in the bytes. Each test failed once, when its promise was broken on purpose."""

import contextlib
import glob
import io
import itertools
import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conversions import (
    children,
    command,
    convert,
    minari_file,
    slow_source,
    tree,
    write_documents,
    write_lines,
    write_pictures,
)
from PIL import Image

from gato_tokenize import Dataset, train_text_model
from gato_tokenize.storage.durable import TEMPORARY
from pipelines.__main__ import main
from pipelines.sources import open_source

PAGE = 4096  # bytes: a file on a tmpfs takes whole pages


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    open_source.cache_clear()


# ------------------------------------------------------------------------------------------------------ the disk


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


def small_model() -> list[str]:
    """The options for a text model of a few KB: the shipped one would be nearly all that is written."""
    Path("corpus.txt").write_text("the quick brown fox jumps over a lazy dog\n" * 50)
    train_text_model([Path("corpus.txt")], Path("small.model"), vocabulary_size=300)
    return ["--text-model", "small.model"]


def everything() -> list[str]:
    """Sources and options that make every kind of file: two splits, three partitions and a picture's, a reject."""
    documents = write_documents(120)
    lines = [json.dumps({"text": "a lazy dog " * 2000}) for _ in range(2)]  # a shard of several pages
    write_lines("docs-1.jsonl.gz", [*lines, "broken"])
    return [documents, write_pictures(3), "--validation-fraction", "0.3", "--max-rejects", "1", *small_model()]


ONE_LINE = re.compile(
    r"(\d+/\d+ shards, \d+ episodes, [\d.]+/s\n)*"
    r"gato-data: (OSError: )?\[Errno \d+\] [^\n]+\. What is done is kept: mend it and give the same command again\n"
    r"(\d+/\d+ shards, \d+ episodes, [\d.]+/s\n)*"
)


def refused_by_the_disk(words: list[str], name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Check that a conversion into disk/ ends with exit code 1 and one line with `name` in it, and leaves no half file."""
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
    *("stats.json", "features.json", "dataset_info.json", "episodes.jsonl.gz", "manifest.json"),
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
    assert failed() == KINDS, KINDS - failed()


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
    unpublished = [word if word != "1" else "0" for word in words]
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


# ------------------------------------------------------------------------------------------ killed at every step

KILLED = """
import mmap, os, signal, sys
from pipelines.__main__ import main

step, words = int(sys.argv[1]), sys.argv[2:]
every = step
while True:
    child = os.fork()  # nothing is imported again
    if not child:
        os.setpgid(0, 0)
        count = mmap.mmap(-1, 8)  # shared with the process of the pipeline

        def counted(call):
            def until(*arguments, **named):
                count[:] = (int.from_bytes(count[:], "little") + 1).to_bytes(8, "little")
                if int.from_bytes(count[:], "little") == every:
                    os.killpg(0, signal.SIGKILL)
                return call(*arguments, **named)
            return until

        for name in ("replace", "fsync", "rename", "mkdir"):
            setattr(os, name, counted(getattr(os, name)))
        sys.stdout = open(os.devnull, "w")
        os._exit(main(words))
    _, status = os.waitpid(child, 0)
    print(every, status, flush=True)
    input()  # the parent looks at what is there
    if status == 0:
        break
    every += step
"""


@pytest.mark.parametrize("step", [17, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(3000)])])
def test_killed_before_each_sync_and_each_rename(step: int) -> None:
    """At every one of the instants at which the state of the disk changes: no final folder, and the run goes on."""
    words = everything()
    assert convert(*words, out="whole/toy/1.0.0") == 0
    whole = tree("whole")
    script = [sys.executable, "-c", KILLED, str(step), "convert", *words, "--out", "out/toy/1.0.0"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    kills = 0
    with subprocess.Popen(script, text=True, **pipes) as process:
        assert process.stdin and process.stdout
        for line in process.stdout:
            status = int(line.split()[1])
            if Path("out/toy/1.0.0").exists():
                assert tree("out") == whole  # killed after the last rename, or not killed
            if status:
                assert status == 9
                kills += 1
                assert convert(*words) == 0
                assert tree("out") == whole
            shutil.rmtree("out")
            process.stdin.write("\n")
            process.stdin.flush()
    assert status == 0 and kills >= 60 // step


# ------------------------------------------------------------------------------------------- bounded by no number


def descriptors(process: "subprocess.Popen[Any]") -> int:
    """Return the most files that a process, or one below it, has open at once until it ends."""
    most = 0
    while process.poll() is None:
        with contextlib.suppress(OSError):
            for pid in (process.pid, *children(process.pid)):
                most = max(most, len(os.listdir(f"/proc/{pid}/fd")))
        time.sleep(0.005)
    return most


@pytest.mark.parametrize("suffix", [".txt", ".jsonl.gz"])
def test_open_files_do_not_grow_with_the_inputs(suffix: str) -> None:
    """Many files in one partition, and as many partitions as files; 64 are all that the process may have open."""
    most = {}
    for count in (10, 200):
        Path(f"in-{count}").mkdir()
        for number in range(count):
            if suffix == ".txt":
                Path(f"in-{count}/{number}.txt").write_text(f"document {number}")
            else:
                write_lines(f"in-{count}/{number}{suffix}", [json.dumps({"text": f"document {number}"})])
        words = command(f"text:in-{count}/*{suffix}", out=f"out/toy/1.0.{count}")

        def limited() -> None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

        process = subprocess.Popen(words, preexec_fn=limited, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        most[count] = descriptors(process)
        assert process.communicate()[1] is not None and process.returncode == 0
        assert Dataset.open(f"out/toy/1.0.{count}").manifest["episodes"]["written"] == count
    assert 3 < most[10] and most[200] <= most[10] + 4, most


def write_corpus(path: str, size: int) -> str:
    """JSON lines of about 1.5 KB with words of a real text, `size` bytes in all."""
    from pydoc_data.topics import topics

    words = " ".join(topics.values()).split()
    generator = random.Random(0)
    with open(path, "w") as file:
        while file.tell() < size:
            pieces = []
            for _ in range(500):
                start = generator.randrange(len(words) - 400)
                pieces.append(
                    json.dumps({"text": " ".join(words[start : start + generator.randrange(50, 400)])}) + "\n"
                )
            file.write("".join(pieces))
    return f"text:{path}"


def peak(words: list[str], data_limit: int) -> int:
    """Bytes resident at most of the largest process of a command, each of which must do with at most `data_limit` bytes
    of its own to write to: heap and anonymous maps, stacks too; not the libraries, nor address space that is only
    reserved, of which threads and allocators take gigabytes."""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (data_limit, data_limit))

    process = subprocess.Popen(words, preexec_fn=limited, stdout=subprocess.DEVNULL)
    most = 0
    while process.poll() is None:
        with contextlib.suppress(OSError, IndexError):  # getrusage would begin with this process's own
            for pid in (process.pid, *children(process.pid)):
                most = max(most, int(Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0]))
        time.sleep(0.02)
    assert process.returncode == 0
    return most * 1024


@pytest.mark.parametrize("megabytes", [8, pytest.param(500, marks=[pytest.mark.slow, pytest.mark.timeout(3000)])])
def test_memory_does_not_grow_with_the_data(megabytes: int) -> None:
    """Within 1 GB at most; and ten times the data takes no more than a tenth of it would take in memory besides."""
    sizes = (megabytes * 10**5, megabytes * 10**6)
    peaks = []
    for number, size in enumerate(sizes):
        source = write_corpus(f"{number}.jsonl", size)
        peaks.append(peak(command(source, out=f"out/toy/1.0.{number}"), 10**9))
        assert Dataset.open(f"out/toy/1.0.{number}").manifest["episodes"]["rejected"] == {}
        Path(f"{number}.jsonl").unlink()
        print(f"{size / 1e6:.1f} MB of text: {peaks[-1] / 1e6:.0f} MB resident at most")
    assert peaks[1] < 500e6
    assert peaks[1] - peaks[0] < max(20e6, 0.1 * (sizes[1] - sizes[0]))


def write_photographs(path: str, size: int) -> int:
    """An archive of at least `size` bytes, of photographs of about 1 MB with captions; returns how many."""
    generator = np.random.default_rng(0)
    photographs = []
    for _ in range(8):
        out = io.BytesIO()
        noise = generator.integers(0, 256, (512, 704, 3), dtype=np.uint8)
        Image.fromarray(noise).save(out, "JPEG", quality=100, subsampling=0)
        photographs.append(out.getvalue())
    written = number = 0
    with tarfile.open(path, "w") as archive:
        while written < size:
            for name, data in (
                (f"{number:06d}.jpg", photographs[number % 8]),
                (f"{number:06d}.txt", f"noise number {number}".encode()),
            ):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
                written += len(data)
            number += 1
    return number


@pytest.mark.parametrize("megabytes", [20, pytest.param(4000, marks=[pytest.mark.slow, pytest.mark.timeout(3000)])])
def test_four_gigabytes_within_one(megabytes: int) -> None:
    """Each process has at most 1 GB to write to, and takes less than half of it."""
    try:
        counts = [write_photographs(f"{number}.tar", megabytes * 10**6 // 4) for number in range(4)]
        started = time.monotonic()
        most = peak(command("image-text:*.tar"), 10**9)
        took = time.monotonic() - started
        dataset = Dataset.open("out/toy/1.0.0")
        assert dataset.manifest["episodes"]["written"] == len(dataset) == sum(counts)
        assert most < 500e6
        print(f"{megabytes} MB of photographs: {most / 1e6:.0f} MB resident at most, {megabytes / took:.0f} MB/s")
    finally:  # pytest keeps the folders of its last runs
        for path in (*Path().glob("*.tar"), Path("out")):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


# ------------------------------------------------------------------------------------------------- the same bytes


def sources_of_all_kinds() -> list[str]:
    return [write_documents(), write_pictures(), minari_file("none"), slow_source(2)]


def test_the_machine_does_not_show_in_the_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another folder, order of listing, age of the inputs, day, umask, hash seed, locale, time zone, user, home."""
    pytest.importorskip("h5py")
    words = [*sources_of_all_kinds(), "--validation-fraction", "0.3"]
    assert convert(*words, out="out/toy/1.0.0") == 0
    away = Path("else/where")
    away.mkdir(parents=True)
    inputs = [path for path in Path().iterdir() if path.name not in ("out", "else")]
    for path in sorted(inputs, reverse=True):  # made in another order, and long ago
        (shutil.copytree if path.is_dir() else shutil.copyfile)(path, away / path.name)
    for path in away.rglob("*"):
        os.utime(path, (10**9, 10**9))
    strange = {
        **os.environ,
        **{"PYTHONHASHSEED": "3", "TZ": "Pacific/Kiritimati", "LC_ALL": "C", "LANG": "tr_TR.UTF-8"},
        **{"HOME": str(away.resolve()), "USER": "nobody", "PYTHONOPTIMIZE": "1", "OMP_NUM_THREADS": "1"},
    }
    subprocess.run(command(*words), check=True, cwd=away, env=strange, capture_output=True, timeout=120, umask=0o077)
    assert tree("out") == tree("else/where/out")


def test_the_order_of_listing_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "bca":
        Path(f"{name}.txt").write_text(f"document {name}")
    assert convert("text:*.txt") == 0
    listed = glob.glob
    orders = []

    def other_way(pattern: str, recursive: bool = False) -> list[str]:
        orders.append(listed(pattern, recursive=recursive))
        return orders[-1][::-1]

    monkeypatch.setattr(glob, "glob", other_way)
    assert convert("text:*.txt", out="again/toy/1.0.0") == 0
    assert orders and tree("out") == tree("again")


def test_the_day_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_documents()
    assert convert(source) == 0
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 40 * 365 * 86400)
    assert convert(source, out="again/toy/1.0.0") == 0
    assert tree("out") == tree("again")
