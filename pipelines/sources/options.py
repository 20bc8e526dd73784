"""The options of a source, parsed from its string."""

import re
from typing import Any
from urllib.parse import parse_qsl

from pipelines.sources.source import SourceError


def split_options(argument: str) -> tuple[str, dict[str, str]]:
    """The argument and the options behind its last `?`; a `?` that no `option=` follows is a wildcard and stays.

    >>> split_options("docs/page?.txt?by=line&key=body")
    ('docs/page?.txt', {'by': 'line', 'key': 'body'})
    """
    found = re.search(r"\?([A-Za-z_][A-Za-z0-9_-]*=.*)$", argument)
    if not found:
        return argument, {}
    try:
        pairs = parse_qsl(found.group(1), keep_blank_values=True, strict_parsing=True)
    except ValueError as error:
        raise SourceError(f"the options of {argument!r} are not of the form option=value&option=value") from error
    if len({key for key, _ in pairs}) != len(pairs):
        raise SourceError(f"an option is given twice in {argument!r}")
    return argument[: found.start()], dict(pairs)


def take(options: dict[str, str], defaults: dict[str, Any]) -> dict[str, Any]:
    """The options with defaults filled in, each cast to the type of its default; SourceError for any other name."""
    unknown = sorted(set(options) - set(defaults))
    if unknown:
        raise SourceError(f"unknown option {', '.join(unknown)}; known: {', '.join(sorted(defaults))}")
    taken = dict(defaults)
    for key, text in options.items():
        try:
            taken[key] = type(defaults[key])(text)
        except ValueError as error:
            raise SourceError(f"option {key}={text!r} must be {type(defaults[key]).__name__}") from error
    return taken
