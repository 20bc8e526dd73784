"""Lints: data that is legal but looks wrong. It is counted while a dataset is made, reported, and never repaired."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gato_tokenize import Episode, TokenSequence
from gato_tokenize.episode import FINAL_OBSERVATION
from gato_tokenize.field_spec import ContinuousSpec
from pipelines.stats.fit import fits

VIDEO_DRIFT = "videos longer or shorter than their rows"  # these two are noted by a source with videos
STILL_CAMERA = "cameras that show one picture for a second or longer"
STALE_VALUES = "values older than two timesteps"  # noted by a source of topics with clocks of their own

LINTS = {  # what each may mean; they are counted per task
    "black images": "a camera that was off, or files that hold nothing",
    "images of one colour value": "a camera that shows nothing",
    "frames equal to the one before": "a camera that hung, or frames that were held back; normal where nothing moves",
    STILL_CAMERA: "a camera that hung; normal where nothing moves",
    VIDEO_DRIFT: "frames without a row, or rows that were lost: pictures and numbers may drift apart",
    STALE_VALUES: "a topic that is slower than the timesteps, or messages that were lost",
    "episodes that neither terminated nor were truncated": "the source lost their end, or does not know it",
    "episodes whose last action alone is all zeros": "filled up to as many actions as observations",
    "episodes of T observations among others of T + 1": "the last observation or the last action is lost",
    "values beyond the bins' reach": "fields that were not scaled: see the fit",
    "action dimensions that look un-normalised": "bounds that are not the values': see the fit",
    "observation dimensions that fit their bins badly": "too small, too large or too far from 0: see the fit",
    "unknown text pieces": "characters that the text model cannot write: they are lost",
    "empty texts": "instructions or answers that are missing",
}


def episode_lints(episode: Episode, sequence: TokenSequence, counted: Mapping[str, Any]) -> dict[str, int]:
    """Count the lints of one episode and return those above 0.

    `counted` has the episode's statistics, some of which are lints themselves.
    """
    named, fields = episode.metadata, counted["fields"].values()
    unfinished = episode.spec.timesteps and not (named.terminated or named.truncated)
    found = {
        "episodes that neither terminated nor were truncated": int(unfinished),
        "episodes whose last action alone is all zeros": int(_filled_up(episode)),
        "values beyond the bins' reach": sum(field.get("clipped", 0) for field in fields),
        "frames equal to the one before": sum(field.get("repeated", 0) for field in fields),
        **text_lints(counted["unknown_pieces"], sum(field.get("empty", 0) for field in fields)),
        **(_plain_images(sequence) if len(sequence.grids) else {}),
        **{what: count for what, count in episode.notes.items() if what in LINTS},
    }
    return {what: count for what, count in found.items() if count}


def text_lints(unknown_pieces: int, empty_texts: int) -> dict[str, int]:
    """Return the lints of texts that are above 0."""
    found = {"unknown text pieces": unknown_pieces, "empty texts": empty_texts}
    return {what: count for what, count in found.items() if count}


def _plain_images(sequence: TokenSequence) -> dict[str, int]:
    flat = sequence.patches.reshape(len(sequence.patches), -1)
    first = np.cumsum(sequence.patches_per_image) - sequence.patches_per_image  # of each image
    darkest, brightest = np.minimum.reduceat(flat.min(axis=1), first), np.maximum.reduceat(flat.max(axis=1), first)
    return {
        "black images": int(np.count_nonzero(brightest == 0)),
        "images of one colour value": int(np.count_nonzero((darkest == brightest) & (brightest > 0))),
    }


def _filled_up(episode: Episode) -> bool:
    """Check whether the continuous actions are all zeros at the last timestep and at no other."""
    actions = [
        np.asarray(episode.fields[path]).reshape(episode.num_steps, -1)
        for path, spec in episode.spec.action_fields.items()
        if isinstance(spec, ContinuousSpec)
    ]
    if not actions or episode.num_steps < 2 or any(action[-1].any() for action in actions):
        return False
    moved = np.logical_or.reduce([action[:-1].any(axis=1) for action in actions])
    return bool(moved.all())


def repeats(patches: NDArray[np.uint8], grids: NDArray[np.int32], fields: int) -> list[tuple[int, int]]:
    """Return (images equal to the one before, longest run of equal images) of each image field of an episode.

    `patches` is uint8[n, 16, 16, 3]; `grids` is int32[T * fields, 2], in which the fields take turns, as in a
    `TokenSequence`.
    """
    ends = np.cumsum(grids.astype(np.int64).prod(axis=1))
    words = patches.reshape(len(patches), -1).view(np.uint64)  # eight bytes at a time
    found = []
    for field in range(fields):
        own = range(field, len(grids), fields)
        if fields == 1 and (grids == grids[0]).all():  # the fast way, for a single field with frames of one size
            frames = words.reshape(len(grids), -1)
            same = (frames[1:] == frames[:-1]).all(axis=1)
        else:
            parts = [words[ends[i] - grids[i].prod() : ends[i]] for i in own]
            alike = [np.array_equal(grids[i], grids[j]) for i, j in zip(own, own[1:], strict=False)]
            pairs = zip(alike, parts, parts[1:], strict=False)
            same = np.array([size and np.array_equal(one, two) for size, one, two in pairs], bool)
        found.append((int(np.count_nonzero(same)), _longest(same) + 1))
    return found


def _longest(flags: NDArray[np.bool_]) -> int:
    """Return the length of the longest run of True."""
    borders = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return int((borders[1::2] - borders[::2]).max(initial=0))


def complete(counts: dict[str, Any]) -> dict[str, Any]:
    """Add to a task's merged statistics the lints that only all of its episodes together reveal.

    It can be called again after more statistics are merged in.
    """
    bad = {True: 0, False: 0}
    for path, field in counts["fields"].items():
        if "dimensions" in field:
            bad[path.split("/")[0] == "action"] += sum(fit.bad for fit in fits(field))
    left_out = counts["notes"].get(FINAL_OBSERVATION, 0)
    derived = {
        "action dimensions that look un-normalised": bad[True],
        "observation dimensions that fit their bins badly": bad[False],
        "episodes of T observations among others of T + 1": counts["episodes"] - left_out if left_out else 0,
    }
    counted = {what: count for what, count in counts["lints"].items() if what not in derived}
    return {**counts, "lints": counted | {what: count for what, count in derived.items() if count}}


def listed(stats: Mapping[str, Any]) -> Iterator[str]:
    """Yield a readable line for each lint in a dataset's statistics, summed over splits and tasks."""
    found: dict[str, list[tuple[str, int]]] = {}
    for by_task in stats.values():
        for task, counts in by_task.items():
            for what, count in counts["lints"].items():
                found.setdefault(what, []).append((task, count))
    for what in (what for what in LINTS if what in found):
        tasks = sorted({task for task, _ in found[what]})
        among = tasks[0] if len(tasks) == 1 else f"{len(tasks)} tasks"
        yield f"{sum(count for _, count in found[what])} {what} ({among}): {LINTS[what]}"


def equal_inputs(inputs: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a readable line if files of different names have the same content.

    inputs: {"uri", "sha256"} of each file, as a plan and a manifest list them; others are passed over.

    >>> list(equal_inputs({"uri": f"{name}.txt", "sha256": "0f"} for name in "abc"))
    ['2 inputs have the content of another: b.txt and c.txt that of a.txt; their episodes are there several times']
    """
    names: dict[str, list[str]] = {}
    for given in inputs:
        uri, known = given["uri"], names.setdefault(given.get("sha256", ""), [])
        if "sha256" in given and uri not in known and not uri.endswith("#images"):
            known.append(uri)
    doubles = [known for known in names.values() if len(known) > 1]
    shown = [f"{' and '.join(rest[:3])}{' ...' * (len(rest) > 3)} that of {first}" for first, *rest in doubles[:3]]
    if doubles:
        count = sum(len(known) - 1 for known in doubles)
        have = "1 input has" if count == 1 else f"{count} inputs have"
        shown += ["..."] if len(doubles) > 3 else []
        yield f"{have} the content of another: {', '.join(shown)}; their episodes are there several times"
