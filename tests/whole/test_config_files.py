"""Configuration files: every option of a command by its long name; the command line wins; a fault is one line."""

import argparse
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from conversions import write_documents

from gato_model import __main__ as gato_model
from gato_tokenize import config_file
from gato_tokenize.command_line import CommandParser
from pipelines import __main__ as gato_data

PROGRAMS = {"convert": gato_data, "train": gato_model}
REQUIRED = {
    "convert": ["text:a.txt", "--out", "out/toy/1.0.0"],
    "train": ["--data", "data/toy/1.0.0", "--out", "run"],
}
HERE = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
SAMPLES = {bool: True, int: 7, float: 0.1, str: 'sets/ü "it\'s" \\ #1', dict: {"disjoint": True, "discrete_size": 4096}}


def parser_for(command: str) -> CommandParser:
    parser = CommandParser(prog=f"{PROGRAMS[command].PROGRAM} {command}")
    PROGRAMS[command].COMMANDS[command].add_arguments(parser)
    return parser


def parsed(command: str, *words: str) -> argparse.Namespace:
    return parser_for(command).parse_args(words)


def values(arguments: argparse.Namespace) -> dict[str, Any]:
    return {name: value for name, value in vars(arguments).items() if name not in config_file.NOT_IN_FILES}


def printed(capsys: pytest.CaptureFixture[str], command: str, *words: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        parsed(command, *words, "--print-config")
    assert stopped.value.code == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], command: str, content: str, *words: str) -> str:
    Path("some.toml").write_text(content, encoding="utf-8")
    with pytest.raises(SystemExit) as stopped:
        parsed(command, "--config", "some.toml", *words)
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return str(line)


def options(command: str) -> dict[str, argparse.Action]:
    return config_file.keys(parser_for(command))


def words_of(key: str, action: argparse.Action) -> list[str]:
    """The words that give an option a value that is not its default."""
    assert action.nargs != 0 or isinstance(action, argparse.BooleanOptionalAction), f"--{key}: make it by `add_flag`"
    if isinstance(action, argparse.BooleanOptionalAction):
        return [f"--{key}"]
    if action.choices:
        text = next(choice for choice in action.choices if choice != action.default)
    elif key == "vocabulary":
        text = "disjoint=true,discrete_size=4096"
    else:
        kind = next((kind for kind in (int, float) if fits(action, SAMPLES[kind])), str)
        text = str(SAMPLES[kind])
    texts = [text, f"{text}/2"] if action.nargs == "+" else [text]
    return [f"--{key}", *texts] if action.option_strings else texts


def fits(action: argparse.Action, value: Any) -> bool:
    try:
        return type(action.type(str(value))) is type(value) if callable(action.type) else False
    except (ValueError, argparse.ArgumentTypeError):
        return False


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("command", PROGRAMS)
class TestEveryOption:
    def test_what_is_printed_gives_the_same_back(self, command: str, capsys: pytest.CaptureFixture[str]) -> None:
        every = [word for key, action in options(command).items() for word in words_of(key, action)]
        for number, words in enumerate((REQUIRED[command], every)):
            path = Path(f"{number}.toml")
            path.write_text(printed(capsys, command, *words), encoding="utf-8")
            again = parsed(command, "--config", str(path))
            assert values(again) == values(parsed(command, *words))
            assert printed(capsys, command, "--config", str(path)) == path.read_text(encoding="utf-8")
        default, given = parsed(command, *REQUIRED[command]), parsed(command, *every)
        assert {key for key, action in options(command).items()
                if getattr(default, action.dest) == getattr(given, action.dest)} == set()  # fmt: skip
        assert set(tomllib.loads(path.read_text(encoding="utf-8"))) - {"command", "beam-options"} == set(
            options(command)
        )

    def test_each_alone(self, command: str, capsys: pytest.CaptureFixture[str]) -> None:
        for key, action in options(command).items():
            if action.required:
                continue
            words = [*REQUIRED[command], *words_of(key, action)]
            Path("one.toml").write_text(printed(capsys, command, *words), encoding="utf-8")
            assert values(parsed(command, "--config", "one.toml")) == values(parsed(command, *words)), key

    def test_the_command_line_wins(self, command: str, capsys: pytest.CaptureFixture[str]) -> None:
        every = [word for key, action in options(command).items() for word in words_of(key, action)]
        Path("all.toml").write_text(printed(capsys, command, *every), encoding="utf-8")
        before = values(parsed(command, "--config", "all.toml"))
        for key, action in options(command).items():
            words = words_of(key, action)
            if isinstance(action, argparse.BooleanOptionalAction):
                changed = [f"--no-{key}"]
            elif action.choices:
                changed = [words[0], str(action.default or list(action.choices)[-1])]
            elif key == "vocabulary":
                changed = ["--vocabulary", "disjoint=false"]
            else:
                changed = [*words[: bool(action.option_strings)], "9"]
            there = parsed(command, "--config", "all.toml", *changed)
            direct = parsed(command, *REQUIRED[command], *changed) if action.option_strings else there
            assert getattr(there, action.dest) == getattr(direct, action.dest), key
            if not action.option_strings:
                assert getattr(there, action.dest) == ["9"]
            different = {name for name, value in values(there).items() if value != before[name]}
            assert different == {action.dest}

    def test_a_wrong_type_names_the_file_and_the_key(self, command: str, capsys: pytest.CaptureFixture[str]) -> None:
        for key, action in options(command).items():
            for wrong in ("1979-05-27", "[[true]]"):
                message = refused(capsys, command, f"{key} = {wrong}\n")
                assert message.startswith(f"{PROGRAMS[command].PROGRAM} {command}: some.toml: {key}"), message
                assert " must be " in message and (wrong.strip("[]") in message or action.nargs == "+")


