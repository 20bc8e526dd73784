"""Statistics of a dataset per task and field, counted while it is made and merged over shards."""

import io
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gato_tokenize import Episode, EpisodeTokenizer, Kind, TokenSequence
from gato_tokenize.field_spec import ContinuousSpec, DiscreteSpec, ImageSpec
from gato_tokenize.layout import image_grids, locate
from gato_tokenize.modalities.continuous import ContinuousTokenizer
from gato_tokenize.modalities.image import PATCH
from gato_tokenize.modalities.picture_file import orientation
from pipelines.stats.fit import count_fit
from pipelines.stats.lints import episode_lints, repeats, text_lints

_TEXT, _KIND_NAMES = int(Kind.TEXT), [kind.name.lower() for kind in Kind]  # numbered from 0


def episode_stats(episode: Episode, tokenizer: EpisodeTokenizer, sequence: TokenSequence) -> dict[str, Any]:
    """Count one episode: {"episodes", "steps", "tokens", "loss_tokens", "tokens_by_kind", "unknown_pieces", "fields",
    "notes", "lints"}.

    The values are numbers, and arrays that `as_json` turns into lists.
    """
    kinds = np.bincount(sequence.kinds).tolist()
    text_ids = sequence.ids[sequence.kinds == _TEXT]
    counted = {
        "episodes": 1,
        "steps": sequence.num_steps,
        "tokens": len(sequence),
        "loss_tokens": int(np.count_nonzero(sequence.loss_mask)),
        "tokens_by_kind": {_KIND_NAMES[kind]: count for kind, count in enumerate(kinds) if count},
        "unknown_pieces": tokenizer.text.unknown_count(text_ids) if tokenizer.text else 0,
        "fields": _fields(episode, tokenizer, sequence),
        "notes": dict(episode.notes),
    }
    return {**counted, "lints": episode_lints(episode, sequence, counted)}


def document_stats(
    episodes: Sequence[Episode], tokenizer: EpisodeTokenizer, sequences: Sequence[TokenSequence]
) -> dict[str, Any]:
    """Count documents together: the same as `episode_stats` of each, merged, at a tenth of the cost."""
    (path,) = episodes[0].spec.fields
    texts = [episode.fields[path][0] for episode in episodes]
    ids = np.concatenate([sequence.ids for sequence in sequences])
    unknown, empty = tokenizer.text.unknown_count(ids) if tokenizer.text else 0, texts.count("")
    notes: Counter[str] = Counter()
    for episode in episodes:
        notes.update(episode.notes)
    return {
        "episodes": len(episodes),
        "steps": len(episodes),
        "tokens": len(ids),
        "loss_tokens": sum(int(sequence.loss_mask.sum()) for sequence in sequences),
        "tokens_by_kind": {_KIND_NAMES[_TEXT]: len(ids)} if len(ids) else {},
        "unknown_pieces": unknown,
        "fields": {path: {"texts": len(texts), "characters": sum(map(len, texts)), "empty": empty}},
        "notes": dict(notes),
        "lints": text_lints(unknown, empty),
    }


def _fields(episode: Episode, tokenizer: EpisodeTokenizer, sequence: TokenSequence) -> dict[str, dict[str, Any]]:
    counted: dict[str, dict[str, Any]] = {}
    specs = episode.spec.fields
    continuous = any(isinstance(spec, ContinuousSpec) for spec in specs.values())
    places = locate(tokenizer.slots, sequence).places if continuous else None
    for path, spec in specs.items():
        value = episode.fields[path]
        if isinstance(spec, ContinuousSpec) and places:
            ids = sequence.ids[places(path)].reshape(value.shape)
            counted[path] = _continuous(np.asarray(value, np.float32), ids, tokenizer.field_tokenizer(path))
        elif isinstance(spec, DiscreteSpec):
            integers = np.asarray(value)
            counted[path] = {"values": int(integers.size), "min": int(integers.min()), "max": int(integers.max())}
        elif not isinstance(spec, ImageSpec):
            texts = [text for text in value if isinstance(text, str)]
            counted[path] = {"texts": len(texts), "characters": sum(map(len, texts)), "empty": texts.count("")}
    return counted | (_images(episode, image_grids(tokenizer.slots, sequence), sequence) if len(sequence.grids) else {})


def _continuous(values: NDArray[Any], ids: NDArray[np.int32], tokenizer: ContinuousTokenizer) -> dict[str, Any]:
    fit = count_fit(values, ids, tokenizer)
    columns = fit["dimensions"]
    extent = {"min": float(columns["min"].min()), "max": float(columns["max"].max())}
    return {"values": values.size, "clipped": int(columns["clipped"].sum()), **extent, **fit}


