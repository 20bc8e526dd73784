"""Memory and open files stay bounded, however much data there is."""

import contextlib
import io
import json
import os
import random
import resource
import shutil
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conversions import (
    children,
    command,
    write_lines,
)
from PIL import Image

from gato_tokenize import Dataset
from pipelines.sources import open_source


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    open_source.cache_clear()


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
    """Many files in one partition, or a partition for each; a process may have 64 files open, and no more."""
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
    """Write JSON lines of about 1.5 KB with words of a real text, `size` bytes in all; returns the source."""
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
    """Return the peak of resident bytes of the largest process of a command.

    Each process may write to at most `data_limit` bytes of its own (heap, anonymous maps, stacks). Libraries do not
    count, nor does address space that is only reserved: threads and allocators take gigabytes of that.
    """

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
    """It stays below 1 GB; and of ten times the data, at most a tenth is added to it."""
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
    """Write an archive of at least `size` bytes of photographs of about 1 MB with captions; returns their number."""
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
