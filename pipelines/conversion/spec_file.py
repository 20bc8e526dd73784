"""SpecFile: the fields of each task as a TOML file, which a person edits: see docs/converting.md.

[tasks.toy.fields."observation/eye"]
role = "image"
size = [96, 96]
predicted = false
from = "observation/eye"
"""

import difflib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gato_tokenize import ContinuousSpec, DiscreteSpec, ImageSpec
from gato_tokenize.field_spec import TYPES, FieldSpec, TextSpec
from gato_tokenize.roles import MEANINGS, Roles
from gato_tokenize.storage.place import describe
from pipelines.sources import options_of
from pipelines.sources.field_options import FieldOptions
from pipelines.sources.source import Source

FORMAT = 1
KEYS = ("role", "size", "low", "high", "predicted", "from")
ROLES = ("text", *MEANINGS)
Fields = dict[str, dict[str, Any]]  # {path in the spec: {one of KEYS: value}}
_HEAD = """\
# Fields of each task. Edit them, and give the file back: gato-data convert SOURCE --spec FILE, or gato-data plan.
# A field whose table is deleted is left out. A key that is deleted is inferred. A field that was left out is kept by a
# table of its own with a `from`, which is the name of the field in the source; the one of observation/instruction
# is the instruction.
# role: {roles}.
# size: [height, width] of pictures, in multiples of 16.
# low, high: the least and the largest value of an action or a discrete field, one number for all elements or one each.
# predicted: whether a text of the observation is in the loss; actions always are, other fields never.
"""


class SpecFileError(ValueError):
    """A file of specs that cannot be used; the message names the file, the line and the key."""


