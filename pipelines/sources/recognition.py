"""Recognition: which source reads what lies at a plain path."""

import contextlib
import glob
import itertools
import os
from collections import deque
from typing import NamedTuple

from gato_tokenize.storage.address import full, is_address
from pipelines.sources import SOURCES, source_class
from pipelines.sources.entry_points import offered
from pipelines.sources.errors import SourceError
from pipelines.sources.formats.matching import matching
from pipelines.sources.on_disk import OnDisk
from pipelines.sources.options import split_options
from pipelines.sources.source import Source

_CHILDREN = 64  # files and folders, in one that no source reads, in which the message looks for what some source reads
_DEPTH = 2  # of these


def named_source(given: str) -> str:
    """Return what `open_source` opens: `given` itself if it is NAME:ARGUMENT or MODULE:CLASS:ARGUMENT, or for a plain
    path, with options or without, the NAME:ARGUMENT of the source that recognises what lies there.

    Of a pattern, the first file that matches is looked at. What is neither a source nor a path is returned as it is:
    `open_source` says so. Raises SourceError if nothing lies at the path that a source reads, or if several read it.
    """
    name, colon, rest = given.partition(":")
    if colon and name in source_names():
        return given
    path = split_options(given, os.path.exists)[0]
    options = given[len(path) :]
    if os.path.exists(path):
        source, argument = _recognised(path)
        return f"{source}:{argument}{options}"
    if is_address(given):
        raise SourceError(
            f"{full(given)} is an address, at which nothing is looked for: write NAME:{full(given)}, NAME one of"
            f" {', '.join(source_names())}"
        )
    if not glob.has_magic(path) or rest.partition(":")[0].isidentifier():
        return given
    files = matching(path).files
    return f"{_recognised(files[0])[0]}:{path}{options}"


def source_names() -> list[str]:
    """The names of the sources that are built in, and then of those that installed packages offer."""
    installed = offered().names
    return [*SOURCES, *sorted(installed - set(SOURCES))]


class _Answers(NamedTuple):
    """What the sources say to a path."""

    found: dict[str, str]  # {name: the argument by which it reads the path}
    asked: dict[str, type[Source]]
    faults: dict[str, str]  # {name: why it could not look}


def _recognised(path: str) -> tuple[str, str]:
    """Return (the name of the source that reads what lies at a path, the argument by which it does)."""
    try:
        return _chosen(path)
    except OSError as error:
        raise SourceError(f"{path} cannot be looked at: {error}") from error


def _chosen(path: str) -> tuple[str, str]:
    found, asked, faults = _ask(OnDisk(path))
    if len(found) == 1:
        return next(iter(found.items()))
    if found:
        several = " or ".join(f"{name}:{argument} ({asked[name].looks_for})" for name, argument in found.items())
        raise SourceError(f"{path} can be read by {len(found)} sources: write {several}")
    raise SourceError(_nothing(path, asked, faults))


def _ask(lying: OnDisk) -> _Answers:
    if lying.is_folder and _is_converted(lying):
        raise SourceError(
            f"{lying.path} is a dataset that was converted already: `gato-data merge`, `filter` and `split` make new"
            " ones of it"
        )
    found: dict[str, str] = {}
    asked: dict[str, type[Source]] = {}
    faults: dict[str, str] = {}
    for name in source_names():
        try:
            cls = source_class(name)
            if cls.looks_for:
                asked[name] = cls
                argument = cls.recognises(lying)
                if argument is not None:
                    found[name] = argument
        except SourceError as error:
            faults[name] = str(error)
    marked = {name: argument for name, argument in found.items() if not asked[name].by_endings}
    return _Answers(marked or found, asked, faults)


def _is_converted(lying: OnDisk) -> bool:
    if not lying.has("manifest.json"):
        return False
    with open(os.path.join(lying.path, "manifest.json"), "rb") as file:
        return b'"plan_sha256"' in file.read(4096)


def _nothing(path: str, asked: dict[str, type[Source]], faults: dict[str, str]) -> str:
    lying = OnDisk(path)
    lines = [f"no source recognises {path}: {lying.described()}. Looked for:"]
    for name in dict.fromkeys((*asked, *faults)):
        parts = [asked[name].looks_for if name in asked else "", faults.get(name, "")]
        lines.append(f"  {name}: {'; but '.join(part for part in parts if part)}")
    if below := _below(lying):
        lines.append(f"Give what lies in it instead: {', '.join(below)}")
    lines.append(
        f"If you know which source reads it, write NAME:{path}; if none does, docs/adding-a-source.md shows how to"
        " write one"
    )
    return "\n".join(lines)


def _below(lying: OnDisk) -> list[str]:
    """What sources read in a folder and in the folders in it, up to 4 of them."""
    found: list[str] = []
    waiting = deque((os.path.join(lying.path, name), 1) for name in lying.names)
    for _ in range(_CHILDREN):
        if not waiting or len(found) == 4:
            break
        path, depth = waiting.popleft()
        child = OnDisk(path)
        with contextlib.suppress(SourceError, OSError):
            answers = _ask(child).found if child.is_folder or path.endswith(".zip") else {}
            found += [f"{source}:{argument}" for source, argument in itertools.islice(answers.items(), 1)]
            if not answers and depth < _DEPTH:
                waiting += ((os.path.join(path, name), depth + 1) for name in child.names)
    return found
