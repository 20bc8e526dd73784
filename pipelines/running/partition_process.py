"""A process that writes partitions for a Beam worker: what kills or holds up a candidate there costs that one.

A worker of a cluster holds threads of gRPC, so a fork of it may not work. This process is a fresh one without threads;
it writes each partition in a fork that it watches, as a local run does with a partition that failed.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from pipelines.conversion.work_folder import WorkFolder
from pipelines.running.failure import Failed, Failure, WorkerDiedError
from pipelines.running.limits import Limits
from pipelines.running.write_alone import write_watched

_PROGRAM = "from pipelines.running.partition_process import serve; serve()"


class PartitionProcess:
    """Writes partitions of a work folder, one at a time, in a process that is started at the first.

    The process ends when this one does, or after the partition that it is writing then, which does no harm: whoever
    writes it again writes the same bytes.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder, self._limits = folder, limits
        self._process: subprocess.Popen[str] | None = None

    def write(self, index: int) -> None:
        """Write a partition. Raises WorkerDiedError if a process dies and no candidate is to blame, Failed for what the
        process raises, such as a full disk."""
        process = self._started()
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(f"{index}\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            self.close()
            raise WorkerDiedError(f"the process that wrote partition {index} ended with code {process.returncode}")
        _raise(json.loads(answer))

    def close(self) -> None:
        """End the process. It can be called twice."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _started(self) -> "subprocess.Popen[str]":
        if self._process is None:
            given = [str(self._folder), str(self._limits.stall_timeout), json.dumps(self._limits.memory_limit)]
            words = [sys.executable, "-c", _PROGRAM, *given]
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            self._process = subprocess.Popen(words, text=True, start_new_session=True, **pipes)
        return self._process


def _raise(answer: dict[str, Any]) -> None:
    """Raise what a partition's process reported, if that is an error."""
    if answer["died"] is not None:
        raise WorkerDiedError(answer["died"])
    if answer["failure"] is not None:
        raise Failed(Failure(*answer["failure"]))


def serve() -> None:
    """Write the partitions whose numbers come on standard input, a line each, until it ends; answer each by a line."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    folder = WorkFolder.open(Path(sys.argv[1]))
    limits = Limits(float(sys.argv[2]), json.loads(sys.argv[3]))
    for line in sys.stdin:
        answer: dict[str, Any] = {"died": None, "failure": None}
        try:
            write_watched(folder, int(line), limits)
        except WorkerDiedError as error:
            answer["died"] = str(error)
        except Failed as error:
            answer["failure"] = error.failure
        print(json.dumps(answer), file=answers, flush=True)
