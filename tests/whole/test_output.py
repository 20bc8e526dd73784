"""What the commands print: text, one JSON document with --json, nothing but errors with --quiet; into closed pipes."""

import argparse
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gato_model import __main__ as gato_model
from gato_tokenize import __main__ as gato_tokenize
from gato_tokenize.command_line import CommandParser, parser_of
from gato_tokenize.output import Output
from pipelines import __main__ as gato_data

PROGRAMS = {"gato_tokenize": gato_tokenize, "pipelines": gato_data, "gato_model": gato_model}
ROOT = Path(__file__).parents[2]
TOY = "out/toy/1.0.0"
REFUSED = {  # words of each command that are refused, or fail, after they were parsed
    "gato-tokenize encode": "image none.png",
    "gato-tokenize decode": "text none",
    "gato-tokenize show": "none.tfrecord",
    "gato-tokenize train-text": "none.txt --out a.model",
    "gato-data convert": "text:none.txt --out out/none/1.0.0",
    "gato-data sources": "none",
    "gato-data plan": "text:none.txt",
    "gato-data verify": "none",
    "gato-data inspect": "none",
    "gato-data rejects list": "none",
    "gato-data rejects retry": "none --out out/none/1.0.0",
    "gato-data merge": "out/none/1.0.0 none",
    "gato-data filter": "none out/none/1.0.0",
    "gato-data split": "none out/none/1.0.0",
    "gato-data report": "none",
    "gato-model train": "--data none --out run --steps 1",
    "gato-model evaluate": "--checkpoint none --env CartPole-v1",
    "gato-model generate": "--checkpoint none --text a",
    "gato-model export": "none out",
}
DONE = {  # words that succeed, the keys of the document, what the text has; in this order
    "gato-data convert": (f"text:*.txt --out {TOY}", "dataset already_published plan_sha256 episodes splits notes"),
    "gato-data convert --dry-run": (f"text:*.txt --out {TOY}", "dataset name version splits shards_of_a_split"
                                    " plan_sha256 tokenizer_sha256 inputs tasks notes"),
    "gato-data sources": ("", "sources"),
    "gato-data sources text": ("", "sources"),
    "gato-data plan": ("text:*.txt", "splits sources local_positions tasks notes"),
    "gato-data verify": (TOY, "dataset sound faults"),
    "gato-data inspect": (TOY, "dataset name version generator episodes stats"),
    "gato-data inspect --schema": (TOY, "fields"),
    "gato-data inspect --episode 0": (TOY, "dataset metadata num_steps tokens steps frames"),
    "gato-data rejects list": (TOY, "dataset complete rejects"),
    "gato-data merge": (f"out/more/1.0.0 {TOY}", "dataset already_published plan_sha256 episodes splits notes"),
    "gato-data filter": (f"{TOY} out/some/1.0.0 --max-steps 9",
                         "dataset already_published plan_sha256 episodes splits notes"),
    "gato-data split": (f"{TOY} out/cut/1.0.0 --validation 0.5",
                        "dataset already_published plan_sha256 episodes splits notes"),
    "gato-data report": (f"{TOY} --out page.html", "report bytes"),
    "gato-tokenize encode": ("continuous [0.5,-1]", "ids"),
    "gato-tokenize decode": ("continuous [32512]", "value"),
    "gato-tokenize encode --size 9": ("text hello", "ids"),
}  # fmt: skip


def leaves(parser: CommandParser) -> Iterator[CommandParser]:
    nested = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not nested:
        yield parser
    for action in nested:
        for below in action.choices.values():
            yield from leaves(below)


COMMANDS = [leaf for one in PROGRAMS.values() for leaf in leaves(parser_of(one.PROGRAM, "", one.COMMANDS))]


def run(command: str, *words: str) -> int:
    program, *first = command.split()
    (main,) = (one.main for one in PROGRAMS.values() if program == one.PROGRAM)
    return int(main([*first, *words]))


