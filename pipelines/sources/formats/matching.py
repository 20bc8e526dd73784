"""Finding input files by a pattern: one file is one input, however many names lead to it."""

import glob
import os
import re
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import NamedTuple

from gato_tokenize.installing import missing
from gato_tokenize.storage.address import full, is_address
from pipelines.sources.errors import SourceError
from pipelines.sources.formats.places import files_below, is_file, matching_addresses

STARS = re.compile(r"(?:(.*?)(/+))??\*\*(?:/+(.*))?", re.DOTALL)  # (what precedes the first `**`, /, what follows it)


class Matches(NamedTuple):
    """The files that a pattern names, each once, and the other names that lead to them."""

    files: list[str]  # in byte order
    left_out: list[str]  # a line for each name that is left out: "b.txt is another name of a.txt"


def file_identity(path: str) -> Hashable:
    """Identify a file or folder itself: a link, a hard link and another spelling of its path have the same identity."""
    status = os.stat(path or ".")
    return status.st_dev, status.st_ino


def matching(pattern: str, identity: Callable[[str], Hashable] = file_identity) -> Matches:
    """Find the regular files that `pattern` names; SourceError if there are none.

    `*`, `?`, `[...]` and `**` are wildcards, unless a file of exactly that name exists. Of several names with one
    `identity`, the one that passes the fewest links is kept. A cycle of links ends. Each address is a file of its own.
    """
    if is_address(pattern):
        found = matching_addresses(full(pattern))
        if not found:
            raise SourceError(f"no file matches {full(pattern)!r}")
        for path in found:
            _check_name(path)
        return Matches(found, [])
    search = _Search()
    paths = [pattern] if os.path.isfile(pattern) else search.paths(pattern)
    names: dict[Hashable, list[str]] = defaultdict(list)
    for path in sorted({path for path in paths if os.path.isfile(path)}, key=_fewest_links_first):
        names[identity(path)].append(path)
    files = sorted((first for first, *_ in names.values()), key=os.fsencode)
    if not files:
        raise SourceError(f"no file matches {pattern!r}")
    for path in files:
        _check_name(path)
    others = [_other_name(path, first) for first, *rest in names.values() for path in rest]
    return Matches(files, search.left_out + others)


def files_in(argument: str, endings: Sequence[str]) -> Matches:
    """Find the files of a pattern, or those below a folder that end in one of `endings` and are not hidden; SourceError
    if there are none."""
    if is_address(argument):
        return _files_at(full(argument), tuple(endings))
    if not os.path.isdir(argument):
        return matching(argument)
    below = os.path.join(glob.escape(argument), "**", "*")
    there = [ending for ending in endings if glob.glob(below + ending, recursive=True)]
    if not there:
        raise SourceError(f"no file below {argument!r} ends in {', '.join(endings)}")
    matches = [matching(below + ending) for ending in there]
    files = sorted((file for one in matches for file in one.files), key=os.fsencode)
    return Matches(files, [name for one in matches for name in one.left_out])


def _files_at(argument: str, endings: tuple[str, ...]) -> Matches:
    if not glob.has_magic(argument) and not is_file(argument):
        names = [name for name, _ in files_below(argument) if name.endswith(endings)]
        shown = [name for name in names if not any(part.startswith(".") for part in name.split("/"))]
        if shown:
            return Matches([f"{argument.rstrip('/')}/{name}" for name in shown], [])
    return matching(argument)


def _fewest_links_first(path: str) -> tuple[int, bytes]:
    names = path.split("/")
    links = sum(os.path.islink("/".join(names[:count])) for count in range(1, len(names) + 1))
    return links, os.fsencode(path)


def _other_name(path: str, first: str) -> str:
    return f"{path} is another name of {first or '.'}"


def _check_name(path: str) -> None:
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise SourceError(f"the name of {os.fsencode(path)!r} is not UTF-8: no record can hold it") from error
    if path.endswith(".zst"):
        try:
            import zstandard  # noqa: F401
        except ImportError as error:
            raise SourceError(missing(path, error, "text")) from error


class _Search:
    """`glob.glob` with `**`, but no folder is searched twice for the same names: links may lead in circles."""

    def __init__(self) -> None:
        self.left_out: list[str] = []
        self._searched: dict[tuple[Hashable, str], str] = {}  # {(folder, what is searched there): its first name}

    def paths(self, pattern: str) -> Iterator[str]:
        stars = STARS.fullmatch(pattern)
        if not stars:
            yield from glob.glob(pattern)
            return
        head, slash, rest = stars.groups()
        rest = "*" if rest is None else rest
        for folder in self._folders([""] if slash is None else glob.glob(head or slash), rest):
            yield from self.paths(os.path.join(glob.escape(folder), rest))

    def _folders(self, tops: Iterable[str], rest: str) -> Iterator[str]:
        """Yield the folders `tops` and all below them that are not hidden. Those that a link leads to come last, so
        that a file has a name without links if there is one."""
        real: deque[str] = deque()
        links: deque[str] = deque()
        for top in sorted((top for top in tops if os.path.isdir(top or ".")), key=os.fsencode):
            (links if os.path.islink(top) else real).append(top)
        while real or links:
            folder = (real or links).popleft()
            key = (file_identity(folder), rest)
            if key in self._searched:
                self.left_out += [_other_name(folder, self._searched[key])] if os.path.islink(folder) else []
                continue
            self._searched[key] = folder
            yield folder
            for name in _visible_folders(folder):
                path = os.path.join(folder, name)
                (links if os.path.islink(path) else real).append(path)


def _visible_folders(folder: str) -> list[str]:
    try:
        with os.scandir(folder or ".") as entries:
            names = [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
    except OSError as error:
        raise SourceError(f"the folder {folder or '.'} cannot be searched: {error.strerror}") from error
    return sorted(names, key=os.fsencode)
