"""Addresses such as s3://bucket/set: where only a local path will do, they are refused by name before anything is
created."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gato_tokenize.__main__ import main as tokenize
from gato_tokenize.storage.place import local_path
from pipelines.__main__ import main

AWAY = "s3://bucket/toy/1.0.0"


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    try:
        code = main(words)
    except SystemExit as error:  # argparse refuses it
        code = int(error.code or 0)
    assert code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ("convert", "text:a.txt", "--out", "out/toy/1.0.0", "--text-model", AWAY),
        ("inspect", "out/toy/1.0.0", "--episode", "0", "--frames", AWAY),
        ("report", "out/toy/1.0.0", "--out", AWAY),
    ],
    ids=" ".join,
)
def test_gato_data(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.txt").write_text("a", encoding="utf-8")
    assert "s3://bucket/toy/1.0.0" in (message := refused(capsys, *words)) and "only local folders" in message
    assert os.listdir() == ["a.txt"]


@pytest.mark.parametrize(
    "words",
    [
        ("train", "--data", "set", "--steps", "1", "--out", AWAY),
        ("evaluate", "--checkpoint", AWAY, "--env", "CartPole-v1"),
        ("generate", "--checkpoint", AWAY, "--text", "a"),
        ("export", AWAY, "out"),
        ("export", "run", AWAY),
    ],
    ids=" ".join,
)
def test_gato_model(words: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "gato_model", *words]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2 and "only local folders" in ended.stderr, ended
    assert os.listdir() == []


@pytest.mark.parametrize(
    "words",
    [
        ("encode", "image", AWAY),
        ("encode", "image", "a.png", "--out", AWAY),
        ("encode", "text", "a", "--text-model", AWAY),
        ("show", AWAY),
        ("train-text", AWAY, "--out", "out.model"),
        ("train-text", "a.txt", "--out", AWAY),
    ],
    ids=" ".join,
)
def test_gato_tokenize(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = tokenize(words)
    except SystemExit as error:
        code = int(error.code or 0)
    assert code == 2 and "only local folders" in capsys.readouterr().err
    assert os.listdir() == []


def test_python() -> None:
    from gato_model import GatoPolicy, load

    for call in (load, GatoPolicy.from_pretrained):
        for path in (AWAY, Path(AWAY)):  # a Path has one slash left
            with pytest.raises(ValueError, match="s3://bucket/toy/1.0.0 is an address"):
                call(path)  # type: ignore[operator]


def test_names_that_are_no_addresses() -> None:
    for path in ("a:b", "./s3:/bucket", "C:/data", "out/a://b", "/data/toy/1.0.0", "toy:2.0"):
        assert local_path(path) == Path(path)
