"""The built wheel, installed alone into an empty environment, holds the whole of the three packages and works."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from gato_tokenize import Dataset

ROOT = Path(__file__).parents[2]
PACKAGES = ("gato_tokenize", "pipelines", "gato_model")


def run(*words: "str | Path", folder: Path) -> str:
    """The output of a command that must succeed, started in `folder` without Python's environment variables."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run([*map(str, words)], cwd=folder, env=settings, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pip(*words: "str | Path", folder: Path) -> None:
    """Run this environment's pip without the network."""
    run(sys.executable, "-m", "pip", *words, "--no-index", "--no-deps", "--disable-pip-version-check", folder=folder)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: a build leaves `build/` and `*.egg-info`, which a later build would take for sources."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "PACKAGE.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip("wheel", "--no-build-isolation", "--wheel-dir", folder, source, folder=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment: the wheel is installed, its dependencies are seen through a path file.

    Python does not follow path files that lie in the folder of the dependencies, so a checkout that is installed there
    for development stays out of sight.
    """
    environment = tmp_path_factory.mktemp("environment") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", environment, folder=wheel.parent)
    python = environment / "bin" / "python"
    pip("--python", python, "install", wheel, folder=wheel.parent)
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text("".join(f"{path}\n" for path in sys.path if path.endswith("site-packages")))
    return python


def test_every_file_of_the_packages_is_in_the_wheel(wheel: Path) -> None:
    files = [path for name in PACKAGES for path in (ROOT / name).rglob("*") if path.is_file()]
    expected = {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == expected
    assert packed >= {
        "gato_tokenize/models/text.model",
        "pipelines/inspection/templates/report.html",
        *(f"{name}/py.typed" for name in PACKAGES),
    }


def test_it_converts_verifies_and_reports_outside_the_checkout(python: Path, tmp_path: Path) -> None:
    (tmp_path / "line.txt").write_text("Go to the red ball.\n")
    places = run(
        python, "-c", f"import {', '.join(PACKAGES)}; print({'.__file__, '.join(PACKAGES)}.__file__)", folder=tmp_path
    )
    assert [Path(place).is_relative_to(python.parents[1]) for place in places.split()] == [True] * 3, places
    command = python.with_name("gato-data")
    run(command, "convert", "text:line.txt", "--out", "out/toy/1.0.0", folder=tmp_path)
    assert "sound" in run(command, "verify", "--deep", "out/toy/1.0.0", folder=tmp_path)
    run(command, "report", "out/toy/1.0.0", folder=tmp_path)
    assert "line.txt" in (tmp_path / "report.html").read_text()
    assert "usage: gato-tokenize" in run(python.with_name("gato-tokenize"), "--help", folder=tmp_path)


def test_a_package_of_the_page_offers_its_source_beside_the_wheel(python: Path, tmp_path: Path) -> None:
    page = (ROOT / "docs/adding-a-source.md").read_text()
    package = tmp_path / "package"
    package.mkdir()
    for name, kind in (
        ("gato_csv.py", "python"),
        ("test_gato_csv.py", "python notest"),
        ("pyproject.toml", "toml"),
    ):
        (text,) = re.findall(rf"```{kind}\n(.*?)```", page, re.S)
        (package / name).write_text(text)
    pip("wheel", "--no-build-isolation", "--wheel-dir", tmp_path, package, folder=tmp_path)
    (built,) = tmp_path.glob("gato_csv-*.whl")
    pip("--python", python, "install", built, folder=tmp_path)
    for number in range(3):
        (tmp_path / f"{number}.csv").write_text("observation,action\n" + "0.5,0\n" * 4)
    run(python.with_name("gato-data"), "convert", "csv:*.csv", "--out", "out/toy/1.0.0", folder=tmp_path)
    assert len(Dataset.open(tmp_path / "out/toy/1.0.0")) == 3
    shutil.copy(package / "test_gato_csv.py", tmp_path)  # without the module beside it
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "test_gato_csv.py"]
    assert "17 passed" in run(python, *words, folder=tmp_path)
