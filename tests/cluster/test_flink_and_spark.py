"""Conversions on Flink and Spark, where Beam's job server is to be had: jars that FLINK_JOB_SERVER and SPARK_JOB_SERVER
name, the source package of apache-flink-libraries that FLINK_LIBRARIES names, and the package pyspark."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from clusters import ROOT, environment
from conversions import convert, slow_source, tree, write_documents


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def given(name: str) -> str:
    """Return the path that a variable of the environment has, or skip the test."""
    path = os.environ.get(name, "")
    if not Path(path).is_file():
        pytest.skip(f"{name} names no file: docs/clusters.md says where it comes from")
    return path


def session(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", *words], env=environment(ROOT), timeout=500, capture_output=True, text=True, check=False
    )


def test_a_session_cluster_of_flink_comes_up_and_is_stopped(tmp_path: Path) -> None:
    asked = "from urllib.request import urlopen; import os; print(urlopen('http://' + os.environ['ENGINE_ADDRESS'] +"
    words = ["--", sys.executable, "-c", f"{asked} '/overview').read().decode())"]
    done = session("scripts.cluster.flink", given("FLINK_LIBRARIES"), str(tmp_path / "flink"), *words)
    assert done.returncode == 0 and '"taskmanagers":2' in done.stdout, done.stdout + done.stderr


def test_a_cluster_of_spark_comes_up_and_is_stopped(tmp_path: Path) -> None:
    if importlib.util.find_spec("pyspark") is None:
        pytest.skip("the package pyspark is not installed")
    done = session("scripts.cluster.spark", str(tmp_path / "spark"), "--", "true")
    assert done.returncode == 0 and "Spark at localhost:" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("engine", ["flink", "spark"])
def test_the_same_bytes(engine: str, tmp_path: Path) -> None:
    jar = given(f"{engine.upper()}_JOB_SERVER")
    cluster = [given("FLINK_LIBRARIES")] if engine == "flink" else []
    words = (write_documents(), slow_source(30), "--validation-fraction", "0.3")
    assert convert(*words, out="local/toy/1.0.0") == 0
    made = "remote/toy/1.0.0"
    command = f"{sys.executable} -m pipelines convert '{words[0]}' '{words[1]}' {words[2]} {words[3]} --out {made}"
    engines = f"--engine {engine} --engine-address $ENGINE_ADDRESS --worker-pools $WORKER_POOLS"
    own = f"--{engine}_job_server_jar {jar}" + (" --flink_version 1.20 --parallelism 2" if engine == "flink" else "")
    done = session(
        f"scripts.cluster.{engine}", *cluster, str(tmp_path / engine), "--", "sh", "-c", f"{command} {engines} {own}"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert tree("local") == tree("remote")
