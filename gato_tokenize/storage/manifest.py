"""The bytes of manifest.json and of other large JSON, in parts: the whole takes several times its length of memory."""

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

_PIECES = 10_000  # of JSON, each a word or a number, that are encoded at a time


def manifest_bytes(manifest: dict[str, Any]) -> bytes:
    """The content of the manifest's file. Its last key is the sha256 of all before it, which shows damage to it."""
    return b"".join(manifest_parts(manifest))


def manifest_parts(manifest: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield the same content, some of it at a time."""
    digest, held = hashlib.sha256(), b""
    for part in json_parts({key: value for key, value in manifest.items() if key != "sha256"}):
        digest.update(part)
        held += part
        yield held[:-2]
        held = held[-2:]  # at the end this is the last line end and bracket, before which the hash goes
    yield b',\n "sha256": "%s"\n}\n' % digest.hexdigest().encode()


def json_parts(content: Mapping[str, Any], sort_keys: bool = False) -> Iterator[bytes]:
    """Yield indented JSON, some of it at a time."""
    pieces = json.JSONEncoder(indent=1, ensure_ascii=False, sort_keys=sort_keys).iterencode(content)
    while some := "".join(itertools.islice(pieces, _PIECES)):
        yield some.encode()
