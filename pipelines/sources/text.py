"""TextSource: documents from .txt and .jsonl files, which may be compressed."""

import dataclasses
import functools
import os
from collections.abc import Iterator
from typing import Any, Literal

from gato_tokenize import Episode, EpisodeSpec
from gato_tokenize.episode import EpisodeMetadata
from pipelines.sources.errors import Filtered, SourceError
from pipelines.sources.formats import lines
from pipelines.sources.formats.files import hashed, opened
from pipelines.sources.formats.matching import Matches, matching
from pipelines.sources.on_disk import OnDisk, json_object, only_ending
from pipelines.sources.options import SourceOptions, option, parse_options
from pipelines.sources.pieces import RECORD_BYTES, Piece, pack
from pipelines.sources.source import Candidate, Source

PLAIN = (".txt", ".md", ".rst")
JSON_LINES = (".jsonl", ".ndjson")
COMPRESSED = (".gz", ".zst", ".xz", ".bz2")
LOOK = 3  # files of JSON lines that are looked into to tell texts from pictures with texts
_ENDINGS = tuple(kind + packed for kind in PLAIN + JSON_LINES for packed in ("", *COMPRESSED))


@dataclasses.dataclass(frozen=True)
class TextOptions(SourceOptions):
    by: Literal["file", "line"] = option(
        "file", "plain text (.txt, .md, .rst): a document is a `file` or a `line`; .jsonl and .ndjson: always a line"
    )
    key: str = option("text", "the JSON field that holds the document")
    id: str = option("", "the JSON field that holds the episode id; without it, ids are `path` or `path#line`")
    task: str = option("text", "name of the task")
    strip: bool = option(
        False, "`true` removes a byte order mark at the beginning and line ends at the end of each document"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("key", bool(self.key), "a field's name, not empty")
        self.require("task", bool(self.task), "a name, not empty")


class TextSource(Source):
    """`text:docs/*.txt`, `text:docs/*.txt.gz?by=line`, `text:corpus/**/*.jsonl.zst?key=body&id=url`.

    A plain file is one document, byte for byte; with `by=line`, each line is one, without its "\\n" or "\\r\\n" (a byte
    order mark stays). Each line of a .jsonl is an object whose field `key` is the document and whose field `id`, if the
    option is given, is the episode's id; a byte order mark before the first is dropped. Otherwise ids are
    `<path>#<line>`, or `<path>` for a whole file. Blank lines are filtered; an empty document is a reject.
    """

    Options = TextOptions
    reads_addresses = True
    looks_for = "a text or JSON lines, or a folder of nothing else"
    by_endings = True

    def __init__(self, argument: str, options: dict[str, str]) -> None:
        self.options = parse_options(TextOptions, options)
        self._pattern, self._given, self._spec = argument, set(options), EpisodeSpec.document()

    @classmethod
    def recognises(cls, lying: OnDisk) -> str | None:
        texts, others = list[str](), list[str]()
        for path in lying.files:
            (texts if path.endswith(_ENDINGS) else others).append(path)
        if not texts or any("." in os.path.basename(path) for path in others):  # a LICENSE is no other data
            return None
        if any("image" in json_object(path) for path in texts[:LOOK] if path.endswith(JSON_LINES)):
            return None
        ending = only_ending(texts, _ENDINGS)
        if ending is None and others:
            raise SourceError(f"{lying.path} holds texts of several kinds and other files: give a pattern")
        return lying.pattern(ending or "")

    def specs(self) -> dict[str, EpisodeSpec]:
        return {self.options.task: self._spec}

    def inputs(self) -> list[dict[str, Any]]:
        return self._plan[0]

    def notes(self) -> list[str]:
        return [f"{name}, and is left out" for name in self._matches.left_out]

    @functools.cached_property
    def _matches(self) -> Matches:
        return matching(self._pattern)

    @functools.cached_property
    def _plan(self) -> tuple[list[dict[str, Any]], list[Piece]]:
        """Read every file once: (fingerprints, pieces)."""
        files = self._matches.files
        kinds = {path: _kind(path) for path in files}
        for name, kind in (("by", PLAIN), ("key", JSON_LINES), ("id", JSON_LINES)):
            if name in self._given and kind not in kinds.values():
                raise SourceError(f"option {name} has no effect: {self._pattern!r} matches no {', '.join(kind)}")
        inputs: list[dict[str, Any]] = []
        pieces: list[Piece] = []
        for path in files:
            if kinds[path] is JSON_LINES or self.options.by == "line":
                source, pieces_of_file = lines.pieces_of(path)
                pieces += pieces_of_file
            else:
                with hashed(path) as file:
                    source = file.fingerprint()
                pieces.append(Piece(_whole(source), source["bytes"] + RECORD_BYTES))
            inputs.append(source)
        return inputs, pieces

    def partitions(self) -> list[dict[str, Any]]:
        """Group the pieces: {"pieces": [a whole file {"uri", "bytes"}, or some of its lines (`lines.LineRange`)]}."""
        return [{"pieces": group} for group in pack(self._plan[1], self.shard_bytes, lines.join)]

    def candidates(self, partition: dict[str, Any]) -> Iterator[Candidate]:
        for piece in partition["pieces"]:
            path = piece["uri"]
            if "start" not in piece:
                yield Candidate(path, path, 0, functools.partial(self._load_file, path, piece))
                continue
            for number, data, _ in lines.read(piece):
                load = functools.partial(self._load_line, path, number, data)
                yield Candidate(self._episode_id(path, number, data), path, number, load)

    def _episode_id(self, uri: str, number: int, data: bytes) -> str:
        if self.options.id and _kind(uri) is JSON_LINES:
            try:
                return self._record(uri, number, data)[1]
            except ValueError:
                pass  # `load` reports it
        return f"{uri}#{number}"

    def _record(self, uri: str, number: int, data: bytes) -> tuple[dict[str, Any], str]:
        """Parse a line of a .jsonl: (object, episode id)."""
        where = f"{uri}, line {number}"
        text = lines.text_of(data, where)
        record = lines.object_of(text.removeprefix("\ufeff") if number == 1 else text, where)
        return record, lines.id_of(record, self.options.id, where) if self.options.id else f"{uri}#{number}"

    def _load_line(self, uri: str, number: int, data: bytes) -> Episode:
        if not data.strip():
            raise Filtered("blank line")
        where = f"{uri}, line {number}"
        if _kind(uri) is PLAIN:
            return self._episode(lines.text_of(data, where), f"{uri}#{number}", uri, number)
        record, episode_id = self._record(uri, number, data)
        return self._episode(lines.string_of(record, self.options.key, where), episode_id, uri, number)

    def _load_file(self, uri: str, piece: dict[str, Any]) -> Episode:
        with opened(uri, piece["bytes"], said=piece) as file:
            data = file.read(lines.MAX_DOCUMENT_BYTES + 1)
        return self._episode(lines.text_of(data, uri), uri, uri, 0)

    def _episode(self, text: str, episode_id: str, uri: str, index: int) -> Episode:
        text = lines.without_ends(text) if self.options.strip else text
        if not text:
            raise ValueError(f"{uri}{f', line {index}' if index else ''}: empty document")
        metadata = EpisodeMetadata(episode_id, "text", self.options.task, source_uri=uri, source_index=index)
        return Episode(self._spec, {"text": [text]}, metadata=metadata)


def _whole(source: dict[str, Any]) -> dict[str, Any]:
    """The piece that is a whole file, from its fingerprint."""
    return {name: value for name, value in source.items() if name != "sha256"}


def _kind(path: str) -> tuple[str, ...]:
    """Return PLAIN or JSON_LINES, by the ending before that of the compression; SourceError for any other."""
    stem = os.path.splitext(path)[0] if path.endswith(COMPRESSED) else path
    for kind in (PLAIN, JSON_LINES):
        if stem.endswith(kind):
            return kind
    raise SourceError(
        f"{path} is no text: a document's file ends in {', '.join(PLAIN + JSON_LINES)}, then perhaps in "
        + ", ".join(COMPRESSED)
    )
