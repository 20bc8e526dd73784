"""The files and folders of a source, at local paths or at addresses: whatever asks for more than the content of a file
asks here."""

import fnmatch
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO
from urllib.parse import unquote

from gato_tokenize.storage import address
from gato_tokenize.storage.address import Facts, is_address
from gato_tokenize.storage.remote_file import facts_of_open
from pipelines.sources.errors import SourceError


class Size(int):
    """The bytes of a file. stamp: of one at an address, its ETag or the time of its last change; "" of a local one."""

    stamp: str

    def __new__(cls, size: int, stamp: str = "") -> "Size":
        made = super().__new__(cls, size)
        made.stamp = stamp
        return made


def checked_address(argument: str) -> None:
    """Raise SourceError if an argument is an address that nothing here can open; no request is made."""
    if is_address(argument):
        try:
            address.check_scheme(argument)
        except ValueError as error:
            raise SourceError(str(error)) from error


def is_file(path: str) -> bool:
    return address.facts_of(path) is not None if is_address(path) else os.path.isfile(path)


def is_folder(path: str) -> bool:
    return address.is_folder(path) if is_address(path) else os.path.isdir(path)


def size_of(path: str) -> Size:
    """Return the size of a file. Raises OSError, FileNotFoundError if there is none."""
    if not is_address(path):
        return Size(os.path.getsize(path))
    facts = address.facts_of(path)
    if facts is None:
        raise FileNotFoundError(f"{path}: there is no such file")
    return _size(facts)


def size_of_open(file: BinaryIO) -> Size:
    """Return the size of an open file, at the time when it was opened if it lies at an address."""
    facts = facts_of_open(file)
    return _size(facts) if facts else Size(os.fstat(file.fileno()).st_size)


def sizes_of(paths: Sequence[str]) -> list[Size | None]:
    """Return the size of each file, None where there is none. Addresses are asked for at the same time."""
    away = [path for path in paths if is_address(path)]
    facts = dict(zip(away, address.facts_of_all(away), strict=True))
    sizes: list[Size | None] = []
    for path in paths:
        if path in facts:
            found = facts[path]
            sizes.append(_size(found) if found else None)
        else:
            sizes.append(size_of(path) if os.path.isfile(path) else None)
    return sizes


def known_sizes(paths: Sequence[str]) -> dict[str, Size]:
    """Return {path: the size of the file}. Raises OSError, FileNotFoundError if one is missing."""
    sizes = zip(paths, sizes_of(paths), strict=True)
    return {path: size_of(path) if size is None else size for path, size in sizes}


def total(sizes: Iterable[Size]) -> Size:
    """Return the bytes of several files, with a stamp that is another if one of theirs is."""
    found = list(sizes)
    stamps = [size.stamp for size in found]
    stamp = hashlib.sha256(json.dumps(stamps).encode()).hexdigest() if any(stamps) else ""
    return Size(sum(found), stamp if len(found) > 1 else "".join(stamps))


def names_in(folder: str) -> list[str]:
    """Return the names of the files and folders that lie directly in a folder. Raises OSError if there is no folder."""
    if not is_address(folder):
        return os.listdir(folder)
    entries = address.entries_of(folder)
    if not entries:
        raise FileNotFoundError(f"{folder}: there is no such folder, or its server does not list it")
    return [entry.name for entry in entries]


def files_in_folder(folder: str) -> dict[str, Size]:
    """Return {path: bytes} of the files that lie directly in a folder, by their names. Raises OSError as `names_in`."""
    paths = [f"{folder.rstrip('/')}/{name}" for name in sorted(names_in(folder))]
    return {path: size for path, size in zip(paths, sizes_of(paths), strict=True) if size is not None}


def plain_name(path: str) -> str:
    """The name of a file as it is on its server's disk: over HTTP a page of links may write $ as %24."""
    name = os.path.basename(path)
    return unquote(name) if path.lower().startswith(("http:", "https:")) else name


def listed_in(folder: str) -> dict[str, Size | None]:
    """Return {plain name: size, None if the listing does not tell it} of the files in the folder at an address."""
    entries = [entry for entry in address.entries_of(folder) if not entry.folder]
    return {plain_name(f"{folder}/{one.name}"): _size(one.facts) if one.facts else None for one in entries}


