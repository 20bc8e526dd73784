"""Beam's own job service notices no dead worker: the command does, by the files that no longer change."""

from pathlib import Path

import pytest
from clusters import (
    command,
    job_service,
    kill,
    pool_process,
    running,
    said,
    worker_pool,
)
from killed import goes_on, wait_until_done

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
            wait_until_done(2)
            kill(process)
            assert job.wait(250) == 1, said(job)
            assert "no worker gave a sign of life for" in said(job)
        with worker_pool(tmp_path) as pool:
            goes_on(FAULTY, 4, *words[1:], "--worker-pools", pool)
