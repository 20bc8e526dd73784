"""Options of a source: split off its string, cast by their annotations, refused by name."""

import dataclasses
import pickle
from pathlib import Path
from typing import Any, Literal

import pytest
from limited import read_source

from pipelines.sources import open_source
from pipelines.sources.errors import SourceError
from pipelines.sources.options import Size, SourceOptions, option, options_table, parse_options, split_options, written


@dataclasses.dataclass(frozen=True)
class Resized(SourceOptions):
    """What several sources have is written once and inherited."""

    resize: Size | None = option(None, "HEIGHTxWIDTH")


@dataclasses.dataclass(frozen=True)
class Toy(Resized):
    by: Literal["file", "line"] = option("file", "what a document is")
    width: int = option(1, "numbers in an observation")
    rate: float = option(0.5, "a second")
    strict: bool = option(False, "refuse the rest")
    shape: Size = option((16, 32), "of a picture")
    task: str = option("", "its name")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("width", self.width >= 1, "at least 1")


def test_by_hand() -> None:
    assert parse_options(Toy, {}) == Toy()
    given = {"by": "line", "width": "3", "rate": "2", "strict": "true", "resize": "16x48", "task": "web"}
    assert parse_options(Toy, given) == Toy((16, 48), "line", 3, 2.0, True, task="web")
    assert parse_options(Toy, {"resize": ""}).resize is None


def test_what_is_written_is_read_back() -> None:
    for toy in (Toy(), Toy((1, 2), "line", 7, 0.1, True, (3, 4), "a b")):
        given = {field.name: written(getattr(toy, field.name)) for field in dataclasses.fields(toy)}
        assert parse_options(Toy, given) == toy == pickle.loads(pickle.dumps(toy))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"by": "word"}, "option by=word must be one of file, line"),
        ({"width": "many"}, "option width=many must be a whole number"),
        ({"width": "1.5"}, "option width=1.5 must be a whole number"),
        ({"width": "0"}, "option width=0 must be at least 1"),
        ({"rate": "fast"}, "option rate=fast must be a number"),
        ({"strict": "yes"}, "option strict=yes must be true or false"),
        ({"resize": "16"}, "option resize=16 must be HEIGHTxWIDTH, such as 224x224"),
        ({"shape": ""}, "option shape= must be HEIGHTxWIDTH, such as 224x224"),
        (
            {"b": "1", "a": "2"},
            "unknown option a, b; known: by, rate, resize, shape, strict, task, width",
        ),
    ],
)
def test_nonsense_is_refused(given: dict[str, str], message: str) -> None:
    with pytest.raises(SourceError) as caught:
        parse_options(Toy, given)
    assert str(caught.value) == message


def test_what_is_built_in_python_is_checked_too() -> None:
    wrong: Any = "word"
    for build in (lambda: Toy(by=wrong), lambda: Toy(width=0), lambda: dataclasses.replace(Toy(), width=-1)):
        with pytest.raises(SourceError, match="must be"):
            build()
    with pytest.raises(SourceError, match="unknown option a; known: none"):
        parse_options(SourceOptions, {"a": "1"})


def test_the_table() -> None:
    assert options_table(SourceOptions) == ""
    assert options_table(Toy).splitlines()[:4] == [
        "| option | default | meaning |",
        "|---|---|---|",
        "| `resize` |  | HEIGHTxWIDTH |",
        "| `by` | file | what a document is |",
    ]


@pytest.mark.parametrize("argument", ["a?b", "a?b=", "a?b=1&b=2", "a?b=1&c", "a?.txt"])
def test_a_question_mark(argument: str) -> None:
    whole: dict[str, Any] = {"a?b": ("a?b", {}), "a?b=": ("a", {"b": ""}), "a?.txt": ("a?.txt", {})}
    if argument in whole:
        assert split_options(argument) == whole[argument]
    else:
        with pytest.raises(SourceError):
            split_options(argument)


@pytest.mark.parametrize(
    ("typed", "value"),
    [("a+b", "a+b"), ("a%20b", "a%20b"), ("a b", "a b"), ("a;b", "a;b"), ("a=b", "a=b"), ("", ""), ("?", "?"),
     (r"R\&D", "R&D"), (r"\\n", r"\\n"), (r"\&b=1", "&b=1"), ("%26", "%26"), ("é", "é")],
)  # fmt: skip
def test_a_value_is_taken_as_typed(typed: str, value: str) -> None:
    assert split_options(f"a?b={typed}") == ("a", {"b": value})
    assert split_options(f"a?b={typed}&c={typed}") == ("a", {"b": value, "c": value})


def test_what_is_no_option_is_named() -> None:
    for argument in ("a?b=1&", "a?b=R&D", "a?b=1&&c=2", "a?b=1&=2"):
        with pytest.raises(SourceError, match=r"write \\& for an & in a value"):
            split_options(argument)
    with pytest.raises(SourceError, match="option b is given twice"):
        split_options("a?b=1&b=2")


def test_a_file_of_exactly_that_name_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = ("a.txt", "a.txt?task=x.txt", "CartPole-v1?episodes=3")
    for name in names:
        Path(name).write_text(name)

    def read(source: str) -> list[tuple[str, str]]:
        open_source.cache_clear()
        return [(candidate.episode_id, result.metadata.task) for candidate, result in read_source(open_source(source))]

    assert read("text:a.txt?task=x.txt") == [("a.txt?task=x.txt", "text")]
    assert read("text:a.txt?task=x.txt?by=line") == [("a.txt?task=x.txt#1", "text")]
    assert read("text:a.txt?task=x") == [("a.txt", "x")]
    Path("a.txt?task=x.txt").unlink()
    assert read("text:a.txt?task=x.txt") == [("a.txt", "x.txt")]
    rollouts = open_source("rollouts:CartPole-v1?episodes=3")
    assert rollouts.options.episodes == 3  # the argument is no path