@pytest.mark.parametrize(
    ("command", "content", "message"),
    [
        ("convert", "limits = 3\n", "some.toml: unknown key 'limits' (nearest: 'limit'); the keys of 'gato-data "),
        ("train", "batch_size = 3\n", "unknown key 'batch_size' (nearest: 'batch-size')"),
        ("train", "steps = 3\nworkers = 2\nlimit = 3\n", "unknown keys 'workers', 'limit'"),
        ("train", "config = 'a.toml'\n", "unknown key 'config'"),
        ("train", 'command = "gato-data convert"\n', "the file is for 'gato-data convert', not for 'gato-model train'"),
        ("train", "steps = 3.0\n", "steps must be a whole number, not 3.0"),
        ("train", "steps = true\n", "steps must be a whole number, not true"),
        ("train", "steps = 0\n", "steps = 0: must be a whole number of at least 1, not '0'"),
        ("train", 'steps = "3"\n', 'steps must be a whole number, not "3"'),
        ("train", 'jit = "yes"\n', 'jit must be true or false, not "yes"'),
        ("train", 'preset = "huge"\n', 'preset must be one of tiny, small, baseline, large, not "huge"'),
        ("train", 'data = "data/toy/1.0.0"\n', 'data must be an array of values, such as ["data/toy/1.0.0"]'),
        ("train", "data = []\n", "data must have at least one value"),
        ("train", "data = ['a', 3]\n", "data[1] must be a text in quotes, not 3"),
        ("train", 'out = "s3://bucket/run"\n', "out = \"s3://bucket/run\": s3://bucket/run is an address"),
        ("convert", "max-rejects = 5\n", "max-rejects must be a text in quotes, not 5"),
        ("convert", 'vocabulary = "disjoint=true"\n', "vocabulary must be a table"),
        ("convert", "vocabulary = {disjoint = true, size = 3}\n", "vocabulary = {\"disjoint\": true, \"size\": 3}: '"),
        ("convert", "beam-options = [3]\n", "beam-options[0] must be a text in quotes, not 3"),
        ("convert", "steps = \n", "cannot be read as TOML: Invalid value (at line 1, column 9)"),
        ("convert", "[convert]\nlimit = 3\n", "unknown key 'convert'"),
    ],
)  # fmt: skip
def test_a_fault_is_one_line(command: str, content: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"{PROGRAMS[command].PROGRAM} {command}: some.toml: " in (line := refused(capsys, command, content))
    assert message in line


@pytest.mark.parametrize("made", ["nothing", "folder", "bytes"])
def test_a_file_that_is_none(made: str, capsys: pytest.CaptureFixture[str]) -> None:
    if made == "folder":
        os.mkdir("a.toml")
    elif made == "bytes":
        Path("a.toml").write_bytes(b"out = '\xff'")
    with pytest.raises(SystemExit) as stopped:
        parsed("convert", "--config", "a.toml")
    (line,) = capsys.readouterr().err.splitlines()
    found = {"nothing": "there is nothing", "folder": "an empty folder", "bytes": "cannot be read as TOML"}
    assert stopped.value.code == 2 and line.startswith("gato-data convert: a.toml: ") and found[made] in line


def test_required_options_may_come_from_the_file_and_are_missed(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.toml").write_text('sources = ["text:a.txt"]\n', encoding="utf-8")
    assert parsed("convert", "--config", "a.toml", "--out", "o/toy/1.0.0").sources == ["text:a.txt"]
    with pytest.raises(SystemExit):
        parsed("convert", "--config", "a.toml")
    assert "the following arguments are required: --out" in capsys.readouterr().err


def test_options_of_beam_are_passed_on(capsys: pytest.CaptureFixture[str]) -> None:
    words = [*REQUIRED["convert"], "--runner", "PortableRunner", "--job_endpoint=h:1", "--streaming"]
    Path("a.toml").write_text(printed(capsys, "convert", *words), encoding="utf-8")
    given = parsed("convert", *words).beam_options
    assert given == ["--job_endpoint=h:1", "--streaming"] == parsed("convert", "--config", "a.toml").beam_options
    assert parsed("convert", "--config", "a.toml", "--other").beam_options == ["--other"]
    with pytest.raises(SystemExit):
        parsed("train", *REQUIRED["train"], "--streaming", "--print-config")
    assert "unrecognized arguments: --streaming" in capsys.readouterr().err


def test_a_text_that_no_toml_can_hold(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parsed("convert", "text:\udcff.txt", "--out", "o/toy/1.0.0", "--print-config")
    assert stopped.value.code == 2 and "sources is not Unicode" in capsys.readouterr().err


def test_where_an_option_came_from_does_not_change_the_plan(capsys: pytest.CaptureFixture[str]) -> None:
    source = write_documents(8)
    words = [source, "--out", "out/toy/1.0.0", "--validation-fraction", "0.25", "--vocabulary", "disjoint=true"]
    assert gato_data.main(["convert", *words, "--dry-run"]) == 0
    plan = capsys.readouterr().out
    Path("a.toml").write_text(printed(capsys, "convert", *words, "--dry-run"), encoding="utf-8")
    assert gato_data.main(["convert", "--config", "a.toml"]) == 0
    assert capsys.readouterr().out == plan and "plan " in plan
    assert gato_data.main(["convert", "--config", "a.toml", "--no-dry-run"]) == 0
    assert Path("out/toy/1.0.0/manifest.json").exists()


@pytest.mark.parametrize("package", ["gato_tokenize", "pipelines", "gato_model"])
@pytest.mark.parametrize("words", [["--help"], ["--no-such-option"], ["--config", "none.toml"]], ids=" ".join)
def test_help_and_refusals_import_nothing(package: str, words: list[str]) -> None:
    command = {"gato_tokenize": "encode", "pipelines": "convert", "gato_model": "train"}[package]
    code = f"""import sys; from {package}.__main__ import main
import atexit; atexit.register(lambda: print(*sys.modules))
main({[command, *words]})"""
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, env=HERE, check=False)
    modules = {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert done.returncode == (0 if words == ["--help"] else 2), done.stderr
    assert modules - set(sys.stdlib_module_names) - {"__main__"} <= {"gato_tokenize", "pipelines", "gato_model"}


def test_without_tomli_w(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "tomli_w", None)
    with pytest.raises(SystemExit) as stopped:
        parsed("train", *REQUIRED["train"], "--print-config")
    assert stopped.value.code == 2
    assert "--print-config needs the package tomli_w: pip install tomli_w installs it" in capsys.readouterr().err


def test_a_refused_word_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed("train", *REQUIRED["train"], "--x\x1b[2J")
    assert "--x\\x1b[2J" in capsys.readouterr().err
