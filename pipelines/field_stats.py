"""What a dataset holds, counted while it is made: per task and field, mergeable over shards."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gato_tokenize import Episode, EpisodeTokenizer, Kind, TokenSequence
from gato_tokenize.field_spec import ContinuousSpec, DiscreteSpec, FieldSpec, ImageSpec
from gato_tokenize.image import PATCH, orientation


def episode_stats(episode: Episode, tokenizer: EpisodeTokenizer, sequence: TokenSequence) -> dict[str, Any]:
    """Counts of one episode, as JSON: {"episodes", "steps", "tokens", "tokens_by_kind", "fields", "notes", "lints"}."""
    kinds = np.bincount(sequence.kinds, minlength=len(Kind))
    clipped, grids = tokenizer.clipped(episode), tokenizer.grids(sequence)
    specs = episode.spec.fields
    text_ids = sequence.ids[sequence.kinds == Kind.TEXT]
    return {
        "episodes": 1,
        "steps": sequence.num_steps,
        "tokens": len(sequence),
        "loss_tokens": int(np.count_nonzero(sequence.loss_mask)),
        "tokens_by_kind": {kind.name.lower(): int(kinds[kind]) for kind in Kind if kinds[kind]},
        "unknown_pieces": tokenizer.text.unknown_count(text_ids) if tokenizer.text else 0,
        "fields": {
            path: _field(spec, episode.fields[path], clipped.get(path, 0), grids.get(path))
            for path, spec in specs.items()
        },
        "notes": dict(episode.notes),
        "lints": {what: count for what, count in _lints(episode, sequence).items() if count},
    }


def _lints(episode: Episode, sequence: TokenSequence) -> dict[str, int]:
    """What is legal and yet looks wrong: counted, never repaired."""
    named = episode.metadata
    unfinished = episode.spec.timesteps and not (named.terminated or named.truncated)
    lints = {"episodes that neither terminated nor were truncated": int(unfinished)}
    if len(sequence.grids):
        flat = sequence.patches.reshape(len(sequence.patches), -1)
        first = np.cumsum(sequence.patches_per_image) - sequence.patches_per_image  # of each image
        darkest, brightest = np.minimum.reduceat(flat.min(axis=1), first), np.maximum.reduceat(flat.max(axis=1), first)
        lints["black images"] = int(np.count_nonzero(brightest == 0))
        lints["images of one colour value"] = int(np.count_nonzero((darkest == brightest) & (brightest > 0)))
    return lints


def _field(spec: FieldSpec, value: Any, clipped: int, grids: Any) -> dict[str, Any]:
    if isinstance(spec, ContinuousSpec):
        numbers = np.asarray(value, np.float32)
        extent = {"min": float(numbers.min()), "max": float(numbers.max())} if numbers.size else {}
        return {"values": int(numbers.size), "clipped": clipped, **extent}
    if isinstance(spec, DiscreteSpec):
        integers = np.asarray(value)
        return {"values": int(integers.size), "min": int(integers.min()), "max": int(integers.max())}
    if isinstance(spec, ImageSpec):
        return _images(spec, value, grids)
    texts = [text for text in value if isinstance(text, str)]
    return {"texts": len(texts), "characters": sum(map(len, texts)), "empty": texts.count("")}


def _images(spec: ImageSpec, value: Any, grids: NDArray[np.int32]) -> dict[str, Any]:
    """How many pictures there are, and how many of them the tokens do not give back whole."""
    if spec.shape is not None:
        height, width = spec.shape[:2]
        channels = 4 if spec.shape[2:] == (4,) else 3
        headers = [(height, width, channels == 4)] * len(value)
    else:
        headers = [_header(picture) for picture in value]
    changed = sum(
        (height, width) != (rows * PATCH, columns * PATCH)
        for (height, width, _), (rows, columns) in zip(headers, grids.tolist(), strict=True)
    )
    return {"images": len(value), "resized": changed, "alpha_dropped": sum(alpha for _, _, alpha in headers)}


def _header(picture: Any) -> tuple[int, int, bool]:
    """(height, width, has an alpha channel) of a picture in any of its forms; a file is not decoded for it."""
    if isinstance(picture, np.ndarray):
        return picture.shape[0], picture.shape[1], picture.shape[2:] == (4,)
    image = Image.open(io.BytesIO(picture)) if isinstance(picture, bytes) else picture
    lies = orientation(image) >= 5  # EXIF: turned by a quarter
    height, width = (image.width, image.height) if lies else (image.height, image.width)
    return height, width, image.has_transparency_data


def merge_stats(total: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Add `more` into `total`, in place: numbers are summed, under "min" and "max" the smaller and larger is kept."""
    for key, value in more.items():
        if isinstance(value, dict):
            merge_stats(total.setdefault(key, {}), value)
        elif key in ("min", "max") and key in total:
            total[key] = min(total[key], value) if key == "min" else max(total[key], value)
        else:
            total[key] = value if key in ("min", "max") else total.get(key, 0) + value
    return total
