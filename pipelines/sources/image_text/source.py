"""ImageTextSource: pictures with a caption, or a question and its answer, from .jsonl files or webdataset archives."""

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from gato_tokenize import Episode, EpisodeMetadata, EpisodeSpec
from pipelines.sources.errors import Filtered, SourceError
from pipelines.sources.formats import lines, tar_samples
from pipelines.sources.formats.files import opened
from pipelines.sources.formats.matching import Matches, matching
from pipelines.sources.image_text import image_lines
from pipelines.sources.image_text.samples import ImageTextOptions, Samples
from pipelines.sources.on_disk import OnDisk, json_object, only_ending
from pipelines.sources.options import parse_options
from pipelines.sources.pieces import Piece, pack
from pipelines.sources.source import Candidate, Source

IMAGES = ("jpg", "jpeg", "png", "webp")
TEXTS = ("txt", "json")
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2")


class ImageTextSource(Source):
    """`image-text:pairs.jsonl`, `image-text:shards-*.tar`, `image-text:shards-*.tar.gz?resize=224x224&task=coco`.

    A line is {"image": path below the .jsonl's folder, "caption": ...}, or has "question" and "answer" instead of
    "caption". An archive holds `key.jpg` (or jpeg, png, webp) beside `key.txt` (the caption, kept byte for byte) or
    `key.json` (an object as above, without "image"). An optional "id" is the episode's id; otherwise that is
    `<path>#<line>` or `<path>#<number of the sample>`. Tasks are "caption" and "vqa"; with `task=NAME` they are
    "NAME-caption" and "NAME-vqa".
    """

    Options = ImageTextOptions
    reads_addresses = True
    looks_for = "a .tar archive, or JSON lines with an `image`, or a folder that has one"
    by_endings = True

    def __init__(self, argument: str, options: dict[str, str]) -> None:
        self._pattern = argument
        self._texts = Samples(parse_options(ImageTextOptions, options))

    @classmethod
    def recognises(cls, lying: OnDisk) -> str | None:
        listed = [path for path in lying.ending(".jsonl") if "image" in json_object(path)]
        found = [*lying.ending(*ARCHIVES), *listed]
        if not found:
            return None
        ending = only_ending(found, (*ARCHIVES, ".jsonl"))
        if ending is None or (listed and len(listed) < len(lying.ending(".jsonl"))):
            raise SourceError(f"{lying.path} holds archives or lists of several kinds: give a pattern for each")
        return lying.pattern(ending)

    def specs(self) -> dict[str, EpisodeSpec]:
        return self._texts.specs()

    def inputs(self) -> list[dict[str, Any]]:
        """List the files that match, and for a .jsonl also `<path>#images`: the bytes of its pictures and the sha256
        of the list of their names and sizes. Their content is read only when they are converted."""
        return self._plan[0]

    def notes(self) -> list[str]:
        return [f"{name}, and is left out" for name in self._matches.left_out]

    @functools.cached_property
    def _matches(self) -> Matches:
        return matching(self._pattern, image_lines.identity)

    @functools.cached_property
    def _plan(self) -> tuple[list[dict[str, Any]], list[Piece]]:
        """Read every file once: (fingerprints, pieces)."""
        inputs: list[dict[str, Any]] = []
        pieces: list[Piece] = []
        for path in self._matches.files:
            if path.endswith(ARCHIVES):
                source, samples = tar_samples.pieces_of(path)
                inputs.append(source)
                pieces += samples
            elif path.endswith(".jsonl"):
                sources, ranges = image_lines.pieces_of(path)
                inputs += sources
                pieces += ranges
            else:
                hint = f"; annotations of COCO and VQA are read as coco:{path}" if path.endswith(".json") else ""
                raise SourceError(f"{path}: expected a .jsonl (not compressed) or one of {', '.join(ARCHIVES)}{hint}")
        return inputs, pieces

    def partitions(self) -> list[dict[str, Any]]:
        """Group the pieces: {"pieces": [each a `lines.LineRange` or a `tar_samples.SampleRange`]}."""
        return [{"pieces": group} for group in pack(self._plan[1], self.shard_bytes, _join)]

    def candidates(self, partition: dict[str, Any]) -> Iterator[Candidate]:
        """Also of a partition that an earlier release planned, which is a single piece."""
        return itertools.chain.from_iterable(map(self._candidates, partition.get("pieces", [partition])))

    def _candidates(self, piece: dict[str, Any]) -> Iterator[Candidate]:
        uri = piece["uri"]
        if "lines" in piece:
            for line in lines.read(piece):  # type: ignore[arg-type]
                where = f"{uri}, line {line.number}"
                record = functools.partial(image_lines.record_of, line, where)
                image = functools.partial(image_lines.image_of, uri, where)
                yield self._candidate(uri, uri, line.number, where, record, image)
        else:
            for number, sample in _samples(piece, (*IMAGES, *TEXTS)):
                where = f"{uri}/{sample.key}"
                record = functools.partial(_record_of, sample, where, self._texts.clean)
                yield self._candidate(uri, where, number, where, record, functools.partial(_image_of, sample, where))

    def _candidate(
        self,
        uri: str,
        place: str,
        number: int,
        where: str,
        record_of: Callable[[], dict[str, Any]],
        image_of: Callable[[dict[str, Any]], bytes],
    ) -> Candidate:
        episode_id = f"{uri}#{number}"
        try:
            record = {key: value for key, value in record_of().items() if value is not None}
            episode_id = lines.id_of(record, "id", where) if "id" in record else episode_id
        except (ValueError, Filtered) as error:
            return Candidate(episode_id, place, number, functools.partial(_raise, error))

        named = EpisodeMetadata(episode_id, source_uri=place, source_index=number)
        image = functools.partial(image_of, record)
        load = functools.partial(self._texts.episode, record, where, image, named)
        return Candidate(episode_id, place, number, load)