def process(package: str, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", package, *words], capture_output=True, text=True, timeout=120, **more)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("output")


@pytest.fixture(autouse=True)
def in_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    if not Path("0.txt").exists():
        for number in range(3):
            Path(f"{number}.txt").write_text(f"Document {number}.", encoding="utf-8")
    if not Path(TOY).exists():
        assert run("gato-data convert", "text:*.txt", "--out", TOY, "--quiet") == 0


def test_every_command_has_both_options() -> None:
    assert {leaf.prog for leaf in COMMANDS} == set(REFUSED)
    for leaf in COMMANDS:
        assert {"--json", "--quiet"} <= {word for action in leaf._actions for word in action.option_strings}, leaf.prog


@pytest.mark.parametrize("command", REFUSED)
def test_an_error_is_one_document_with_the_same_code(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = REFUSED[command].split()
    code = run(command, *words)
    plain = capsys.readouterr()
    prefix = command if command.startswith("gato-model ") else command.split()[0]
    assert code == 2 and plain.out == "" and plain.err.startswith(f"{prefix}: ")
    assert run(command, *words, "--json", "--quiet") == code
    printed = capsys.readouterr()
    (message,) = json.loads(printed.out).values()
    assert list(json.loads(printed.out)) == ["error"] and printed.err == plain.err
    assert plain.err == f"{prefix}: {message}\n"


@pytest.mark.parametrize("command", REFUSED)
def test_so_is_an_option_that_does_not_exist(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = run(command, *REFUSED[command].split(), "--json", "--no-such-option")  # `convert` asks Beam about it
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    assert code == 2
    assert list(json.loads(capsys.readouterr().out)) == ["error"]


@pytest.mark.parametrize("command", DONE)
def test_a_result_is_text_or_one_document_or_nothing(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words, keys = DONE[command]
    for option in ("--json", "--quiet", ""):
        assert run(command, *words.split(), *filter(None, [option])) == 0
        out, err = capsys.readouterr()
        if option == "--json":
            assert list(json.loads(out)) == keys.split()
        elif option == "--quiet":
            assert (out, err) == ("", "")
        else:
            assert out.strip() and not out.startswith("{")


def test_the_keys_are_documented() -> None:
    page = (ROOT / "docs/converting.md").read_text(encoding="utf-8")
    for command, (_, keys) in DONE.items():
        assert f"| {', '.join(f'`{key}`' for key in keys.split())}" in page, command


def test_damage_has_a_document_and_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "toy/1.0.0"
    assert run("gato-data convert", "text:*.txt", "--out", str(out), "--quiet") == 0
    (out / "stats.json").write_text("{}")
    assert run("gato-data verify", str(out), "--json") == 1
    document = json.loads(capsys.readouterr().out)
    assert document["sound"] is False and len(document["faults"]) == 1


def test_what_is_no_number_is_null(capsys: pytest.CaptureFixture[str]) -> None:
    assert Output("x", json=True).result("", {"a": float("nan"), "b": [1.5, Path("c")]}, 3) == 3
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [1.5, "c"]}


def test_standard_output_is_kept_for_the_document() -> None:
    """What Python, a library below it or a child process prints meanwhile goes to standard error."""
    code = """import os; from gato_tokenize.output import Output
output = Output("x", json=True)
with output.reserved():
    print("one"); os.write(1, b"two\\n"); os.system("echo three")
    output.line({"a": 1})
print("after")"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout == '{"a": 1}\nafter\n', done
    assert sorted(done.stderr.split()) == ["one", "three", "two"]


@pytest.mark.parametrize(
    ("package", "words"),
    [
        ("pipelines", f"inspect {TOY}"),
        ("pipelines", f"inspect {TOY} --json"),
        ("pipelines", f"convert text:*.txt --out {TOY}"),
        ("pipelines", "convert text:a.txt --out out/a/1.0.0 --print-config"),
        ("pipelines", "--help"),
        ("gato_tokenize", "encode text hello"),
        ("gato_tokenize", "--version"),
        ("gato_model", "train --help"),
    ],
)
def test_a_closed_pipe_is_no_error(package: str, words: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        command = [sys.executable, "-m", package, *words.split()]
        done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, timeout=120)
    lines = [line for line in done.stderr.splitlines() if not re.match(r"\d\d:\d\d:\d\d ", line)]  # progress
    assert (done.returncode, lines) == (0, [])


def in_a_terminal(package: str, *words: str, **environment: str) -> str:
    """What a command prints in a terminal of 80 columns."""
    leader, follower = pty.openpty()
    names = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    names.update(TERM="xterm-256color", COLUMNS="80", **environment)
    with os.fdopen(leader, "rb", buffering=0) as terminal:
        child = subprocess.Popen([sys.executable, "-m", package, *words], stdout=follower, env=names)
        os.close(follower)
        parts = []
        try:
            while part := terminal.read(65536):
                parts.append(part)
        except OSError:  # the terminal's other end is closed
            pass
        assert child.wait(timeout=60) == 0
    return b"".join(parts).decode()


@pytest.mark.parametrize("words", [f"inspect {TOY}", f"inspect {TOY} --schema", f"inspect {TOY} --episode 0"])
def test_colours_are_for_terminals(words: str) -> None:
    assert "\x1b[" in in_a_terminal("pipelines", *words.split())
    assert "\x1b" not in in_a_terminal("pipelines", *words.split(), NO_COLOR="1")
    assert "\x1b" not in process("pipelines", *words.split(), env={**os.environ, "FORCE_COLOR": "1"}).stdout


def test_colours_of_a_record() -> None:
    (shard,) = Path(TOY).glob("*.tfrecord*-00000-of-*")
    assert "\x1b[" in in_a_terminal("gato_tokenize", "show", str(shard))
    assert "\x1b" not in in_a_terminal("gato_tokenize", "show", str(shard), NO_COLOR="1")
    assert "\x1b" not in process("gato_tokenize", "show", str(shard)).stdout


@pytest.mark.parametrize("words", [f"inspect {TOY}", f"inspect {TOY} --schema"])
def test_tables_in_80_columns_and_in_a_pipe(words: str) -> None:
    narrow = process("pipelines", *words.split(), env={**os.environ, "COLUMNS": "80"}).stdout.splitlines()
    assert 60 < max(map(len, narrow)) <= 80
    free = process("pipelines", *words.split()).stdout.splitlines()
    if "schema" in words:
        assert len(free) < len(narrow)  # no cell is folded
        assert sum(line.startswith(" episode_metadata/episode_id ") for line in free) == 1


def test_no_heading_is_broken_and_no_column_is_empty() -> None:
    """The widest table: of a continuous field, with `scaling` filled for a field that fits its bins badly only."""
    from rich.console import Console

    from pipelines.inspection.overview import print_rows

    columns = ("field", "element", "range", "clipped", "saturated", "error", "levels", "scaling")
    row = ["task", "train", "observation/proprio", "all", "-1.09 to 1.448", "0.00%", "25.40%", "0.0007, at most 0.001"]
    row += ["685"]
    console = Console(width=80, file=io.StringIO())
    print_rows(console, [[*row, ""]], columns)
    text = console.file.getvalue()
    assert all(re.search(rf"\b{name}\b", text) for name in columns[:-1]) and "scaling" not in text
    assert max(map(len, text.splitlines())) <= 80
    print_rows(console, [[*row, "low=-0.001, high=0.001"]], columns)
    assert "scaling" in console.file.getvalue()


def test_ctrl_c_while_a_library_is_imported_is_one_line(tmp_path: Path) -> None:
    """The library takes every exception for a failure of its own."""
    (tmp_path / "tensorflow.py").write_text(
        "import pathlib, time\ntry:\n    pathlib.Path('importing').touch(); time.sleep(60)\n"
        "except BaseException as e:\n    raise ImportError('a library is broken') from e\n"
    )
    words = [sys.executable, "-m", "gato_model", "train", "--data", "a", "--out", "b", "--steps", "1", "--json"]
    path = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=path
    ) as child:
        while not (tmp_path / "importing").exists():
            assert child.poll() is None, child.communicate()
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=30)
    assert (child.returncode, err) == (130, "\ngato-model train: stopped before it began\n")
    assert json.loads(out) == {"error": "stopped before it began"}
