"""Data is shown as it is: brackets are no markup, and no character moves the cursor."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from gato_tokenize.output import printable
from pipelines.__main__ import main
from pipelines.inspection.overview import schema

HOSTILE = "[/b]x \x1b[2J\u202e[a,b]\r"
SHOWN = "[/b]x \\x1b[2J\\u202e[a,b]\\r"


@given(st.text())
def test_what_is_printable_is_shown_unchanged_and_the_rest_as_escapes(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable() and printable(shown) == shown
    assert shown == text or not text.isprintable()


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset whose task and episode ids are hostile."""
    monkeypatch.chdir(tmp_path)
    Path("[red]a.txt").write_text("a document", encoding="utf-8")
    Path("broken\x1b.txt").write_bytes(b"\xff\xfe\xff")
    words = (f"text:*.txt?task={HOSTILE}", "--max-rejects", "1", "--out", "out/toy/1.0.0")
    assert main(["convert", *words]) == 0
    return tmp_path / "out/toy/1.0.0"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("inspect",), SHOWN),
        (("inspect", "--episode", "0"), "[red]a.txt"),
        (("rejects", "list"), "broken\\x1b.txt"),
        (("convert", "--dry-run"), SHOWN),
    ],
    ids=str,
)
def test_the_commands(made: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], expected: str) -> None:
    capsys.readouterr()
    if words[0] == "convert":
        words = ("convert", f"text:*.txt?task={HOSTILE}", "--out", "out/other/1.0.0", *words[1:])
    elif words[0] == "rejects":
        words = ("rejects", "list", str(made))
    else:
        words = ("inspect", str(made), *words[1:])
    assert main(words) == 0
    out = capsys.readouterr().out
    assert expected in out
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", out)  # line ends alone are real


@pytest.mark.parametrize(
    "words",
    [("inspect", "no\x1b[2Jthing"), ("verify", "no\x1b[2Jthing"), ("report", "no\x1b[2Jthing"),
     ("rejects", "list", "no\x1b[2Jthing"), ("convert", "text:no\x1b[2Jthing", "--out", "out/toy/1.0.0")],
    ids=lambda words: words[0],
)  # fmt: skip
def test_error_messages(capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    assert main(words) == 2
    err = capsys.readouterr().err
    assert "no\\x1b[2Jthing" in err and "\x1b" not in err


def test_the_schema_keeps_its_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    schema(Console(width=400))
    out = capsys.readouterr().out
    assert "uint8[n, 16, 16, 3]" in out and "[T+1]: timestep t" in out
