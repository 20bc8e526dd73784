"""A session cluster of Flink on this machine, without its distribution: a job manager, task managers, a worker pool.

    pip download --no-deps --no-binary :all: apache-flink-libraries==1.20.5
    python -m scripts.cluster.flink apache_flink_libraries-1.20.5.tar.gz FOLDER [-- COMMAND...]

It needs Java 11 or 17. The jars are unpacked into FOLDER, once, and the logs are there. COMMAND runs when all task
managers are there, with ENGINE_ADDRESS and WORKER_POOLS in its environment; then everything is stopped, and the exit
code is that of COMMAND. Without it, the cluster is there until Ctrl-C. With the job server's jar of the same minor
version of Flink and the version of the Python package apache-beam:

    ... -- sh -c 'gato-data convert ... --engine flink --engine-address $ENGINE_ADDRESS --worker-pools $WORKER_POOLS
                  --flink_version 1.20 --flink_job_server_jar beam-runners-flink-1.20-job-server-VERSION.jar'
"""

import argparse
import contextlib
import json
import os
import shutil
import sys
import tarfile
import urllib.request
from pathlib import Path

from scripts.cluster.processes import free_port, programs, run_or_wait, start_worker_pool

# What Flink's own start scripts give Java 17, and how they divide the memory of a small task manager.
_EXPORTS = ("java.base/sun.net.util", "java.rmi/sun.rmi.registry", "java.security.jgss/sun.security.krb5")
_OPENS = (
    "lang", "net", "io", "nio", "lang.reflect", "text", "time", "util", "util.concurrent", "util.concurrent.atomic",
    "util.concurrent.locks",
)  # fmt: skip
_JAVA = [
    *(f"--add-exports={name}=ALL-UNNAMED" for name in _EXPORTS),
    *(f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in _OPENS),
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
]
_MEMORY = {
    "taskmanager.memory.task.heap.size": 268435456,
    "taskmanager.memory.task.off-heap.size": 0,
    "taskmanager.memory.framework.heap.size": 134217728,
    "taskmanager.memory.framework.off-heap.size": 134217728,
    "taskmanager.memory.managed.size": 134217728,
    "taskmanager.memory.network.min": 67108864,
    "taskmanager.memory.network.max": 67108864,
    "taskmanager.memory.jvm-metaspace.size": 268435456,
    "taskmanager.memory.jvm-overhead.min": 201326592,
    "taskmanager.memory.jvm-overhead.max": 201326592,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("libraries", type=Path, help="the source package of apache-flink-libraries")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--task-managers", type=int, default=2)
    parser.add_argument("--slots", type=int, default=2, help="of each task manager")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    java = shutil.which("java")
    if java is None:
        sys.exit("there is no program java on PATH")
    jars = unpacked(arguments.libraries, arguments.folder / "lib")
    rest = free_port()
    configuration = configured(arguments.folder / "conf", rest, arguments.slots)
    classes, options = f"{jars}/*", ["--configDir", str(configuration)]
    with programs(arguments.folder / "logs") as started:
        entry = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
        started.start("job-manager", [java, "-Xmx600m", *_JAVA, "-cp", classes, entry, *options])
        started.wait_for("job manager", lambda: task_managers(rest) is not None)
        entry = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
        memory = [word for name, size in _MEMORY.items() for word in ("-D", f"{name}={size}b")]
        cores = ["-D", f"taskmanager.cpu.cores={arguments.slots}.0"]
        for number in range(arguments.task_managers):
            words = [java, "-Xmx400m", *_JAVA, "-cp", classes, entry, *options, *cores, *memory]
            started.start(f"task-manager-{number}", words)
        started.wait_for("task managers", lambda: task_managers(rest) == arguments.task_managers)
        os.environ["ENGINE_ADDRESS"], os.environ["WORKER_POOLS"] = f"localhost:{rest}", start_worker_pool(started)
        print(f"Flink at {os.environ['ENGINE_ADDRESS']}, worker pool at {os.environ['WORKER_POOLS']}", flush=True)
        return run_or_wait(arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command)


def unpacked(libraries: Path, folder: Path) -> Path:
    """Unpack the jars of the source package, unless they are there."""
    if not folder.exists():
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        with tarfile.open(libraries) as archive:
            for member in archive:
                if member.isfile() and "/deps/lib/" in member.name and member.name.endswith(".jar"):
                    source = archive.extractfile(member)
                    assert source is not None
                    with open(partial / Path(member.name).name, "wb") as target:
                        shutil.copyfileobj(source, target)
        partial.rename(folder)
    return folder


def configured(folder: Path, rest: int, slots: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    lines = {
        "jobmanager.rpc.address": "localhost",
        "jobmanager.rpc.port": free_port(),
        "jobmanager.memory.process.size": "1g",
        "rest.address": "localhost",
        "rest.port": rest,
        "taskmanager.host": "localhost",
        "taskmanager.numberOfTaskSlots": slots,
        "restart-strategy.type": "fixed-delay",  # a dead worker costs what it was writing, not the job
        "restart-strategy.fixed-delay.attempts": 10,
        "restart-strategy.fixed-delay.delay": "5 s",
    }
    text = "".join(f"{name}: {value}\n" for name, value in lines.items())
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    return folder


def task_managers(rest: int) -> int | None:
    """Return how many task managers the job manager knows; None if it does not answer."""
    with contextlib.suppress(OSError, ValueError):
        with urllib.request.urlopen(f"http://localhost:{rest}/taskmanagers", timeout=5) as answer:
            return len(json.load(answer)["taskmanagers"])
    return None


if __name__ == "__main__":
    sys.exit(main())
