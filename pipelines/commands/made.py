"""What a command says about the dataset that it made."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gato_tokenize.byte_size import size_text
from gato_tokenize.output import counted
from gato_tokenize.storage.dataset import read_stats
from pipelines.conversion.work_folder import count_done
from pipelines.stats.lints import equal_inputs, listed

ALREADY_THERE = "published already: nothing was written"


def summary(manifest: dict[str, Any], out: Path) -> str:
    """Describe in a few lines what was made."""
    episodes = manifest["episodes"]
    lines = [f"{out}: {episodes['written']} of {counted(episodes['read'], 'episode')} written"]
    for name in ("rejected", "filtered"):
        lines += [f"  {count} {name}: {reason}" for reason, count in episodes[name].items()]
    for name, split in manifest["splits"].items():
        nouns = {"records": "record", "steps": "timestep", "tokens": "token"}
        counts = ", ".join(counted(split[name], noun) for name, noun in nouns.items())
        shards = counted(len(split["shards"]), "shard")
        lines.append(f"  {name}: {counts}, {size_text(split['bytes'])} in {shards}")
    lines += [f"  {line}" for line in (*equal_inputs(manifest["inputs"]), *listed(read_stats(out)))]
    return "\n".join(lines)


def document_of(manifest: dict[str, Any], out: Path, already_there: bool, notes: Sequence[str] = ()) -> dict[str, Any]:
    """Return what --json prints: {"dataset", "already_published", "plan_sha256", "episodes", "splits", "notes"}.

    episodes: as in manifest.json. splits: {name: {"records", "steps", "tokens", "bytes", "shards"}}, each a number.
    """
    splits = {name: {**split, "shards": len(split["shards"])} for name, split in manifest["splits"].items()}
    return {
        "dataset": out,
        "already_published": already_there,
        "plan_sha256": manifest["plan_sha256"],
        "episodes": manifest["episodes"],
        "splits": splits,
        "notes": [*equal_inputs(manifest["inputs"]), *listed(read_stats(out)), *notes],
    }


def how_to_resume(arguments: argparse.Namespace) -> str:
    """Say after Ctrl-C what is done, and how to go on."""
    try:
        done = counted(count_done(arguments.out), "finished partition")
    except OSError as error:  # a store may be what was waited for
        return f"stopped ({error}): the same command goes on from there"
    return f"stopped; {done} kept: the same command goes on from there"
