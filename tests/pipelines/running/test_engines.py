"""What an engine tells Beam."""

import pytest

from pipelines.running.engines import ENGINES, Engine
from pipelines.running.failure import RunnerError

POOLS = ("localhost:5001", "localhost:5002")


@pytest.mark.parametrize(
    ("engine", "options"),
    [
        (Engine("portable", "embed"), ["--job_endpoint=embed", "--environment_type=LOOPBACK"]),
        (Engine("prism", "127.0.0.1:8073"), ["--job_endpoint=127.0.0.1:8073", "--environment_type=LOOPBACK"]),
        (
            Engine("flink", "jobs.example:8081", POOLS[:1]),
            [
                "--flink_master=jobs.example:8081",
                "--environment_type=EXTERNAL",
                "--environment_config=localhost:5001",
            ],
        ),
        (
            Engine("spark", "[::1]:7077"),
            ["--spark_master_url=spark://[::1]:7077", "--environment_type=LOOPBACK"],
        ),
        (Engine("dask", "h:8786"), ["--dask_client_address=tcp://h:8786", "--dask_partition_size=1"]),
        (Engine("dask"), ["--dask_partition_size=1"]),
    ],
    ids=lambda value: value.name if isinstance(value, Engine) else "",
)
def test_the_options_of_each(engine: Engine, options: list[str]) -> None:
    assert engine.beam_options() == options
    assert engine.beam_options(["--parallelism=3"]) == [*options, "--parallelism=3"]


def test_what_is_given_is_left_as_it_is() -> None:
    given = ["--environment_type", "DOCKER", "--parallelism=2"]
    assert Engine("flink", "h:1").beam_options(given) == ["--flink_master=h:1", *given]
    given = ["--job_endpoint=h:1", "--environment_type=PROCESS"]
    assert Engine("portable").beam_options(given) == given
    given = ["--dask_npartitions=4"]
    assert Engine("dask").beam_options(given) == given
    given = ["--prism_location=here/prism"]
    assert Engine("prism").beam_options(given) == ["--environment_type=LOOPBACK", *given]


def test_prism_is_found_on_the_path_and_never_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    program = tmp_path / "prism"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert f"--prism_location={program}" in Engine("prism").beam_options()
    program.unlink()
    with pytest.raises(RunnerError, match="no program prism on PATH"):
        Engine("prism").beam_options()


def test_workers_that_cannot_call_back_are_refused() -> None:
    with pytest.raises(RunnerError, match="the workers of flink on far cannot call back.*--worker-pools"):
        Engine("flink", "far:8081").beam_options()


@pytest.mark.parametrize(
    ("name", "address", "pools"),
    [
        ("beam", "", ()),
        ("flink", "localhost", ()),
        ("flink", "localhost:99999", ()),
        ("flink", "embed", ()),
        ("flink", "http://localhost:8081", ()),
        ("prism", "localhost:1", ("localhost",)),
        ("dask", "", POOLS),
    ],
)
def test_nonsense_is_refused(name: str, address: str, pools: tuple[str, ...]) -> None:
    with pytest.raises(RunnerError):
        Engine(name, address, pools)


def test_beam_knows_every_runner_and_option() -> None:
    """A renamed option would pass through Beam's parser unseen, and do nothing."""
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.runner import create_runner

    for name, kind in ENGINES.items():
        if name == "dask":
            pytest.importorskip("distributed")
        assert type(create_runner(kind.runner)).__name__.lower() == f"{name}runner"
        given = PipelineOptions([kind.address.format("h:1")])
        assert "h:1" in str(given.get_all_options(drop_default=True))
    assert len({kind.runner for kind in ENGINES.values()}) == len(ENGINES)
