"""Engines: a cluster, or a job service on this machine, by one name. Each fills Beam's options; nothing of Beam is
imported."""

import dataclasses
import importlib.util
import re
import shutil
import socket
from collections.abc import Sequence

from gato_tokenize.installing import missing
from pipelines.running.failure import RunnerError

LOCAL = "local"  # watched processes of this command: no engine of Beam's
EMBEDDED = "embed"  # instead of an address: Beam's job service in the process of the command
# Packages that Beam imports where they are installed: half of the time that it takes to import, and 60 MB. They are for
# stores, databases and data frames of its own, and a local run has none.
UNUSED_HERE = ("boto3", "google.cloud.storage", "pandas", "pymongo")
_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:]+\]|[^\s:/]+):(?P<port>\d{1,5})")
_HERE = ("localhost", "127.0.0.1", "[::1]")
_ANSWER_SECONDS = 5.0


@dataclasses.dataclass(frozen=True)
class _Kind:
    """runner: Beam's name of it. address: Beam's option for the address of an engine. told: whether Beam must be told
    where the workers are."""

    runner: str
    address: str
    told: bool = True


ENGINES = {
    "prism": _Kind("PrismRunner", "--job_endpoint={}"),
    "portable": _Kind("PortableRunner", "--job_endpoint={}"),
    "flink": _Kind("FlinkRunner", "--flink_master={}"),
    "spark": _Kind("SparkRunner", "--spark_master_url=spark://{}"),
    "dask": _Kind("apache_beam.runners.dask.dask_runner.DaskRunner", "--dask_client_address=tcp://{}", told=False),
}


@dataclasses.dataclass(frozen=True)
class Engine:
    """Where a conversion runs.

    name: a key of ENGINES. address: HOST:PORT of the engine, or "" for one that Beam starts on this machine. pools:
    HOST:PORT of each of Beam's worker pools, as the engine reaches it; none: the workers are threads of this command.
    Raises RunnerError for what makes no sense.
    """

    name: str
    address: str = ""
    pools: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.name not in ENGINES:
            raise RunnerError(f"--engine is one of {', '.join((LOCAL, *ENGINES))}, not {self.name!r}")
        if self.address and not (self.name == "portable" and self.address == EMBEDDED):
            _split(self.address, "--engine-address")
        for pool in self.pools:
            _split(pool, "--worker-pools")
        if self.pools and not ENGINES[self.name].told:
            raise RunnerError(f"{self.name} has workers of its own: leave out --worker-pools")

    @property
    def runner(self) -> str:
        """Beam's name of the runner."""
        return ENGINES[self.name].runner

    def beam_options(self, given: Sequence[str] = ()) -> list[str]:
        """Return Beam's options for this engine, and after them those that were given, which are left as they are.

        Raises RunnerError if Beam would have to guess: no address, no Prism, no workers that a remote engine can reach.
        """
        if _has(given, "--streaming"):
            raise RunnerError("a conversion ends, so that it is no streaming job: leave out --streaming")
        return [*self._engine(given), *self._workers(given), *given]

    def check(self) -> None:
        """Raise RunnerError if the engine needs a package that is not installed, or if nothing answers there."""
        if self.name == "dask" and importlib.util.find_spec("distributed") is None:
            raise RunnerError(missing("--engine dask", ModuleNotFoundError(name="distributed"), "dask"))
        if self.address and self.address != EMBEDDED:
            host, port = _split(self.address, "--engine-address")
            try:
                socket.create_connection((host.strip("[]"), port), timeout=_ANSWER_SECONDS).close()
            except OSError as error:
                raise RunnerError(
                    f"no {self.name} answers at {self.address} ({error}): start it, or correct --engine-address"
                ) from error

    def _engine(self, given: Sequence[str]) -> list[str]:
        option = ENGINES[self.name].address
        if self.address:
            return [option.format(self.address)]
        known = _has(given, option.partition("=")[0], "--job_endpoint")
        if self.name == "portable" and not known:
            raise RunnerError(
                f"--engine portable needs --engine-address HOST:PORT of a job service, or {EMBEDDED} for one in this"
                " process"
            )
        if self.name == "prism" and not known and not _has(given, "--prism_location"):
            return [f"--prism_location={_prism()}", "--prism_log_level=error"]
        return []

    def _workers(self, given: Sequence[str]) -> list[str]:
        if self.name == "dask" and not _has(given, "--dask_npartitions", "--dask_partition_size"):
            return ["--dask_partition_size=1"]  # else one worker gets 128 partitions
        if not ENGINES[self.name].told or _has(given, "--environment_type"):
            return []
        if self.pools:
            return ["--environment_type=EXTERNAL", f"--environment_config={self.pools[0]}"]
        host = self.address.rpartition(":")[0]
        if host and host not in _HERE:
            raise RunnerError(
                f"the workers of {self.name} on {host} cannot call back this command: start Beam's worker pool on each"
                " of its machines, and give --worker-pools localhost:PORT; or give Beam's own --environment_type"
            )
        return ["--environment_type=LOOPBACK"]


def _split(address: str, option: str) -> tuple[str, int]:
    """Return host and port."""
    found = _ADDRESS.fullmatch(address)
    if not found or not 0 < int(found["port"]) < 2**16:
        raise RunnerError(f"{option} is of the form HOST:PORT, such as localhost:8099, not {address!r}")
    return found["host"], int(found["port"])


def _has(given: Sequence[str], *options: str) -> bool:
    """Return whether one of the options is among the words."""
    return any(word.partition("=")[0] in options for word in given)


def _prism() -> str:
    """Return the path of the program `prism`: Beam would download one without asking."""
    path = shutil.which("prism")
    if path is None:
        raise RunnerError(
            "there is no program prism on PATH: build it as docs/clusters.md says, or give --prism_location FILE, or"
            " --engine-address HOST:PORT of one that runs"
        )
    return path