def sizes_in(folder: str) -> dict[str, Size]:
    """Return {name: size} of the files directly in the folder at an address, as far as its listing tells sizes."""
    return {entry.name: _size(entry.facts) for entry in address.entries_of(folder) if entry.facts is not None}


def files_below(folder: str) -> Iterator[tuple[str, Size]]:
    """Yield (path below the folder, size) of every file below a folder, the names of each folder in order; nothing if
    there is no folder."""
    if is_address(folder):
        yield from ((name, _size(facts)) for name, facts in address.files_under(folder).items())
        return
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(place, name)
            yield os.path.relpath(path, folder), size_of(path)


def stamped(size: int | None) -> dict[str, str]:
    """Return what a partition says of a file besides its size, for `require_unchanged`; {} of a local file."""
    stamp = getattr(size, "stamp", "")
    return {"stamp": stamp} if stamp else {}


def require_unchanged(path: str, size: int | None, said: Mapping[str, Any], file: BinaryIO | None = None) -> None:
    """Raise ValueError unless a file is as it was planned: of `size` bytes, unless that is None, and, at an address,
    with the stamp in `said`, a part of a partition that `stamped` has made. file: the file, if it is open already."""
    require_size(path, size_of_open(file) if file else size_of(path), size, said)


def require_size(path: str, found: Size, size: int | None, said: Mapping[str, Any]) -> None:
    """`require_unchanged`, of what has the size `found` now."""
    if size is not None and found != size:
        raise ValueError(f"{path} has changed since it was planned: {found} bytes now, {size} then; plan again")
    if said.get("stamp", found.stamp) != found.stamp:
        raise ValueError(
            f"{path} has changed since it was planned: its ETag or time is {found.stamp} now, {said['stamp']} then;"
            " plan again"
        )


def matching_addresses(pattern: str) -> list[str]:
    """Return the addresses of the files that a pattern matches, by the rules for local paths. Folders that no wildcard
    stands for are not listed. Raises OSError if one cannot be."""
    if is_file(pattern):
        return [pattern]
    scheme, _, rest = pattern.partition("://")
    top, *parts = rest.split("/")
    if any("**" in part and part != "**" for part in parts):
        raise SourceError(f"{pattern}: ** must stand alone between two slashes")
    return sorted(_expanded(f"{scheme}://{top}", [part for part in parts if part]), key=os.fsencode)


def _expanded(folder: str, parts: list[str]) -> Iterator[str]:
    plain = next((i for i, part in enumerate(parts) if _is_pattern(part)), len(parts))
    if plain == len(parts):
        return
    folder, parts = "/".join([folder, *parts[:plain]]), parts[plain:]
    if parts[0] == "**":
        names: Iterable[str] = address.files_under(folder)
        rest = parts if parts[-1] != "**" else [*parts, "*"]
        yield from (f"{folder}/{name}" for name in names if _fits(name.split("/"), rest))
        return
    for entry in address.entries_of(folder):
        if _fits([entry.name], parts[:1]):
            place = f"{folder}/{entry.name}"
            if len(parts) == 1:
                yield from () if entry.folder else (place,)
            elif entry.folder and any(map(_is_pattern, parts[1:])):
                yield from _expanded(place, parts[1:])
            elif entry.folder and is_file("/".join([place, *parts[1:]])):
                yield "/".join([place, *parts[1:]])


def _fits(names: Sequence[str], parts: Sequence[str]) -> bool:
    """Return whether a path matches a pattern; as in a shell, no wildcard stands for a name that begins with a dot."""
    if not parts:
        return not names
    if parts[0] == "**":
        below = bool(names) and not names[0].startswith(".") and _fits(names[1:], parts)
        return below or _fits(names, parts[1:])
    if not names or (names[0].startswith(".") and not parts[0].startswith(".")):
        return False
    return fnmatch.fnmatchcase(names[0], parts[0]) and _fits(names[1:], parts[1:])


def _is_pattern(part: str) -> bool:
    return any(sign in part for sign in "*?[")


def _size(facts: Facts) -> Size:
    return Size(facts.bytes, facts.stamp)
