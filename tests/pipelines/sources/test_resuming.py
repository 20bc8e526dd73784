"""Every source, killed in the middle and resumed: the bytes of a conversion that was left alone."""

import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from clusters import kill, running, said
from conversions import tree
from killed import done_files, killed_and_resumed, redone_nothing, wait_until_done, write
from source_inputs import INPUTS

from pipelines.sources import pieces, with_options

OWN = """
import numpy as np

def episodes():
    for i in range(6):
        yield {"observations": {"arm": np.full((3, 2), i / 8)}, "actions": [0.5, 0.25, i / 8]}
"""
REJECTS = "1"  # in the lines of text


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """There, files of a few bytes make several partitions."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pieces, "PIECE_BYTES", 1)
    monkeypatch.syspath_prepend(tmp_path)
    Path("own_episodes.py").write_text(OWN)
    yield
    sys.modules.pop("own_episodes", None)


def made(name: str) -> str:
    """Write the input of a source below a folder of its name; returns the source."""
    if name == "python":
        return "python:own_episodes:episodes"
    return INPUTS[name](Path(name)).format(name)


@pytest.mark.parametrize("name", [*INPUTS, "python"])
def test_killed_at_any_step(name: str) -> None:
    killed_and_resumed([made(name)], REJECTS)


# The command with partitions of a few bytes; its workers find them in the plan.
SMALL = """import sys
from pipelines.__main__ import main
from pipelines.sources import pieces
pieces.PIECE_BYTES = 1
sys.exit(main())"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_command_that_converts_all_of_them(workers: str) -> None:
    sources = [with_options(made(name), {"task": name}) for name in INPUTS] + [made("python")]
    write(sources, "whole/toy/1.0.0", rejects=REJECTS)
    partitions = len(done_files("whole"))
    words = [sys.executable, "-c", SMALL, "convert", *sources, "--max-rejects", REJECTS, "--workers", workers]
    words += ["--out", "out/toy/1.0.0"]
    with running(words, Path()) as process:
        wait_until_done(random.Random(workers).randint(partitions // 4, partitions // 2))
        kill(process)
    assert not Path("out/toy/1.0.0").exists(), said(process)
    done = done_files()
    with running(words, Path()) as process:
        assert process.wait(300) == 0, said(process)
    redone_nothing(done)
    assert tree("out") == tree("whole")
