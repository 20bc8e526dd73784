"""What is published beside the code: the source package, its description on an index, the version in each place."""

import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from gato_tokenize import __version__

ROOT = Path(__file__).parents[2]
PACKED = ("gato_tokenize", "pipelines", "gato_model", "tests", "docs", "examples", "benchmarks", "scripts")
PASSING = {"__pycache__", ".hypothesis"}  # what running leaves there
LINKS = re.compile(r"\]\(\s*([^)\s]+)")


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source package, built without the network from links to the checkout, and unpacked."""
    folder = tmp_path_factory.mktemp("sdist")
    (folder / "source").mkdir()
    for path in ROOT.iterdir():
        if path.name in PACKED or path.suffix in (".md", ".cff", ".cfg", ".toml", ".in", ".yml"):
            (folder / "source" / path.name).symlink_to(path)
    for name in ("LICENSE", "Makefile"):
        (folder / "source" / name).symlink_to(ROOT / name)
    words = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", folder, folder / "source"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    (package,) = folder.glob("*.tar.gz")
    with tarfile.open(package) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (top,) = (folder / "unpacked").iterdir()
    return top


def test_the_source_package_holds_every_file(unpacked: Path) -> None:
    files = [path for name in PACKED for path in (ROOT / name).rglob("*") if path.is_file()]
    expected = {path.relative_to(ROOT) for path in files if not PASSING & set(path.parts)}
    packed = {path.relative_to(unpacked) for path in unpacked.rglob("*") if path.is_file()}
    assert expected - packed == set()
    assert {Path(name) for name in ("Makefile", "LICENSE", "CHANGELOG.md", "CITATION.cff", "pyproject.toml")} <= packed


def test_the_source_package_tests_itself(unpacked: Path) -> None:
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/whole/test_golden.py"]
    done = subprocess.run(words, cwd=unpacked, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout


def test_the_description_on_an_index_stands_alone() -> None:
    description = (ROOT / "PACKAGE.md").read_text()
    assert all("://" in target for target in LINKS.findall(description))
    block = re.compile(r"```python\n.*?```", re.S)
    assert block.findall(description) == block.findall((ROOT / "README.md").read_text())


def test_the_version_is_the_same_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    released = re.findall(r"^## (\d\S+) \((\S+)\)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert released[0] == (__version__, citation["date-released"])
    assert citation["version"] == __version__
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
