"""CocoSource: captions of COCO, questions of VQAv2 and OK-VQA, from annotation JSON beside folders of pictures."""

import dataclasses
import functools
import itertools
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gato_tokenize import Episode, EpisodeMetadata, EpisodeSpec
from gato_tokenize.storage.address import full
from pipelines.sources.episode_options import listed
from pipelines.sources.errors import Filtered, SourceError
from pipelines.sources.formats import lines
from pipelines.sources.formats.files import hashed, names_and_sizes
from pipelines.sources.formats.places import known_sizes, require_size, stamped, total
from pipelines.sources.image_text.annotation_files import CAPTIONS, AnnotationFile, annotation_files, named_by_coco
from pipelines.sources.image_text.joined import ABSENT, TWICE, Joined, join
from pipelines.sources.image_text.json_arrays import Cursor
from pipelines.sources.image_text.picture_sizes import picture_sizes
from pipelines.sources.image_text.samples import ImageTextOptions, Samples
from pipelines.sources.on_disk import OnDisk
from pipelines.sources.options import option, parse_options
from pipelines.sources.pieces import RECORD_BYTES, partition_bytes, runs
from pipelines.sources.source import Candidate, Source

TIED = "answer that is as common as another"


@dataclasses.dataclass(frozen=True)
class CocoOptions(ImageTextOptions):
    images: str = option(
        "", "`FOLDER,FOLDER`, where the pictures lie; without it they are searched for beside the annotations"
    )
    captions: Literal["all", "first", "random"] = option(
        "all", "of several captions of an image, `all` makes a sample of each, `first` and `random` take one"
    )
    seed: int = option(0, "of `captions=random`")


class CocoSource(Source):
    """`coco:coco/annotations/captions_val2017.json`, `coco:vqa/v2_OpenEnded_mscoco_*_questions.json?images=coco`.

    A sample is called after the id of its annotation: `captions_val2017.json#770337`.
    """

    Options = CocoOptions
    reads_addresses = True
    looks_for = "captions_*.json, or *_questions.json with *_annotations.json, in the folder or in its annotations/"

    def __init__(self, argument: str, options: dict[str, str]) -> None:
        self._argument, self._options = full(argument), parse_options(CocoOptions, options)
        self._texts = Samples(self._options)

    @classmethod
    def recognises(cls, lying: OnDisk) -> str | None:
        return lying.path if named_by_coco(lying.path) else None

    @functools.cached_property
    def _found(self) -> tuple[list[AnnotationFile], list[str]]:
        return annotation_files(self._argument, listed(self._options.images))

    @functools.cached_property
    def _joined(self) -> dict[str, Joined]:
        """{path of the annotations: what is in them}."""
        return {file.path: join(file, self._options.captions, self._options.seed) for file in self._found[0]}

    @functools.cached_property
    def _sizes(self) -> dict[str, tuple[NDArray[np.int64], str]]:
        """{path of the annotations: `picture_sizes` of the partners}. Raises SourceError if not one picture of a file
        is there."""
        found = {}
        for path, joined in self._joined.items():
            found[path] = picture_sizes(joined.file, joined.pictures)
            if not found[path][0].any():
                raise SourceError(
                    f"{path}: not one of its pictures is there: {joined.file.searched(joined.pictures[0])}; give their"
                    " folder by images=FOLDER"
                )
        return found

    def specs(self) -> dict[str, EpisodeSpec]:
        return self._texts.specs(dict.fromkeys(file.layout.kind for file in self._found[0]))

    def splits(self) -> tuple[str, ...]:
        """Those that the names of the files tell. If some do, the others are in "train"."""
        names = dict.fromkeys(file.split for file in self._found[0])
        return tuple(dict.fromkeys(name or "train" for name in names)) if any(names) else ()

    def notes(self) -> list[str]:
        left = {path: joined.left_out for path, joined in self._joined.items() if joined.left_out}
        chosen = f"captions={self._options.captions}"
        return [*self._found[1], *(f"{chosen} leaves out {count} captions of {path}" for path, count in left.items())]

    def inputs(self) -> list[dict[str, Any]]:
        """The JSON files by their sha256, and of each the names and sizes of its pictures."""
        found = []
        for path, joined in self._joined.items():
            for one in joined.file.paths:
                with hashed(one) as file:
                    found.append(file.fingerprint())
            names = map(joined.pictures.__getitem__, range(len(joined.pictures)))
            sizes, stamps = self._sizes[path]
            said = [("stamps", None, stamps)] if stamps else []
            found.append(names_and_sizes(path, itertools.chain(zip(names, sizes.tolist(), strict=True), said)))
        return sorted(found, key=lambda one: os.fsencode(one["uri"]))

    def partitions(self) -> list[dict[str, Any]]:
        """{"count", "uri", "bytes", "first"}: `count` candidates from number `first` of a file, which has, with that of
        its questions, so many bytes, and at an address a "stamp"."""
        weights = {path: _weights(joined, self._sizes[path][0]) for path, joined in self._joined.items()}
        most = partition_bytes(sum(int(each.sum()) for each in weights.values()), self.shard_bytes)
        sizes = {path: joined.size for path, joined in self._joined.items()}
        return [
            {"count": stop - first, "uri": path, "bytes": sizes[path], "first": first, **stamped(sizes[path])}
            for path, each in weights.items()
            for first, stop in runs(each, most)
        ]

    def candidates(self, partition: dict[str, Any]) -> Iterator[Candidate]:
        joined = self._joined[partition["uri"]]
        now = total(known_sizes(joined.file.paths).values())
        require_size(partition["uri"], now, partition["bytes"], partition)
        reader = _Reader(joined, self._texts, (joined.file.split or "train") if self.splits() else "")
        try:
            for number in range(partition["first"], partition["first"] + partition["count"]):
                yield reader.candidate(number)
        finally:
            reader.close()


