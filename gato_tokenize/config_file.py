"""Configuration files: the options of a command as TOML, each by its long name, arrays for lists.

    command = "gato-data convert"       # optional; a file of another command is refused
    sources = ["text:a/*.txt", "text:b/*.txt?by=line"]
    out = "data/texts/1.0.0"
    validation-fraction = 0.1

An argument without a name has the name of its place (`sources`). An option without a value is left out: TOML has no
null. Relative paths are relative to the current folder, as on the command line.
"""

import argparse
import difflib
import json
import tomllib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gato_tokenize.storage.place import describe

COMMAND = "command"  # the key that names the command of the file
NOT_IN_FILES = ("help", "config", "print_config")  # by `dest`
_FORMS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text in quotes",
    dict: "a table",
}


class ConfigError(ValueError):
    """A configuration file that cannot be used; the message names the file and the key."""


def keys(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """Return the options that a file may give: {key: action}."""
    actions = [action for action in parser._actions if action.dest not in NOT_IN_FILES]
    return {_key(action): action for action in actions}


def read(path: Path, parser: argparse.ArgumentParser, more: str = "") -> dict[str, Any]:
    """Read a file into {key: value}, each value as the command line would give it.

    more: another key that the file may have, of an array of texts. Raises ConfigError for a file that cannot be read,
    that is another command's, and for an unknown key or a wrong value.
    """
    content = _content(path)
    command = content.pop(COMMAND, parser.prog)
    if command != parser.prog:
        raise ConfigError(f"{path}: the file is for {command!r}, not for {parser.prog!r}")
    known: dict[str, argparse.Action | None] = {**keys(parser), **({more: None} if more else {})}
    if unknown := [key for key in content if key not in known]:
        raise ConfigError(f"{path}: {_unknown(unknown, known, parser.prog)}")
    return {key: _checked(path, key, known[key], value) for key, value in content.items()}


def write(values: argparse.Namespace, parser: argparse.ArgumentParser, more: Mapping[str, list[str]]) -> str:
    """Return the TOML of a command's options, which `read` reads. An option that is None is left out.

    more: other keys, and their texts. Raises ConfigError for a text that is not Unicode: no TOML can hold it.
    """
    import tomli_w  # needed here alone

    given = {key: _plain(getattr(values, action.dest)) for key, action in keys(parser).items()}
    content = {COMMAND: parser.prog, **{key: value for key, value in given.items() if value is not None}, **more}
    for key, value in content.items():
        try:
            tomli_w.dumps({key: value}).encode()
        except UnicodeEncodeError as error:
            raise ConfigError(f"{key} is not Unicode, so that no TOML can hold it: {value!r}") from error
    return tomli_w.dumps(content)


def _content(path: Path) -> dict[str, Any]:
    if not path.exists() or path.is_dir():
        raise ConfigError(f"{path}: a TOML file is expected, but {describe(path)}")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML: {error}") from error


def _unknown(unknown: list[str], known: Mapping[str, object], command: str) -> str:
    named = []
    for key in unknown:
        near = difflib.get_close_matches(key.replace("_", "-"), known, n=1)
        named.append(f"{key!r}" + (f" (nearest: {near[0]!r})" if near else ""))
    keys = "unknown key" if len(unknown) == 1 else "unknown keys"
    return f"{keys} {', '.join(named)}; the keys of {command!r} are {', '.join(known)}"


def _checked(path: Path, key: str, action: argparse.Action | None, value: Any) -> Any:
    """Check the value of a key, and make of it what the command line would make of it."""
    is_list = action is None or action.nargs in ("+", "*")
    if not is_list:
        return _one(path, key, action, value)
    if not isinstance(value, list):
        raise ConfigError(f"{path}: {key} must be an array of values, such as [{_written(value)}], not {value!r}")
    if not value and action is not None and action.required:
        raise ConfigError(f"{path}: {key} must have at least one value")
    return [_one(path, f"{key}[{number}]", action, one) for number, one in enumerate(value)]


def _one(path: Path, key: str, action: argparse.Action | None, value: Any) -> Any:
    kind = _kind(action)
    fits = type(value) is kind or (kind is float and type(value) is int)
    if not fits:
        raise ConfigError(f"{path}: {key} must be {_FORMS[kind]}, not {_written(value)}")
    if action is None or kind is bool:
        return value
    if action.choices is not None and value not in action.choices:
        raise ConfigError(f"{path}: {key} must be one of {', '.join(action.choices)}, not {_written(value)}")
    if not callable(action.type) or value == {}:
        return value
    try:
        return action.type(_words(value))
    except (argparse.ArgumentTypeError, ValueError, TypeError) as error:
        raise ConfigError(f"{path}: {key} = {_written(value)}: {error}") from error


def _kind(action: argparse.Action | None) -> type:
    """Return the type of an option's value in a file: bool, int, float, str or dict."""
    if isinstance(action, argparse.BooleanOptionalAction):
        return bool
    if action is None or action.type is None:
        return str
    made = action.type if isinstance(action.type, type) else typing.get_type_hints(action.type)["return"]
    made = typing.get_origin(made) or made
    return made if made in (int, float, dict) else str


def _key(action: argparse.Action) -> str:
    return action.option_strings[0].removeprefix("--") if action.option_strings else action.dest


def _words(value: Any) -> str:
    """Write a value as it stands on the command line."""
    if isinstance(value, dict):
        return ",".join(f"{name}={json.dumps(one)}" for name, one in value.items())
    return str(value)


def _written(value: Any) -> str:
    """Write a value about as it stands in the file."""
    return json.dumps(value, default=str, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value