def _join(one: dict[str, Any], two: dict[str, Any]) -> dict[str, Any] | None:
    return lines.join(one, two) if "lines" in two else tar_samples.join(one, two)


def _raise(error: Exception) -> Episode:
    raise error


def _samples(piece: Any, wanted: tuple[str, ...]) -> Iterator[tuple[int, tar_samples.Sample]]:
    with opened(piece["uri"], piece["bytes"], piece["start"], piece) as file:
        found = itertools.islice(tar_samples.samples(file, wanted), piece["samples"])
        number = piece["first"] - 1
        try:
            for number, sample in enumerate(found, piece["first"]):
                yield number, sample
        except ValueError as error:
            raise type(error)(str(error) if piece["uri"] in str(error) else f"{piece['uri']}: {error}") from error
        if piece["samples"] is not None and number - piece["first"] + 1 < piece["samples"]:
            raise ValueError(f"{piece['uri']} has changed since it was planned: it ends after sample {number}")


def _record_of(sample: tar_samples.Sample, where: str, clean: Callable[[str], str]) -> dict[str, Any]:
    """Parse a sample's .json, with the text of its .txt as the caption."""
    if sample.twice:
        raise ValueError(f"{where}: two members .{sample.twice} have this name: {sample.explain()}")
    texts = {kind: data for kind, data in sample.members.items() if kind in TEXTS}
    if not texts:
        raise ValueError(f"{where}: no .txt or .json has this name: {sample.explain()}")
    for kind, data in texts.items():
        if data is None:
            raise _too_large(f"{where}.{kind}")
    decoded = {kind: lines.text_of(data or b"", f"{where}.{kind}") for kind, data in texts.items()}
    record = lines.object_of(decoded["json"], f"{where}.json") if "json" in decoded else {}
    status = record.get("status", "success")
    if isinstance(status, str) and status != "success" and not any(kind in sample.members for kind in IMAGES):
        raise Filtered(f"no picture, and its status in the .json is {status[:100]!r}")
    if "txt" in decoded:
        caption = record.get("caption", decoded["txt"])
        if caption is not None and (not isinstance(caption, str) or clean(caption) != clean(decoded["txt"])):
            raise ValueError(f"{where}: the caption in its .json is not the one in its .txt")
        record["caption"] = decoded["txt"]
    return record


def _too_large(member: str) -> ValueError:
    most = tar_samples.MAX_MEMBER_BYTES
    return ValueError(f"{member}: more than {most} bytes, the most that a member may have: make it smaller")


def _image_of(sample: tar_samples.Sample, where: str, record: dict[str, Any]) -> bytes:
    found = [kind for kind in IMAGES if kind in sample.members]
    if len(found) != 1:
        raise ValueError(
            f"{where}: expected one image (.{', .'.join(IMAGES)}) beside the text, found {found or 'none'}: "
            + sample.explain()
        )
    data = sample.members[found[0]]
    if data is None:
        raise _too_large(f"{where}.{found[0]}")
    return image_lines.not_empty(data, f"{where}.{found[0]}")