def _images(
    episode: Episode, grids: dict[str, NDArray[np.int32]], sequence: TokenSequence
) -> dict[str, dict[str, Any]]:
    """Count the pictures of each image field: all, those that the tokens do not give back whole, and in an episode of
    timesteps those that equal the one before."""
    specs = {path: spec for path, spec in episode.spec.fields.items() if isinstance(spec, ImageSpec)}
    as_files = bool(sequence.encoded)
    counted = {path: _sizes(specs[path], episode.fields[path], grids[path], as_files) for path in grids}
    if episode.spec.timesteps:
        found = repeats(sequence.patches, sequence.grids, len(grids))
        for path, (repeated, run) in zip(grids, found, strict=True):
            counted[path] |= {"repeated": repeated, "longest_run": run}
    return counted


def _sizes(spec: ImageSpec, value: Any, grids: NDArray[np.int32], as_files: bool) -> dict[str, Any]:
    """as_files: whether the record holds the pictures' own files, so that none was resized."""
    if spec.shape is not None:
        height, width = spec.shape[:2]
        channels = 4 if spec.shape[2:] == (4,) else 3
        headers = [(height, width, channels == 4)] * len(value)
    else:
        headers = [
            (rows * PATCH, columns * PATCH, False)
            if as_files
            and isinstance(picture, bytes)
            and picture.startswith(b"\xff\xd8")  # a JPEG has no alpha: its header need not be read
            else _header(picture)
            for picture, (rows, columns) in zip(value, grids.tolist(), strict=True)
        ]
    changed = sum(
        (height, width) != (rows * PATCH, columns * PATCH)
        for (height, width, _), (rows, columns) in zip(headers, grids.tolist(), strict=True)
    )
    return {"images": len(value), "resized": changed, "alpha_dropped": sum(alpha for _, _, alpha in headers)}


def _header(picture: Any) -> tuple[int, int, bool]:
    """Return (height, width, has an alpha channel) of an array, a Pillow image or a file, which is not decoded."""
    if isinstance(picture, np.ndarray):
        return picture.shape[0], picture.shape[1], picture.shape[2:] == (4,)
    image = Image.open(io.BytesIO(picture)) if isinstance(picture, bytes) else picture
    lies = orientation(image) >= 5  # EXIF: turned by a quarter
    height, width = (image.width, image.height) if lies else (image.height, image.width)
    return height, width, image.has_transparency_data


def plain_counts(field: dict[str, Any]) -> dict[str, Any]:
    """Shorten a field's statistics to one line: drop those of each element, and give the number of bins in use.

    >>> plain_counts({"values": 3, "bins": {"512": 2, "744": 1}, "dimensions": {"min": [0.0]}})
    {'values': 3, 'bins_used': 2}
    """
    plain = {name: value for name, value in field.items() if not isinstance(value, dict)}
    return plain | ({"bins_used": len(field["bins"])} if "bins" in field else {})


_SMALLEST, _LARGEST = {"min"}, {"max", "error_max", "longest_run"}  # statistics of these names; all others are summed


def merge_stats(total: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Merge `more` into `total`, in place, and return `total`.

    Numbers are summed; under "min" the smaller one is kept, under "max", "error_max" and "longest_run" the larger one.
    Lists and arrays are merged element by element. Raises ValueError for lists of different lengths.

    >>> merge_stats({"n": 1, "min": [0, 5]}, {"n": 2, "min": [3, 3]})
    {'n': 3, 'min': [0, 3]}
    """
    for key, value in more.items():
        if isinstance(value, dict):
            merge_stats(total.setdefault(key, {}), value)
        elif key not in total:
            total[key] = value
        elif isinstance(value, np.ndarray):
            arrays = {"min": np.minimum, "max": np.maximum}
            total[key] = arrays.get(_rule(key), np.add)(total[key], value)
        elif isinstance(value, list):
            numbers = _NUMBERS[_rule(key)]
            total[key] = [numbers(one, two) for one, two in zip(total[key], value, strict=True)]
        else:
            total[key] = _NUMBERS[_rule(key)](total[key], value)
    return total


_NUMBERS: dict[str, Callable[[Any, Any], Any]] = {"min": min, "max": max, "sum": lambda one, two: one + two}


def _rule(key: str) -> str:
    return "min" if key in _SMALLEST else "max" if key in _LARGEST else "sum"


def as_json(stats: Any) -> Any:
    """Replace each array by a list, and the counts of bins by {bin: values in it} of the bins in use."""
    if isinstance(stats, dict):
        return {key: _used(value) if key == "bins" else as_json(value) for key, value in stats.items()}
    return stats.tolist() if isinstance(stats, np.ndarray) else stats


def _used(bins: Any) -> Any:
    if not isinstance(bins, np.ndarray):
        return as_json(bins)  # not counts: a task may be called "bins"
    return {str(number): int(bins[number]) for number in np.flatnonzero(bins)}
