"""What `gato-data sources` lists: every source, built in or installed, and what is missing here."""

import dataclasses
import importlib.metadata
import sys

import pytest

from gato_tokenize import installing
from pipelines.__main__ import main
from pipelines.sources import SOURCES, source_class
from pipelines.sources.catalogue import Known, known_sources


def known(name: str) -> Known:
    (found,) = [one for one in known_sources() if one.name == name]
    return found


def test_every_source_has_a_line_and_the_options_of_its_class() -> None:
    found = {one.name: one for one in known_sources()}
    assert list(found)[: len(SOURCES)] == list(SOURCES)
    for name in SOURCES:
        assert found[name].reads and (found[name].status, found[name].package) == ("yes", "")
        assert list(found[name].options) == [field.name for field in dataclasses.fields(source_class(name).Options)]
    assert found["zarr"].extra == "zarr" and found["rlds"].extra == ""
    assert found["text"].options["by"][0] == "file"


def test_what_is_missing_is_named_with_what_to_type(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """zarr cannot be read without its library; of text, only .zst files need one."""
    distribution = importlib.metadata.distribution

    def without(name: str) -> importlib.metadata.Distribution:
        if name in ("zarr", "zstandard"):
            raise importlib.metadata.PackageNotFoundError(name)
        return distribution(name)

    monkeypatch.setattr(installing.importlib.metadata, "distribution", without)
    monkeypatch.setitem(sys.modules, "zarr", None)
    for module in [name for name in sys.modules if name.startswith("pipelines.sources.zarr.")]:
        monkeypatch.delitem(sys.modules, module)
    zarr, text = known("zarr"), known("text")
    assert zarr.status == "no: zarr" and zarr.install.endswith("[zarr]'") and zarr.reads
    assert text.status == "without zstandard" and text.fault == "" and text.options
    assert main(["sources"]) == 0
    out = capsys.readouterr().out
    assert "no: zarr" in out and f"to install what is missing: {zarr.install}\n" in out


def test_an_extra_requires_what_the_checkout_says() -> None:
    assert installing.absent("dm-control") == []
    assert installing.has_extra("zarr") and not installing.has_extra("rlds")


def test_one_source_shows_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sources", "text"]) == 0
    out = capsys.readouterr().out
    assert "strip" in out and "episodes" not in out
    assert main(["sources", "txt"]) == 2
    assert "'txt' is no source; known: rollouts, text, " in capsys.readouterr().err
