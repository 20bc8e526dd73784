"""Samples: the episodes that pictures with their texts become, whatever files they come from."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gato_tokenize import Episode, EpisodeMetadata, EpisodeSpec, ImageSpec
from pipelines.sources.errors import SourceError
from pipelines.sources.formats import lines
from pipelines.sources.options import Size, SourceOptions, option, written

KINDS = ("caption", "vqa")


@dataclasses.dataclass(frozen=True)
class ImageTextOptions(SourceOptions):
    resize: Size | None = option(
        None, "HEIGHTxWIDTH in multiples of 16 for every picture; without it the nearest multiples of its own sides"
    )
    task: str = option("", "`NAME` makes the tasks `NAME-caption` and `NAME-vqa` instead of `caption` and `vqa`")
    strip: bool = option(
        False, "`true` removes a byte order mark at the beginning and line ends at the end of each text"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            ImageSpec(resize=self.resize)
        except ValueError as error:
            raise SourceError(f"option resize={written(self.resize)}: {error}") from error


class Samples:
    """The tasks of a source of pictures with texts, and its episodes.

    A record is {"caption": ...} or {"question": ..., "answer": ...}; its other keys change nothing.
    """

    def __init__(self, options: ImageTextOptions) -> None:
        self.clean: Callable[[str], str] = lines.without_ends if options.strip else str
        self._tasks = {kind: f"{options.task}-{kind}" if options.task else kind for kind in KINDS}
        image = ImageSpec(resize=options.resize)
        self._specs = {"caption": EpisodeSpec.caption(image), "vqa": EpisodeSpec.question_answer(image)}

    def specs(self, kinds: Iterable[str] = KINDS) -> dict[str, EpisodeSpec]:
        """Return {task: its spec} of some kinds of samples."""
        return {self._tasks[kind]: self._specs[kind] for kind in kinds}

    def episode(
        self,
        record: dict[str, Any],
        where: str,
        image: Callable[[], bytes],
        named: EpisodeMetadata,
        notes: Mapping[str, int] | None = None,
    ) -> Episode:
        """Make the episode of a record and the picture file that `image` reads. named: its id and where it comes from.

        Raises ValueError that begins with `where` if a text is missing, empty or of another type, or if the record has
        both a caption and a question or answer.
        """
        kind, texts = self._texts(record, where)
        metadata = dataclasses.replace(named, domain="vision-language", task=self._tasks[kind])
        return Episode(self._specs[kind], {"image": [image()], **texts}, metadata=metadata, notes=dict(notes or {}))

    def _texts(self, record: dict[str, Any], where: str) -> tuple[str, dict[str, list[str]]]:
        """Return the kind of a record, "caption" or "vqa", and its texts as fields."""
        asked = [key for key in ("question", "answer") if key in record]
        if "caption" in record and asked:
            raise ValueError(f"{where}: has both a caption and {' and '.join(asked)}: make two samples of it")
        if "caption" not in record and not asked:
            raise ValueError(f"{where}: has neither a caption nor a question and its answer")
        keys = ("question", "answer") if asked else ("caption",)
        texts = {key: [self.clean(lines.string_of(record, key, where))] for key in keys}
        for key, (text,) in texts.items():
            if not text.strip():
                raise ValueError(f"{where}: the {key} is empty")
        return ("vqa" if asked else "caption"), texts
