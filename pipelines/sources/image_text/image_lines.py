"""JSON lines that name pictures below the folder of their file: {"image": "cats/1.png", ...}."""

import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Hashable, Iterator
from typing import Any

from gato_tokenize.storage.address import RemoteError, is_address
from gato_tokenize.storage.remote_file import open_file
from pipelines.sources.errors import Filtered
from pipelines.sources.formats import lines
from pipelines.sources.formats.files import hashed
from pipelines.sources.formats.matching import file_identity
from pipelines.sources.formats.places import Size, size_of, size_of_open, sizes_in
from pipelines.sources.pieces import RECORD_BYTES, Mark, Piece, spans

MAX_IMAGE_BYTES = 64 * 2**20


def identity(path: str) -> Hashable:
    """Identify an input file; a .jsonl together with its folder, because its lines name the pictures below that."""
    folder = file_identity(os.path.dirname(path)) if path.endswith(".jsonl") else None
    return file_identity(path), folder


def pieces_of(path: str) -> tuple[list[dict[str, Any]], list[Piece]]:
    """Read the lines and the sizes of their pictures: (the fingerprints of both, the pieces, each a `LineRange`).

    A bad line or a missing picture adds no weight.
    """
    with hashed(path) as file:
        source = file.fingerprint()
    pictures = _Pictures(path)
    found = [
        Piece(lines.line_range(source, start.byte, stop.byte, start.number + 1), stop.weight - start.weight)
        for start, stop in spans(_marks(lines.line_range(source, 0, source["bytes"], 1), pictures))
    ]
    return [source, pictures.fingerprint()], found


class _Pictures:
    """The pictures that the lines of a file name. Those that cannot be found count as empty."""

    def __init__(self, path: str) -> None:
        self._path, self._names, self._bytes = path, hashlib.sha256(), 0
        self._folder, self._sizes = "", dict[str, Size]()  # what was listed last

    def add(self, line: lines.Line) -> int:
        """Add the picture of one more line; return its size in bytes."""
        name, size = "", Size(0)
        with contextlib.suppress(ValueError, FileNotFoundError, Filtered):
            name = str(record_of(line, self._path).get("image", ""))
            size = self._size(path_below(os.path.dirname(self._path), name, self._path))
        said = f"{size} {name} {size.stamp}" if size.stamp else f"{size} {name}"
        self._names.update(f"{said}\n".encode("utf-8", "backslashreplace"))
        self._bytes += size
        return size

    def _size(self, path: str) -> Size:
        """The size of a picture. At an address, a folder is listed once for all the pictures in it."""
        if not is_address(path):
            try:
                return Size(os.stat(path).st_size)
            except OSError:
                return Size(0)
        folder, _, name = path.rpartition("/")
        if folder != self._folder:
            self._folder, self._sizes = folder, sizes_in(folder)
        size = self._sizes.get(name)
        return size_of(path) if size is None else size

    def fingerprint(self) -> dict[str, Any]:
        return {"uri": f"{self._path}#images", "bytes": self._bytes, "sha256": self._names.hexdigest()}


def _marks(whole: lines.LineRange, pictures: _Pictures) -> Iterator[Mark]:
    """Yield the end of each line, weighed with its picture."""
    weight = 0
    for line in lines.read(whole):
        weight += pictures.add(line) + len(line.data) + RECORD_BYTES
        yield Mark(line.stop, line.number, weight)


def record_of(line: lines.Line, where: str) -> dict[str, Any]:
    """Parse the object of a line."""
    if not line.data.strip():
        raise Filtered("blank line")
    text = lines.text_of(line.data, where)
    return lines.object_of(text.removeprefix("\ufeff") if line.number == 1 else text, where)


def path_below(folder: str, name: str, where: str) -> str:
    """Find the picture `name` below a folder; ValueError if it lies outside, even through a link."""
    folder = folder if is_address(folder) else os.path.realpath(folder)
    if os.path.isabs(name) or ".." in re.split(r"[/\\]", name) or "\0" in name:
        raise ValueError(f"{where}: the image {name[:200]!r} must be a path below the folder {folder}, without '..'")
    if is_address(folder):
        return f"{folder}/{name}"
    path = os.path.realpath(os.path.join(folder, name))
    if os.path.commonpath([folder, path]) != folder:
        raise ValueError(f"{where}: the image {name[:200]!r} is a link out of the folder {folder}")
    return path


def image_of(uri: str, where: str, record: dict[str, Any]) -> bytes:
    """Read the file that the record of a line names; ValueError if it cannot be read."""
    return picture(os.path.dirname(uri), lines.string_of(record, "image", where), where)


def picture(folder: str, name: str, where: str) -> bytes:
    """Read the picture `name` below a folder; ValueError if it cannot be read."""
    path, name = path_below(folder, name, where), name[:200]
    try:
        if not is_address(path) and not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would hang
            raise ValueError(f"{where}: the image {name!r} is no file")
        with open_file(path) as file:
            size = size_of_open(file)
            if size > MAX_IMAGE_BYTES:
                raise ValueError(
                    f"{where}: the image {name!r} has {size} bytes, more than {MAX_IMAGE_BYTES}, the most that an image"
                    " may have: make it smaller"
                )
            data = file.read(MAX_IMAGE_BYTES)
    except RemoteError:
        raise
    except OSError as error:
        raise ValueError(f"{where}: the image {name!r} cannot be read: {error.strerror}") from error
    return not_empty(data, f"{where}: the image {name!r}")


def not_empty(data: bytes, what: str) -> bytes:
    if not data:
        raise ValueError(f"{what} is an empty file")
    return data
