"""A standalone cluster of Spark on this machine, from the package pyspark: a master, workers, a worker pool of Beam.

    pip install 'pyspark==3.5.*'
    python -m scripts.cluster.spark FOLDER [-- COMMAND...]

It needs Java 8, 11 or 17. The logs are in FOLDER. COMMAND runs when the workers are there, with ENGINE_ADDRESS and
WORKER_POOLS in its environment; then everything is stopped, and the exit code is that of COMMAND. Without it, the
cluster is there until Ctrl-C. With Beam's job server in the version of the Python package apache-beam:

    ... -- sh -c 'gato-data convert ... --engine spark --engine-address $ENGINE_ADDRESS --worker-pools $WORKER_POOLS
                  --spark_version 3 --spark_job_server_jar beam-runners-spark-3-job-server-VERSION.jar'
"""

import argparse
import contextlib
import importlib.util
import json
import os
import sys
import urllib.request
from pathlib import Path

from scripts.cluster.processes import free_port, programs, run_or_wait, start_worker_pool


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cores", type=int, default=1, help="of each worker")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    found = importlib.util.find_spec("pyspark")
    if found is None or found.origin is None:
        sys.exit("the package pyspark is not installed: pip install 'pyspark==3.5.*'")
    home = Path(found.origin).parent
    start = [str(home / "bin/spark-class")]
    variables = {"SPARK_HOME": str(home)}
    port, page = free_port(), free_port()
    with programs(arguments.folder) as started:
        place = ["-h", "localhost", "--port", str(port), "--webui-port", str(page)]
        started.start("master", [*start, "org.apache.spark.deploy.master.Master", *place], variables)
        started.wait_for("master", lambda: workers(page) is not None)
        for number in range(arguments.workers):
            entry = "org.apache.spark.deploy.worker.Worker"
            size = ["-c", str(arguments.cores), "-m", "1g", "-d", str((arguments.folder / f"work-{number}").absolute())]
            words = [*start, entry, *size, "--webui-port", "0", f"spark://localhost:{port}"]
            started.start(f"worker-{number}", words, variables)
        started.wait_for("workers", lambda: workers(page) == arguments.workers)
        os.environ["ENGINE_ADDRESS"], os.environ["WORKER_POOLS"] = f"localhost:{port}", start_worker_pool(started)
        print(f"Spark at {os.environ['ENGINE_ADDRESS']}, worker pool at {os.environ['WORKER_POOLS']}", flush=True)
        return run_or_wait(arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command)


def workers(page: int) -> int | None:
    """Return how many workers the master knows; None if it does not answer."""
    with contextlib.suppress(OSError, ValueError):
        with urllib.request.urlopen(f"http://localhost:{page}/json/", timeout=5) as answer:
            return int(json.load(answer)["aliveworkers"])
    return None


if __name__ == "__main__":
    sys.exit(main())
