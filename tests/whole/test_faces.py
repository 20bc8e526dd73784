"""The faces of the three packages: the names that a user imports, and what each of them costs."""

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gato_model import __main__ as gato_model_main
from gato_tokenize.command_line import without
from pipelines import __main__ as gato_data_main

NAMES = {
    "gato_tokenize": {
        *("TextSpec", "ImageSpec", "DiscreteSpec", "ContinuousSpec", "EpisodeSpec", "spec_from_spaces"),
        *("read_spaces", "Roles"),
        *("tuple_to_dict", "Episode", "EpisodeMetadata", "Vocabulary", "Kind", "TextTokenizer", "train_text_model"),
        *("ImageTokenizer", "Patches", "DiscreteTokenizer", "ContinuousTokenizer", "mu_law", "inverse_mu_law"),
        *("EpisodeTokenizer", "TokenSequence", "show", "Record", "write_records", "read_records", "read_record"),
        *("CorruptRecordError", "Damage", "Dataset", "__version__"),
    },
    "pipelines": {
        *("Source", "Candidate", "Filtered", "Reject", "SourceError", "open_source", "Plan", "make_plan", "convert"),
        *("ReadEpisodes", "TokenizeEpisodes", "WriteShards", "PublishDataset"),
    },
    "gato_model": {"Share", "batches", "GatoConfig", "Gato", "load", "GatoPolicy"},
}


@pytest.mark.parametrize("package", NAMES)
def test_a_face_gives_its_names_and_no_others(package: str) -> None:
    face = importlib.import_module(package)
    assert set(face.__all__) == NAMES[package]
    for name in face.__all__:
        assert getattr(face, name).__class__ is not type(sys), f"{package}.{name} is a module"
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = face.no_such_name


def test_what_needs_no_beam_does_not_import_it() -> None:
    names = ", ".join(
        sorted(NAMES["pipelines"] - {"ReadEpisodes", "TokenizeEpisodes", "WriteShards", "PublishDataset"})
    )
    code = f"from pipelines import {names}; import sys; print('apache_beam' in sys.modules, 'rich' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "False"], done.stderr


def test_an_import_without_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wanted_package.py").touch()
    (tmp_path / "greedy_package.py").write_text(
        "try: import wanted_package\nexcept ImportError: wanted_package = None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with without(["wanted_package", "json"]):  # json is loaded already
        greedy = importlib.import_module("greedy_package")
        assert sys.modules["json"]
    assert greedy.wanted_package is None
    assert importlib.reload(greedy).wanted_package is not None


@pytest.mark.parametrize(
    ("program", "words", "fewer"),
    [
        (gato_data_main, ["convert", "a", "--out", "b/c/1.0.0"], True),
        (gato_data_main, ["convert", "a", "--out", "b/c/1.0.0", "--runner", "DataflowRunner"], False),
        (gato_data_main, ["convert", "a", "--out", "b/c/1.0.0", "--engine", "prism"], False),
        (gato_data_main, ["verify", "a"], True),
        (gato_model_main, ["generate", "--checkpoint", "a"], True),
    ],
)
def test_a_command_on_this_machine_imports_what_it_uses(
    program: Any, words: list[str], fewer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only in a process of its own: a script or a notebook that calls `main` may want all of Beam, or of Keras."""
    given: list[tuple[str, ...]] = []
    monkeypatch.setattr(program, "run_command", lambda *_, unused: given.append(unused) or 0)
    monkeypatch.setattr(sys, "argv", [program.PROGRAM, *words])
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert (program.main(), program.main(words)) == (0, 0)
    assert [("pandas" in unused) for unused in given] == [fewer, False]
