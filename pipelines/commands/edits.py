"""The commands `merge`, `filter` and `split`."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from gato_tokenize.output import Output, counted, printable_lines
from pipelines.commands.exit_codes import exit_code
from pipelines.commands.made import ALREADY_THERE, document_of
from pipelines.conversion.card import Card
from pipelines.conversion.work_storage import is_made
from pipelines.editing.edit import edit
from pipelines.editing.rules import Rule


def run_edit(arguments: argparse.Namespace, paths: Sequence[Path], rule: Callable[[], Rule], output: Output) -> int:
    """Make a dataset and print what was made; returns the exit code: see `exit_code`."""
    return exit_code(lambda: _edit(paths, arguments.out, rule(), arguments.card, output), output)


def _edit(paths: Sequence[Path], out: Path, rule: Rule, card: Path | None, output: Output) -> int:
    there = is_made(out)
    manifest = edit(paths, out, rule, None if card is None else Card.read(card))
    lines = [ALREADY_THERE] if there else []
    episodes = manifest["episodes"]
    lines.append(f"{out}: {episodes['written']} of {counted(episodes['read'], 'episode')} taken")
    lines += [f"  {count} left out: {why}" for why, count in episodes["filtered"].items()]
    for name, split in manifest["splits"].items():
        lines.append(f"  {name}: {counted(split['records'], 'record')} in {counted(len(split['shards']), 'shard')}")
    return output.result("\n".join(map(printable_lines, lines)), document_of(manifest, out, there))
