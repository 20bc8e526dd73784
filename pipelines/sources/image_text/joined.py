"""Joined: which image or question belongs to each annotation, by its id, and which captions are taken."""

import dataclasses
import hashlib
from array import array
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gato_tokenize.storage.address import RemoteError
from pipelines.sources.errors import SourceError
from pipelines.sources.formats.places import Size, total
from pipelines.sources.image_text.annotation_files import CAPTIONS, AnnotationFile
from pipelines.sources.image_text.json_arrays import JsonArray

ABSENT, TWICE = -1, -2  # instead of a partner: nothing has the id, or more than one has it
_NO_ID = np.iinfo(np.int64).min


@dataclasses.dataclass(frozen=True, eq=False)
class Joined:
    """The annotations of a file, each with its partner: the entry of its image, or its question.

    partner: int64[A], the number of each annotation's partner, or ABSENT or TWICE. twice: bool[A], whether an
    annotation before it has its id. taken: int64[E], the numbers of the annotations that are read, in order. alone:
    int64[P], the partners without an annotation. pictures: the name of each partner's picture, see
    `AnnotationFile.picture_names`. About 40 bytes are kept of each annotation and each partner.
    """

    file: AnnotationFile
    annotations: JsonArray
    partners: JsonArray
    partner: NDArray[np.int64]
    twice: NDArray[np.bool_]
    taken: NDArray[np.int64]
    alone: NDArray[np.int64]
    pictures: "Names"

    @property
    def size(self) -> Size:
        """The bytes of the file, with those of its questions, when it was read."""
        return total({one.path: one.size for one in (self.annotations, self.partners)}.values())

    @property
    def left_out(self) -> int:
        """How many captions are not taken."""
        return len(self.partner) - len(self.taken)


class Names:
    """Strings in one row of bytes: a list would take many times as much memory."""

    def __init__(self) -> None:
        self._text, self._ends = bytearray(), array("q", [0])

    def append(self, name: str) -> None:
        self._text += name.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._text))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, number: int) -> str:
        return self._text[self._ends[number] : self._ends[number + 1]].decode("utf-8", "surrogatepass")


def join(file: AnnotationFile, captions: str, seed: int) -> Joined:
    """Read the ids of a file, and of its questions. captions: which of the captions of an image are taken:
    "all", "first", or "random", by `seed`.

    Raises SourceError if a file cannot be read, is no whole JSON, or lacks what it should hold.
    """
    try:
        return _join(file, captions, seed)
    except RemoteError:
        raise
    except (ValueError, OSError) as error:
        raise error if isinstance(error, SourceError) else SourceError(str(error)) from error


def _join(file: AnnotationFile, captions: str, seed: int) -> Joined:
    layout = file.layout
    annotations = JsonArray(file.path, "annotations")
    partners = JsonArray(file.questions or file.path, layout.partners)
    pictures, partner_ids, ids, links, texts = Names(), array("q"), array("q"), array("q"), 0
    for entry in partners.scan():
        partner_ids.append(_key(entry, layout.partner))
        pictures.append(_name(entry, layout.picture))
    for entry in annotations.scan():
        ids.append(_key(entry, layout.own))
        links.append(_key(entry, layout.link))
        texts += isinstance(entry, dict) and (layout.text in entry or "multiple_choice_answer" in entry)
    for found in (annotations, partners):
        if not found.count:
            raise SourceError(f"{found.path}: has no list {found.key!r} with members, as files of COCO and VQA have")
    if not texts:
        raise SourceError(f"{file.path}: none of its annotations has {layout.text}: it is a file of another kind")
    partner, twice = _look_up(_int64(links), _int64(partner_ids)), _repeated(_int64(ids))
    alone = np.flatnonzero(~np.isin(_int64(partner_ids), _int64(links)))
    taken = np.arange(len(partner))
    if layout is CAPTIONS and captions != "all":
        taken = _one_an_image(partner, twice, seed if captions == "random" else None, pictures)
    return Joined(file, annotations, partners, partner, twice, taken, alone, pictures)


def _int64(values: "array[int]") -> NDArray[np.int64]:
    return np.frombuffer(values, np.int64) if values else np.zeros(0, np.int64)


def _key(entry: Any, name: str) -> int:
    """An id as a number: a whole number is its own, that of a string comes of its hash."""
    value = entry.get(name) if isinstance(entry, Mapping) else None
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**62:
        return value
    if isinstance(value, str) and value:
        digest = hashlib.blake2b(value.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest, "little") >> 2 | 2**62  # above those that are their own
    return int(_NO_ID)


def _name(entry: Any, key: str) -> str:
    """The name or number of a picture; "" if there is none."""
    value = entry.get(key) if isinstance(entry, Mapping) else None
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _look_up(wanted: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """The number at which each wanted id stands in `ids`, or ABSENT or TWICE.

    >>> _look_up(np.array([7, 5, 3, 9]), np.array([5, 7, 3, 3])).tolist()
    [1, 0, -2, -1]
    """
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    first, stop = np.searchsorted(ordered, wanted, "left"), np.searchsorted(ordered, wanted, "right")
    found = np.where(stop - first == 1, order[np.minimum(first, len(ids) - 1)], TWICE)
    return np.asarray(np.where((stop == first) | (wanted == _NO_ID), ABSENT, found), np.int64)


def _repeated(ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each id stands before its place as well; those without an id are no repetitions.

    >>> _repeated(np.array([4, 5, 4, 4])).tolist()
    [False, False, True, True]
    """
    repeated = np.ones(len(ids), bool)
    repeated[np.unique(ids, return_index=True)[1]] = False
    return np.asarray(repeated & (ids != _NO_ID))


def _one_an_image(
    partner: NDArray[np.int64], twice: NDArray[np.bool_], seed: int | None, pictures: Names
) -> NDArray[np.int64]:
    """The numbers of the captions to read: the first of each image, or with a seed one at random; and those that are
    rejected anyway."""
    sound = np.flatnonzero((partner >= 0) & ~twice)
    order = sound[np.argsort(partner[sound], kind="stable")]  # image by image, in the order of the file
    images, first, counts = np.unique(partner[order], return_index=True, return_counts=True)
    if seed is not None:
        numbers = zip(images.tolist(), counts.tolist(), strict=True)
        first = first + np.asarray([_draw(seed, pictures[image], count) for image, count in numbers], np.int64)
    return np.sort(np.concatenate([order[first], np.flatnonzero((partner < 0) | twice)]))


def _draw(seed: int, name: str, count: int) -> int:
    """A number below `count`, which depends on nothing but the seed and the name of the picture."""
    digest = hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "little") % count
