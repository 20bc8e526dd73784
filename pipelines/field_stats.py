"""What a dataset holds, counted while it is made: per task and field, mergeable over shards."""

from typing import Any

import numpy as np

from gato_tokenize import Episode, EpisodeTokenizer, Kind, TokenSequence
from gato_tokenize.spec import ContinuousSpec, DiscreteSpec, FieldSpec, ImageSpec


def episode_stats(episode: Episode, tokenizer: EpisodeTokenizer, sequence: TokenSequence) -> dict[str, Any]:
    """Counts of one episode, as JSON: {"episodes", "steps", "tokens", "tokens_by_kind", "fields", "notes"}."""
    kinds = np.bincount(sequence.kinds, minlength=len(Kind))
    clipped = tokenizer.clipped(episode)
    specs = episode.spec.fields
    text_ids = sequence.ids[sequence.kinds == Kind.TEXT]
    return {
        "episodes": 1,
        "steps": sequence.num_steps,
        "tokens": len(sequence),
        "loss_tokens": int(np.count_nonzero(sequence.loss_mask)),
        "tokens_by_kind": {kind.name.lower(): int(kinds[kind]) for kind in Kind if kinds[kind]},
        "unknown_pieces": tokenizer.text.unknown_count(text_ids) if tokenizer.text else 0,
        "fields": {path: _field(spec, episode.fields[path], clipped.get(path, 0)) for path, spec in specs.items()},
        "notes": dict(episode.notes),
    }


def _field(spec: FieldSpec, value: Any, clipped: int) -> dict[str, Any]:
    if isinstance(spec, ContinuousSpec):
        numbers = np.asarray(value, np.float32)
        extent = {"min": float(numbers.min()), "max": float(numbers.max())} if numbers.size else {}
        return {"values": int(numbers.size), "clipped": clipped, **extent}
    if isinstance(spec, DiscreteSpec):
        integers = np.asarray(value)
        return {"values": int(integers.size), "min": int(integers.min()), "max": int(integers.max())}
    if isinstance(spec, ImageSpec):
        return {"images": len(value), "resized": _resized(spec, value)}
    texts = [text for text in value if isinstance(text, str)]
    return {"texts": len(texts), "characters": sum(map(len, texts)), "empty": texts.count("")}


def _resized(spec: ImageSpec, value: Any) -> int:
    if spec.shape is None:
        return 0
    sides = spec.shape[:2]
    return 0 if (spec.resize or sides) == sides and not any(side % 16 for side in sides) else len(value)


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
