"""Advice on installing works where the user stands: in a checkout, or with what a wheel's metadata lists."""

import importlib.metadata
import json
import shlex
from pathlib import Path

import pytest

from gato_tokenize import installing
from gato_tokenize.installing import how_to_install, missing

ROOT = Path(__file__).parents[2]
REQUIRES = [
    "numpy<2.5,>=2.0",
    'h5py<3.15,>=3.11; extra == "minari"',
    "pyarrow<26,>=16; python_version >= '3.11' and extra == 'minari'",
    'zstandard>=0.22; extra == "image-text"',
    'zstandard>=0.22; extra == "text"',
]


class Wheel(importlib.metadata.Distribution):
    """The metadata of an installation, with what pip noted about its origin."""

    def __init__(self, origin: object = None) -> None:
        self.noted = origin

    def read_text(self, filename: str) -> str | None:
        if filename == "METADATA":
            return "\n".join(["Name: gato-toolchain", *(f"Requires-Dist: {one}" for one in REQUIRES)])
        return json.dumps(self.noted) if self.noted and filename == "direct_url.json" else None

    def locate_file(self, path: object) -> Path:
        raise NotImplementedError


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Wheel:
    wheel = Wheel()
    monkeypatch.setattr(installing, "_HOME", tmp_path / "site-packages")
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: wheel)
    return wheel


def test_in_a_checkout() -> None:
    assert how_to_install("minari", "h5py") == f"pip install -e {shlex.quote(f'{ROOT}[minari]')}"
    assert how_to_install("rlds", "google") == "pip install google"  # there is no such extra


def test_from_a_wheel(installed: Wheel) -> None:
    assert how_to_install("minari") == "pip install 'h5py<3.15,>=3.11' 'pyarrow<26,>=16'"
    assert how_to_install("image_text") == "pip install 'zstandard>=0.22'"
    assert how_to_install("rlds", "google") == "pip install google"


def test_from_a_wheel_that_was_a_file(installed: Wheel) -> None:
    installed.noted = {"url": "file:///tmp/gato_toolchain-0.1.0-py3-none-any.whl", "archive_info": {}}
    assert how_to_install("text") == "pip install 'zstandard>=0.22'"


def test_from_a_checkout_that_was_installed(installed: Wheel, tmp_path: Path) -> None:
    checkout = tmp_path / "my checkout"
    installed.noted = {"url": checkout.as_uri(), "dir_info": {}}
    assert how_to_install("text") == "pip install 'zstandard>=0.22'"  # it is gone
    checkout.mkdir()
    (checkout / "setup.cfg").write_text((ROOT / "setup.cfg").read_text(encoding="utf-8"), encoding="utf-8")
    assert how_to_install("text") == f"pip install '{checkout}[text]'"


def test_without_metadata(installed: Wheel, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", fail)
    assert how_to_install("text", "zstandard") == "pip install zstandard"


def test_what_is_missing_is_named() -> None:
    error = ModuleNotFoundError("No module named 'rich.console'", name="rich.console")
    assert missing("inspect", error, "inspect") == (
        f"inspect needs the package rich: {how_to_install('inspect')} installs it"
    )


def test_all_advice_comes_from_one_function() -> None:
    for package in ("gato_tokenize", "pipelines", "gato_model"):
        for path in (ROOT / package).rglob("*.py"):
            if path != Path(installing.__file__):
                assert "pip install" not in path.read_text(encoding="utf-8"), path
