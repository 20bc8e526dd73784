"""Statistics of episodes of which only the tokens are left: what tokens do not tell is left out."""

from typing import Any

from gato_tokenize import EpisodeTokenizer
from gato_tokenize.storage.records import Record
from pipelines.stats.episode_stats import episode_stats

COUNTED_FROM_TOKENS = "statistics counted from tokens"  # the note that says so, with the number of episodes
_UNKNOWN = {  # the values before they were rounded to bins, and the pictures before they were resized
    *("min", "max", "clipped", "dimensions"),
    *("resized", "alpha_dropped"),
}
_NEEDS_VALUES = "episodes whose last action alone is all zeros"


def stats_from_tokens(whole: Record, tokenizer: EpisodeTokenizer) -> dict[str, Any]:
    """Count one episode, given as one record: the same as `episode_stats`, but without what its tokens do not tell: the
    range, clipping and errors of continuous values, which pictures were resized, and the notes of its source. A note
    says that it was counted so."""
    episode = tokenizer.decode(whole.sequence, whole.metadata, whole.rewards)
    counted = episode_stats(episode, tokenizer, whole.sequence)
    fields = {
        path: {name: count for name, count in field.items() if name not in _UNKNOWN}
        if "bins" in field or "images" in field
        else field
        for path, field in counted["fields"].items()
    }
    lints = {what: count for what, count in counted["lints"].items() if what != _NEEDS_VALUES}
    return {**counted, "fields": fields, "lints": lints, "notes": {COUNTED_FROM_TOKENS: 1}}
