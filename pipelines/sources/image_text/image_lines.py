"""Lines of JSON that name pictures below their file's folder: {"image": "cats/1.png", ...}."""

import contextlib
import hashlib
import os
import re
import stat
from typing import Any

from pipelines.sources.formats import lines
from pipelines.sources.formats.files import hashed
from pipelines.sources.source import Filtered

MAX_IMAGE_BYTES = 64 * 2**20
PIECE_BYTES = 64 * 2**20  # of pictures and lines
PIECE_SAMPLES = 5_000


def cut(path: str) -> tuple[list[dict[str, Any]], list[tuple[lines.Piece, int | None]]]:
    """Pieces of about PIECE_BYTES of lines and pictures; a bad line or a missing picture weighs nothing."""
    with hashed(path) as file:
        source = file.fingerprint()
    pieces: list[tuple[lines.Piece, int | None]] = []
    names, total = hashlib.sha256(), 0
    piece = whole = lines.Piece(uri=path, bytes=source["bytes"], start=0, stop=source["bytes"], line=1, lines=None)
    weight = count = 0
    for line in lines.read(whole):
        name, size = "", 0
        with contextlib.suppress(ValueError, OSError, Filtered):
            name = str(record_of(line, path).get("image", ""))
            size = os.stat(_path(path, name, path)).st_size
        names.update(f"{size} {name}\n".encode("utf-8", "backslashreplace"))
        total, weight, count = total + size, weight + size + len(line.data), count + 1
        if weight >= PIECE_BYTES or count >= PIECE_SAMPLES or line.stop == source["bytes"]:
            pieces.append((lines.Piece(**{**piece, "stop": line.stop}), count))
            piece = lines.Piece(**{**whole, "start": line.stop, "line": line.number + 1})
            weight = count = 0
    return [source, {"uri": f"{path}#images", "bytes": total, "sha256": names.hexdigest()}], pieces


def record_of(line: lines.Line, where: str) -> dict[str, Any]:
    """The object of a line."""
    if not line.data.strip():
        raise Filtered("blank line")
    text = lines.text_of(line.data, where)
    return lines.object_of(text.removeprefix("\ufeff") if line.number == 1 else text, where)


def _path(uri: str, name: str, where: str) -> str:
    """The picture `name` below the folder of `uri`; ValueError where it would be outside, also by a link."""
    folder = os.path.realpath(os.path.dirname(uri))
    if os.path.isabs(name) or ".." in re.split(r"[/\\]", name) or "\0" in name:
        raise ValueError(
            f"{where}: the image {name[:200]!r} must be a path below the folder of the .jsonl, without '..'"
        )
    path = os.path.realpath(os.path.join(folder, name))
    if os.path.commonpath([folder, path]) != folder:
        raise ValueError(f"{where}: the image {name[:200]!r} is a link out of the folder of the .jsonl")
    return path


def image_of(uri: str, where: str, record: dict[str, Any]) -> bytes:
    """The bytes of the file that the record of a line names; ValueError where there are none to be had."""
    name = lines.string_of(record, "image", where)
    path, name = _path(uri, name, where), name[:200]
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):  # opening a pipe would hang
            raise ValueError(f"{where}: the image {name!r} is no file")
        if found.st_size > MAX_IMAGE_BYTES:
            raise ValueError(f"{where}: the image {name!r} has {found.st_size} bytes, more than {MAX_IMAGE_BYTES}")
        with open(path, "rb") as file:
            data = file.read(MAX_IMAGE_BYTES)
    except OSError as error:
        raise ValueError(f"{where}: the image {name!r} cannot be read: {error.strerror}") from error
    return not_empty(data, f"{where}: the image {name!r}")


def not_empty(data: bytes, what: str) -> bytes:
    if not data:
        raise ValueError(f"{what} is an empty file")
    return data
