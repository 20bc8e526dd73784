"""Samples: rows that have no timesteps: documents, pictures with captions, questions and answers about pictures."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from gato_tokenize import Episode, EpisodeMetadata, EpisodeSpec, ImageSpec
from pipelines.sources.errors import SourceError
from pipelines.sources.formats.parquet import files_of, texts_of
from pipelines.sources.options import written
from pipelines.sources.parquet.columns import Column
from pipelines.sources.parquet.options import ParquetOptions

TEXTS = ("text", "caption", "content", "document")
PICTURES = ("image", "images", "picture", "jpg", "png", "webp")
PATCH_GROWTH = 8  # a shard stores pixels without loss, in about 8 times the bytes of their JPEG
NO_SAMPLES = (
    "roles",
    "fields",
    "action",
    "instruction",
    "max_steps",
    "ranges",
    "unpredicted",
    "episode",
)  # options of episodes alone


@dataclasses.dataclass(frozen=True)
class Samples:
    """How rows become samples. columns: {key in the spec: column}."""

    spec: EpisodeSpec
    columns: Mapping[str, Column]

    @property
    def has_pictures(self) -> bool:
        return "image" in self.columns

    @property
    def domain(self) -> str:
        return "vision-language" if self.has_pictures else "text"

    @property
    def growth(self) -> int:
        """Bytes of a shard, about, for each byte of the file: a shard holds pixels."""
        return PATCH_GROWTH if self.has_pictures else 1

    @property
    def names(self) -> list[str]:
        """The columns to read."""
        return list(dict.fromkeys(column.name for column in self.columns.values()))

    def reasons(self) -> dict[str, str]:
        return {f"observation/{key}": f"the column {'.'.join(column.keys)}" for key, column in self.columns.items()}

    def notes(self, columns: Sequence[Column]) -> list[str]:
        return [
            f"the column {'.'.join(column.keys)} is left out: it is no part of a sample"
            for column in columns
            if column not in self.columns.values()
        ]

    def episode(self, rows: Any, metadata: EpisodeMetadata) -> Episode:
        """Make a sample of one row. Raises ValueError naming the column that has no value."""
        values = {key: [self._value(key, column, rows)] for key, column in self.columns.items()}
        return Episode(self.spec, values, metadata=metadata)

    @staticmethod
    def _value(key: str, column: Column, rows: Any) -> Any:
        name, values = ".".join(column.keys), column.of(rows)
        if len(values) != 1:
            raise ValueError(f"{name}: expected one value, got {len(values)}")
        if values.null_count:
            raise ValueError(f"{name}: holds no value")
        if column.is_text:
            (text,) = texts_of(values, name)
            if not text.strip():
                raise ValueError(f"{name}: the text is empty")
            return text
        (data,) = files_of(values, name)
        return data


def samples_of(columns: Sequence[Column], options: ParquetOptions) -> Samples | None:
    """The samples of a table whose columns have no action; None if there is no text that could be one.

    Raises SourceError for an option that has no effect on them, and if `column=` names no column of texts.
    """
    texts = {".".join(column.keys): column for column in columns if column.is_text and not column.timed}
    pictures = {".".join(column.keys): column for column in columns if column.is_picture}
    if options.column and options.column not in texts:
        raise SourceError(f"option column={options.column}: no column of texts; those are {', '.join(texts) or 'none'}")
    picture = _chosen(pictures, PICTURES)
    if picture is not None and {"question", "answer"} <= set(texts) and not options.column:
        found = {"image": picture, "question": texts["question"], "answer": texts["answer"]}
    else:
        text = texts[options.column] if options.column else _chosen(texts, TEXTS)
        if text is None:
            return None
        found = {"text": text} if picture is None else {"image": picture, "caption": text}
    for name in NO_SAMPLES:
        if value := getattr(options, name):
            kinds = "documents" if picture is None else "pictures with texts"
            raise SourceError(f"option {name}={written(value)} has no effect: the rows are {kinds}, no episodes")
    return Samples(_spec(found, options), found)


def _chosen(columns: Mapping[str, Column], names: Sequence[str]) -> Column | None:
    """The first column of these names, or else the only one."""
    named = [columns[name] for name in names if name in columns]
    return named[0] if named else next(iter(columns.values())) if len(columns) == 1 else None


def _spec(found: Mapping[str, Column], options: ParquetOptions) -> EpisodeSpec:
    sizes = options.chosen
    if sizes.sizes or ("text" in found and sizes.resize):
        raise SourceError(f"option resize={options.resize}: expected one HEIGHTxWIDTH, for rows with pictures")
    if "text" in found:
        return EpisodeSpec.document()
    image = ImageSpec(resize=sizes.resize)
    return EpisodeSpec.question_answer(image) if "question" in found else EpisodeSpec.caption(image)
