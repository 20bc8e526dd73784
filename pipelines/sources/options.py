"""The options of a source: how they are split off its string, cast, checked, and listed in the documentation."""

import dataclasses
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

from gato_tokenize.roles import Size as Size
from gato_tokenize.roles import size_of
from pipelines.sources.errors import SourceError

_Chosen = TypeVar("_Chosen", bound="SourceOptions")

_FORMS: dict[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Size: "HEIGHTxWIDTH, such as 224x224",
}


def option(default: Any, help: str) -> Any:
    """A field of a `SourceOptions` class; `help` is its line in docs/sources.md."""
    return dataclasses.field(default=default, metadata={"help": help})


@dataclasses.dataclass(frozen=True)
class SourceOptions:
    """The options of a source: a subclass has a field for each, made by `option`, of type str, int, float, bool,
    `Literal[...]` of strings, or `Size`, the last also with `| None`.

    A subclass checks its values by `require` in its `__post_init__`; the members of a Literal are checked here.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Toy(SourceOptions):
    ...     by: Literal["file", "line"] = option("file", "what a document is")
    ...     width: int = option(1, "numbers in an observation")
    ...
    ...     def __post_init__(self):
    ...         super().__post_init__()
    ...         self.require("width", self.width >= 1, "at least 1")
    >>> parse_options(Toy, {"width": "4"})
    Toy(by='file', width=4)
    >>> Toy(width=0)
    Traceback (most recent call last):
    ...
    pipelines.sources.errors.SourceError: option width=0 must be at least 1
    """

    def __post_init__(self) -> None:
        for name, kind in typing.get_type_hints(type(self)).items():
            if typing.get_origin(kind) is Literal:
                legal = typing.get_args(kind)
                self.require(name, getattr(self, name) in legal, f"one of {', '.join(legal)}")

    def require(self, name: str, fulfilled: bool, legal: str) -> None:
        """Raise SourceError unless the value of the option `name` is `legal`."""
        if not fulfilled:
            raise SourceError(f"option {name}={written(getattr(self, name))} must be {legal}")


def parse_options(cls: type[_Chosen], given: Mapping[str, str]) -> _Chosen:
    """Cast the options that a source's string gives; the rest have their defaults.

    Raises SourceError for an unknown name (it lists the known ones) and for an illegal value.
    """
    kinds = {field.name: typing.get_type_hints(cls)[field.name] for field in dataclasses.fields(cls)}
    if unknown := sorted(set(given) - set(kinds)):
        raise SourceError(f"unknown option {', '.join(unknown)}; known: {', '.join(sorted(kinds)) or 'none'}")
    return cls(**{name: _cast(name, kinds[name], text) for name, text in given.items()})


def _cast(name: str, kind: Any, text: str) -> Any:
    if kind == Size | None:
        return _cast(name, Size, text) if text else None
    if typing.get_origin(kind) is Literal:
        return text
    try:
        if kind == Size:
            return size_of(text)
        return {"true": True, "false": False}[text] if kind is bool else kind(text)
    except (ValueError, KeyError, AttributeError) as error:
        raise SourceError(f"option {name}={text} must be {_FORMS[kind]}") from error


def written(value: Any) -> str:
    """Write a value as it stands in a source's string.

    >>> [written(value) for value in (60.0, True, (224, 224), "expert", None)]
    ['60', 'true', '224x224', 'expert', '']
    """
    if value is None:
        return ""
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


def options_table(cls: type[SourceOptions], without: type[SourceOptions] = SourceOptions) -> str:
    """Render the options as the Markdown table of docs/sources.md, but for those of `without`; "" if there are none."""
    known = {field.name for field in dataclasses.fields(without)}
    fields = [field for field in dataclasses.fields(cls) if field.name not in known]
    rows = [(field.name, written(field.default), field.metadata["help"]) for field in fields]
    head = "| option | default | meaning |\n|---|---|---|\n"
    return head + "".join(f"| `{name}` | {default} | {help} |\n" for name, default, help in rows) if rows else ""


def split_options(argument: str, exists: Callable[[str], bool] = lambda path: False) -> tuple[str, dict[str, str]]:
    r"""Split off the options after the first `?` that `option=` follows; any other `?` is a wildcard and stays.

    exists: whether a path exists. The longest beginning of `argument` that does is taken whole, whatever `?` is in it.
    Values are as typed, but for `\&`, which is an `&` that separates no options.

    >>> split_options("docs/page?.txt?by=line&key=body")
    ('docs/page?.txt', {'by': 'line', 'key': 'body'})
    >>> split_options(r"a.txt?task=R\&D+50%20")
    ('a.txt', {'task': 'R&D+50%20'})
    >>> split_options("a.txt?task=b.txt?by=line", lambda path: path in ("a.txt", "a.txt?task=b.txt"))
    ('a.txt?task=b.txt', {'by': 'line'})
    """
    places = [found.start() for found in re.finditer(r"\?(?=[A-Za-z_][A-Za-z0-9_-]*=)", argument)]
    if not places or exists(argument):
        return argument, {}
    place = next((place for place in reversed(places) if exists(argument[:place])), places[0])
    options: dict[str, str] = {}
    for pair in re.split(r"(?<!\\)&", argument[place + 1 :]):
        name, equals, value = pair.replace(r"\&", "&").partition("=")
        if not name or not equals:
            raise SourceError(
                f"the options of {argument!r} are not of the form option=value&option=value: {pair!r} is none; write"
                r" \& for an & in a value"
            )
        if name in options:
            raise SourceError(f"option {name} is given twice in {argument!r}")
        options[name] = value
    return argument[:place], options