def _weights(joined: Joined, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64[E + P]: the bytes of a shard, about, that each candidate makes."""
    partner = joined.partner[joined.taken]
    pictures = np.where(partner >= 0, sizes[np.maximum(partner, 0)], 0)
    return np.concatenate([pictures + RECORD_BYTES, np.ones(len(joined.alone), np.int64)])


class _Reader:
    """Makes the candidates of a file; keeps its JSON open from one to the next."""

    def __init__(self, joined: Joined, texts: Samples, split: str) -> None:
        self._joined, self._texts, self._split = joined, texts, split
        self._annotations, self._partners = Cursor(joined.annotations), Cursor(joined.partners)

    def close(self) -> None:
        self._annotations.close()
        self._partners.close()

    def candidate(self, number: int) -> Candidate:
        """The candidate of an annotation, or after those that of an image or question without one."""
        taken, uri = self._joined.taken, self._joined.file.path
        if number >= len(taken):
            return self._alone(int(self._joined.alone[number - len(taken)]))
        place = int(taken[number])
        where = f"{uri}, annotations[{place}]"
        episode_id = f"{uri}#annotations[{place}]"
        try:
            annotation = self._annotations.member(place)
            if not isinstance(annotation, dict):
                raise ValueError(f"{where}: expected a JSON object, got {type(annotation).__name__}")
            key = self._joined.file.layout.own
            name = lines.id_of(annotation, key, where) if key in annotation else ""
            if name and self._joined.twice[place]:
                raise ValueError(f"{where}: an annotation before it has its {key}, {name}, too")
        except (ValueError, OSError) as error:
            return Candidate(episode_id, uri, place, functools.partial(_raise, error), self._split)
        if name:
            episode_id, where = f"{uri}#{name}", f"{where}, {key} {name}"
        named = EpisodeMetadata(episode_id, source_uri=uri, source_index=place)
        load = functools.partial(self._load, annotation, place, where, named)
        return Candidate(episode_id, uri, place, load, self._split)

    def _alone(self, place: int) -> Candidate:
        partners = self._joined.partners
        name = f"{partners.path}#{partners.key}[{place}]"
        load = functools.partial(self._load_alone, place, f"{partners.path}, {partners.key}[{place}]")
        return Candidate(name, partners.path, place, load, self._split)

    def _load_alone(self, place: int, where: str) -> Episode:
        if self._joined.file.layout is CAPTIONS:
            raise Filtered("image without a caption")
        question = _object(self._partners.member(place), where)
        raise ValueError(
            f"{where}, question_id {question.get('question_id')}: {self._joined.file.path} has no annotation of it"
        )

    def _load(self, annotation: dict[str, Any], place: int, where: str, named: EpisodeMetadata) -> Episode:
        file, partner = self._joined.file, int(self._joined.partner[place])
        layout, what = file.layout, file.layout.partners.removesuffix("s")
        if partner in (ABSENT, TWICE):
            many = f"no {what}" if partner == ABSENT else f"more than one {what}"
            raise ValueError(f"{where}: {many} has the {layout.link} {str(annotation.get(layout.link))[:200]}")
        tied = False
        if layout is CAPTIONS:
            record = {"caption": lines.string_of(annotation, "caption", where)}
        else:
            question = self._question(annotation, partner, where)
            answer, tied = answer_of(annotation, where)
            record = {"question": lines.string_of(question, "question", where), "answer": answer}
        picture = self._joined.pictures[partner]
        if not picture:
            raise ValueError(f"{where}: its {what} has no {layout.picture}")
        image = functools.partial(file.read_picture, picture, where)
        return self._texts.episode(record, where, image, named, {TIED: 1} if tied else {})

    def _question(self, annotation: dict[str, Any], place: int, where: str) -> dict[str, Any]:
        """Read the question of an annotation. Raises ValueError if they name different images."""
        question = _object(self._partners.member(place), f"{self._joined.partners.path}, questions[{place}]")
        image = question.get("image_id")
        if annotation.get("image_id", image) != image:
            raise ValueError(f"{where}: its image_id is {annotation['image_id']}, and that of its question {image}")
        return question


def answer_of(annotation: dict[str, Any], where: str) -> tuple[Any, bool]:
    """(the most common answer, whether another is as common). Of those, `multiple_choice_answer` is taken if it is
    one, otherwise the first.

    >>> answer_of({"answers": [{"answer": word} for word in ("no", "yes", "yes", "no", "2")]}, "")
    ('no', True)

    Raises ValueError if there is no answer, or one that is no text.
    """
    chosen, given = annotation.get("multiple_choice_answer"), annotation.get("answers")
    if given is None and chosen is not None:
        return chosen, False
    if not isinstance(given, list) or not given:
        raise ValueError(f"{where}: it has no answers")
    counts = Counter(lines.string_of(_object(one, f"{where}, answers"), "answer", where) for one in given)
    most = [answer for answer, count in counts.items() if count == max(counts.values())]
    return chosen if chosen in most else most[0], len(most) > 1


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{where}: expected a JSON object, got {type(value).__name__}")
    return value


def _raise(error: Exception) -> Episode:
    raise error
