"""Beam's own job service notices no dead worker: the command does, by the files that no longer change."""

from pathlib import Path

import pytest
from clusters import (
    command,
    done_files,
    job_service,
    kill,
    loaded,
    pool_process,
    resumed_from,
    run,
    running,
    said,
    wait_for,
    worker_pool,
)
from conversions import convert, tree

FAULTY = "faulty_source:FaultySource:20?pause=0.3&each=4"


def test_a_job_in_which_nothing_moves_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    with job_service(tmp_path) as jobs:
        words = (FAULTY, "--engine", "portable", "--engine-address", jobs, "--stall-timeout", "2")
        with (
            pool_process(tmp_path) as (pool, process),
            running([*command(*words), "--worker-pools", pool], Path()) as job,
        ):
            wait_for(lambda: len(done_files()) >= 2, 120, "two partitions")
            kill(process)
            assert job.wait(250) == 1, said(job)
            assert "no worker gave a sign of life for" in said(job)
            before, done = loaded(), done_files()
        Path("hurry").touch()
        with worker_pool(tmp_path) as pool:
            again = run(*words, "--worker-pools", pool)
    assert again.returncode == 0, again.stderr
    resumed_from(before, 4, done)
    assert convert(FAULTY, out="local/toy/1.0.0") == 0
    assert tree("local") == tree("out")
