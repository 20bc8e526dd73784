"""The commands `merge`, `filter` and `split`."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from gato_tokenize.view import counted, printable_lines
from pipelines.commands.exit_codes import exit_code
from pipelines.conversion.card import Card
from pipelines.editing.edit import edit
from pipelines.editing.rules import Rule


def run_edit(arguments: argparse.Namespace, paths: Sequence[Path], rule: Callable[[], Rule]) -> int:
    """Make a dataset and print what was made; returns the exit code: see `exit_code`."""
    return exit_code(lambda: _edit(paths, arguments.out, rule(), arguments.card))


def _edit(paths: Sequence[Path], out: Path, rule: Rule, card: Path | None) -> None:
    there = out.exists()
    manifest = edit(paths, out, rule, None if card is None else Card.read(card))
    lines = ["published already: nothing was written"] if there else []
    episodes = manifest["episodes"]
    lines.append(f"{out}: {episodes['written']} of {counted(episodes['read'], 'episode')} taken")
    lines += [f"  {count} left out: {why}" for why, count in episodes["filtered"].items()]
    for name, split in manifest["splits"].items():
        lines.append(f"  {name}: {counted(split['records'], 'record')} in {counted(len(split['shards']), 'shard')}")
    print(*map(printable_lines, lines), sep="\n")
