"""AnnotationFile: which JSON files hold captions or answers, with their questions, their split and their pictures."""

import dataclasses
import os
import re
from collections.abc import Iterable, Iterator, Sequence

from gato_tokenize.storage.address import full, is_address
from pipelines.sources.episode_options import OUR_NAMES
from pipelines.sources.errors import SourceError
from pipelines.sources.formats.matching import matching
from pipelines.sources.formats.places import checked_address, is_file, is_folder, names_in, size_of, sizes_of
from pipelines.sources.image_text.image_lines import path_below, picture

QUESTIONS, ANSWERS = "_questions.json", "_annotations.json"
_NAMES = re.compile(rf"captions_.*\.json|.*({QUESTIONS}|{ANSWERS})")
_TOKEN = re.compile(r"(?<![a-z])(train|val|valid|validation|test)(\d{4})?(?![a-z0-9])")
_STYLES = re.compile(r"(OpenEnded|MultipleChoice)_")  # the names of questions have it, those of their answers do not
NUMBERED = ("COCO_{part}_{number:012d}.jpg", "{number:012d}.jpg", "{number}.jpg", "{number}.png")
ABSTRACT = "abstract_v002_{part}_{number:012d}.png"  # the drawn scenes of VQA


@dataclasses.dataclass(frozen=True)
class Layout:
    """The keys of the JSON. Each member of "annotations" has a partner, the entry of its image or its question.

    kind: of the samples. partners: the key of their array. own: an annotation's id. link: in an annotation, the id of
    its partner. partner: in the partner, its id. picture: in the partner, the name or the number of its picture. text:
    what an annotation holds.
    """

    kind: str
    partners: str
    own: str
    link: str
    partner: str
    picture: str
    text: str


CAPTIONS = Layout("caption", "images", "id", "image_id", "id", "file_name", "caption")
VQA = Layout("vqa", "questions", "question_id", "question_id", "question_id", "image_id", "answers")


@dataclasses.dataclass(frozen=True)
class AnnotationFile:
    """A file with annotations.

    path: of the captions, or of the answers. questions: the file of their questions; "" if they are captions. part:
    what its name says of its pictures, such as "train2017"; "" if nothing. folders: where its pictures may lie.
    """

    path: str
    questions: str
    part: str
    folders: tuple[str, ...]

    @property
    def layout(self) -> Layout:
        return VQA if self.questions else CAPTIONS

    @property
    def split(self) -> str:
        """The split that the name tells, as it is called in a dataset; "" if it tells none."""
        name = self.part.rstrip("0123456789")
        return OUR_NAMES.get(name, name)

    @property
    def paths(self) -> list[str]:
        return [self.path, self.questions] if self.questions else [self.path]

    def picture_names(self, name: str) -> list[str]:
        """The names that a picture may have: `name` itself, or, if it is the number of an image, those of COCO."""
        if not name.isdecimal():
            return [name] if os.path.splitext(name)[1] else [f"{name}.jpg", f"{name}.png"]
        forms = [form for form in (*NUMBERED, ABSTRACT) if self.part or "{part}" not in form]
        return [form.format(part=self.part, number=int(name)) for form in forms]

    def places(self, name: str) -> Iterator[tuple[str, str]]:
        """Yield (folder, name there) at which a picture may lie."""
        yield from ((folder, one) for folder in self.folders for one in self.picture_names(name))

    def find_picture(self, name: str) -> tuple[str, str, int]:
        """(folder, its name there, bytes) of the first file that there is; ("", "", 0) if there is none.

        Raises OSError if an address gives no answer, or refuses access.
        """
        for folder, one in self.places(name):
            try:
                if not is_address(folder):
                    return folder, one, os.stat(os.path.join(folder, one)).st_size
                return folder, one, size_of(path_below(folder, one, ""))
            except (FileNotFoundError, ValueError):
                continue
            except OSError:
                if is_address(folder):
                    raise
        return "", "", 0

    def read_picture(self, name: str, where: str) -> bytes:
        """Read the file of a picture. Raises ValueError if there is none, or none that can be read."""
        folder, found, _ = self.find_picture(name)
        if not found:
            raise ValueError(f"{where}: the image {name[:200]!r} is not there: {self.searched(name)}")
        return picture(folder, found, where)

    def searched(self, name: str) -> str:
        """Say where a picture was searched for."""
        names = " or ".join(one[:200] for one in self.picture_names(name))
        return f"no {names} in {', '.join(self.folders) or 'any folder'}"