class SpecFile:
    """A file of specs that was read. tasks: {task: its fields, or None if the file does not list them}."""

    def __init__(self, path: Path, text: str) -> None:
        """Raises SpecFileError for what is no TOML, for an unknown key, and for a value of another type."""
        self.path, self._lines = path, dict[tuple[str, ...], int]()
        for keys, line in _places(text):
            for count in range(1, len(keys) + 1):
                self._lines.setdefault(keys[:count], line)
        try:
            content = tomllib.loads(text)
        except ValueError as error:
            raise SpecFileError(f"{path}: cannot be read as TOML: {error}") from error
        self._check_keys((), content, ("format", "tasks"))
        if content.get("format") != FORMAT:
            raise self.error(("format",), f"must be {FORMAT}, not {content.get('format')!r}")
        self.tasks: dict[str, Fields | None] = {}
        for task, said in self._table(("tasks",), content.get("tasks", {})).items():
            self._check_keys(("tasks", task), self._table(("tasks", task), said), ("fields",))
            self.tasks[task] = self._fields(task, said["fields"]) if "fields" in said else None

    @classmethod
    def read(cls, path: Path) -> "SpecFile":
        """Raises SpecFileError also for a file that cannot be read."""
        if not path.is_file():
            raise SpecFileError(f"{path}: a TOML file of specs is expected, but {describe(path)}")
        try:
            return cls(path, path.read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError) as error:
            raise SpecFileError(f"{path}: cannot be read: {error}") from error

    def error(self, keys: tuple[str, ...], message: str) -> SpecFileError:
        """An error that names the line of the longest beginning of `keys` that stands in the file."""
        places = (self._lines.get(keys[:count]) for count in range(len(keys), 0, -1))
        line = next((place for place in places if place), None)
        where = f"{self.path}, line {line}" if line else f"{self.path}"
        return SpecFileError(f"{where}: {_dotted(keys)}: {message}")

    def field_error(self, task: str, path: str, key: str, message: str) -> SpecFileError:
        keys = ("tasks", task, "fields", path, key)
        return self.error(keys if key else keys[:-1], message)

    def _fields(self, task: str, said: Any) -> Fields:
        place = ("tasks", task, "fields")
        fields: Fields = {}
        for path, values in self._table(place, said).items():
            if not re.match(r"(observation|action)(/|$)", path):
                raise self.error((*place, path), "a field's path begins with observation or action")
            self._check_keys((*place, path), self._table((*place, path), values), KEYS)
            for key, value in values.items():
                if wrong := _wrong(key, value):
                    raise self.error((*place, path, key), f"must be {wrong}, not {_toml(value)}")
            fields[path] = {key: _plain(value) if key in ("low", "high") else value for key, value in values.items()}
        return fields

    def _table(self, keys: tuple[str, ...], value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.error(keys, f"must be a table, not {_toml(value)}")
        return value

    def _check_keys(self, place: tuple[str, ...], table: Mapping[str, Any], known: tuple[str, ...]) -> None:
        for key in table:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f" (nearest: {near[0]!r})" if near else ""
                raise self.error((*place, key), f"unknown key{hint}; the keys are {', '.join(known)}")


def fields_of(source: Source) -> dict[str, Fields]:
    """Return {task: its fields as a file has them} of a source."""
    readings, found = source.readings(), dict[str, Fields]()
    cls, options = options_of(source.source)
    chosen = issubclass(cls.Options, FieldOptions) if hasattr(cls, "Options") else False
    roles = Roles.parse(options.get("roles", ""), options.get("resize", "")) if chosen else Roles()
    for task, spec in source.specs().items():
        fields: Fields = {}
        for path, field in spec.fields.items():
            stack = next((stack for stack, _ in roles.by_path if path.startswith(f"{stack}/")), path)
            entry = fields[stack] = {"role": roles.of(stack) or _type_of(field), **_values(field, stack)}
            if task in readings:
                entry["from"] = readings[task].places.get(stack, stack)
        found[task] = fields
    return found


def rendered(tasks: Mapping[str, Fields], comments: Mapping[tuple[str, str], list[str]]) -> str:
    """Write a file. comments: {(task, path), or (task, ""): lines that explain the field, or end the task}."""
    parts = [_HEAD.format(roles=", ".join(ROLES)), f"format = {FORMAT}\n"]
    for task, fields in tasks.items():
        for path, values in fields.items():
            parts.append(f"\n[tasks.{_toml(task)}.fields.{_toml(path)}]\n")
            parts += _commented(comments.get((task, path), []))
            parts += [f"{key} = {_toml(values[key])}\n" for key in KEYS if key in values]
        if more := comments.get((task, ""), []):
            parts += ["\n", *_commented(more)]
    return "".join(parts)


def _commented(lines: list[str]) -> list[str]:
    return ["# " + "".join(c if c.isprintable() else " " for c in line) + "\n" for line in lines]


def _type_of(field: FieldSpec) -> str:
    return next(name for name, cls in TYPES.items() if type(field) is cls)


def _values(field: FieldSpec, path: str) -> dict[str, Any]:
    is_action = path.split("/")[0] == "action"
    values: dict[str, Any] = {}
    if isinstance(field, ImageSpec) and field.resize:
        values["size"] = list(field.resize)
    if isinstance(field, DiscreteSpec):
        pair = np.broadcast_arrays(np.asarray(field.low, object), np.asarray(field.size, object))
        lows, sizes = (numbers.ravel().tolist() for numbers in pair)
        values["low"] = _plain(lows)
        values["high"] = _plain([low + size - 1 for low, size in zip(lows, sizes, strict=True)])
    if isinstance(field, ContinuousSpec) and is_action:
        values |= {"low": _plain(field.low), "high": _plain(field.high)}
    values["predicted"] = is_action or (isinstance(field, TextSpec) and field.predict)
    return values


def _wrong(key: str, value: Any) -> str:
    """What the value of a key must be, if it is not that; else ""."""
    if key == "predicted":
        return "" if isinstance(value, bool) else "true or false"
    if key == "from":
        return "" if isinstance(value, str) and value else "the name of a field in quotes"
    if key == "role":
        return "" if value in ROLES else f"one of {', '.join(ROLES)}"
    numbers = value if isinstance(value, list) else [value]
    if key == "size":
        sides = len(numbers) == 2 and all(type(side) is int and side > 0 and side % 16 == 0 for side in numbers)
        return "" if sides else "[height, width] in multiples of 16"
    finite = numbers and all(type(number) in (int, float) and abs(number) < float("inf") for number in numbers)
    return "" if finite else "a number, or an array with one for each element"


def _plain(value: Any) -> Any:
    """A number for all elements in place of equal ones."""
    if isinstance(value, list | tuple):
        numbers = list(value)
        return numbers[0] if all(type(one) in (int, float) and one == numbers[0] for one in numbers) else numbers
    return value


def _toml(value: Any) -> str:
    r"""Write a value, or a key in quotes, on one line.

    >>> print(_toml([1.0, -2.5]), _toml("a\n\"b\""), _toml(True))
    [1.0, -2.5] "a\n\"b\"" true
    """
    return json.dumps(value, ensure_ascii=False, default=str).replace("\x7f", "\\u007f")


def _dotted(keys: tuple[str, ...]) -> str:
    return ".".join(key if re.fullmatch(r"[\w-]+", key) else _toml(key) for key in keys)


def _places(text: str) -> Iterator[tuple[tuple[str, ...], int]]:
    """Yield (path of keys, number of its line) of each table's head and each key that begins a line."""
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("["):
            if keys := _keys(line):
                table = keys
                yield table, number
            continue
        for found in re.finditer("=", line):
            if keys := _keys(f"{line[: found.start()]}= 0"):
                yield (*table, *keys), number
                break


def _keys(line: str) -> tuple[str, ...]:
    """The keys of a line of TOML that is a table's head or sets one value; () if it is neither."""
    try:
        node, keys = tomllib.loads(line), list[str]()
    except ValueError:
        return ()
    while isinstance(node, dict) and len(node) == 1:
        ((key, node),) = node.items()
        keys.append(key)
    return tuple(keys)