def annotation_files(argument: str, images: Sequence[str]) -> tuple[list[AnnotationFile], list[str]]:
    """Find the files that an argument names: (the files in byte order, a line for each that is left out).

    argument: a file, a pattern, or a folder with files of COCO's names in it or in its `annotations`. images: the
    folders of the pictures; if there are none, they are searched for beside the files.

    Raises SourceError if there is no file, if questions have no answers or answers no questions, or if a folder of
    pictures does not exist.
    """
    for folder in images:
        checked_address(folder)
        if not is_folder(folder):
            raise SourceError(f"option images={','.join(images)}: there is no folder {folder}")
    left_out: list[str] = []
    if is_folder(argument):
        paths, left_out = _in_folder(argument)
    else:
        found = matching(argument)
        paths, left_out = found.files, found.left_out
    pairs: dict[str, str] = {}  # {path: of its questions}
    for path in paths:
        answers, questions = _pair(path)
        if pairs.setdefault(answers, questions) != questions:
            raise SourceError(f"{answers} answers the questions of {pairs[answers]} and {questions}: name one of them")
    files = [_described(path, questions, images) for path, questions in pairs.items()]
    return files, left_out


def named_by_coco(path: str) -> list[str]:
    """The files of COCO's and VQA's names: in a folder and in its `annotations/`, or the file itself if it has one."""
    paths = [path] if is_file(path) else [*_json_files(path), *_json_files(os.path.join(path, "annotations"))]
    return [one for one in paths if _NAMES.fullmatch(os.path.basename(one))]


def _in_folder(folder: str) -> tuple[list[str], list[str]]:
    """(the files of captions and questions in a folder, a line for each that is left out)."""
    wanted = [path for path in named_by_coco(folder) if not path.endswith(ANSWERS)]
    without = [path for path in wanted if path.endswith(QUESTIONS) and not _partners(path, QUESTIONS, ANSWERS)]
    if len(without) == len(wanted):
        raise SourceError(
            f"{folder} and {folder}/annotations hold neither captions_*.json nor *{QUESTIONS} beside *{ANSWERS}: name"
            " the file"
        )
    left_out = [f"{path} has no answers beside it, and is left out" for path in without]
    return [path for path in wanted if path not in without], left_out


def _json_files(folder: str) -> list[str]:
    names = names_in(folder) if is_folder(folder) else []
    paths = [os.path.join(folder, name) for name in sorted(names, key=os.fsencode) if name.endswith(".json")]
    return [path for path, size in zip(paths, sizes_of(paths), strict=True) if size is not None]


def _pair(path: str) -> tuple[str, str]:
    """(the file of annotations, the file of its questions or "") to which a file belongs."""
    if not path.endswith((QUESTIONS, ANSWERS)):
        if not path.endswith(".json"):
            raise SourceError(f"{path}: expected a .json, not compressed")
        return path, ""
    own, other = (QUESTIONS, ANSWERS) if path.endswith(QUESTIONS) else (ANSWERS, QUESTIONS)
    partners = _partners(path, own, other)
    if len(partners) != 1:
        found = " and ".join(partners) or "none"
        hint = "; questions of a test set have no answers" if own == QUESTIONS and not partners else ""
        raise SourceError(f"{path} needs one file *{other} of the same name beside it, found {found}{hint}")
    return (partners[0], path) if own == QUESTIONS else (path, partners[0])


def _partners(path: str, own: str, other: str) -> list[str]:
    folder, name = os.path.split(path)
    stem = _STYLES.sub("", name.removesuffix(own))
    beside = [one for one in _json_files(folder or ".") if one.endswith(other)]
    names = [os.path.basename(one) for one in beside]
    return [os.path.join(folder, one) for one in names if _STYLES.sub("", one.removesuffix(other)) == stem]


def _described(path: str, questions: str, images: Sequence[str]) -> AnnotationFile:
    tokens = _TOKEN.findall(os.path.basename(path).lower())
    part = "".join(tokens[-1]) if tokens else ""
    return AnnotationFile(path, questions, part, tuple(_folders(path, part, images)))


def _folders(path: str, part: str, images: Iterable[str]) -> list[str]:
    """The folders that exist: those called as the pictures first."""
    own = os.path.dirname(path) or "."
    bases = list(images) or [base for at in (own, _above(own)) if at for base in (os.path.join(at, "images"), at)]
    named = [os.path.join(base, part) for base in bases] if part else []
    return [folder for folder in dict.fromkeys(map(_plain, (*named, *bases))) if is_folder(folder)]


def _plain(folder: str) -> str:
    return full(folder).rstrip("/") if is_address(folder) else os.path.normpath(folder)


def _above(folder: str) -> str:
    """The folder in which a folder lies; "" if its address has none."""
    if not is_address(folder):
        return os.path.join(folder, "..")
    above = full(folder).rpartition("/")[0]
    return above if re.match("[^/]+://[^/]", above) else ""
