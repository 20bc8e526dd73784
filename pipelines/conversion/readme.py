"""README.md of a dataset: its card, made of the manifest, the statistics, the tokenizer and what `--card` says."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gato_tokenize.markdown import fenced, markdown, markdown_table
from gato_tokenize.output import counted, printable_lines
from gato_tokenize.storage.dataset import DatasetTokenizer
from pipelines.conversion.card import Card
from pipelines.stats.lints import listed

MOST_ROWS = 50  # of tasks and of inputs; the manifest and stats.json have all


def summary(manifest: Mapping[str, Any], stats: Mapping[str, Any]) -> str:
    """Say in a sentence what a dataset holds."""
    splits, tasks = manifest["splits"].values(), {task for by_task in stats.values() for task in by_task}
    tokens, steps = (sum(split[name] for split in splits) for name in ("tokens", "steps"))
    return (
        f"{counted(manifest['episodes']['written'], 'episode')} of {counted(len(tasks), 'task')} as Gato's"
        f" tokens: {counted(steps, 'timestep')}, {counted(tokens, 'token')}."
    )


def readme(
    manifest: Mapping[str, Any], stats: Mapping[str, Any], tokenizer: DatasetTokenizer, card: Card
) -> Iterator[str]:
    """Yield the lines of README.md. `manifest` needs all but its files."""
    yield f"# {markdown(card.name or manifest['dataset'])}"
    yield from ("", f"{manifest['dataset']} {manifest['version']}: {summary(manifest, stats)}", "")
    if card.description:
        yield from (printable_lines(card.description.strip()), "")
    yield from _contents(manifest, stats)
    yield from _origin(manifest, tokenizer)
    yield from _looks(stats)
    yield from _reading(manifest)
    yield from _rights(card)


def _contents(manifest: Mapping[str, Any], stats: Mapping[str, Any]) -> Iterator[str]:
    yield from ("## What it holds", "")
    rows = [
        (name, *(f"{split[count]:,}" for count in ("records", "steps", "tokens", "bytes")), str(len(split["shards"])))
        for name, split in manifest["splits"].items()
    ]
    yield from _table(("split", "records", "timesteps", "tokens", "bytes", "shards"), rows)
    rows = [
        (task, split, *(f"{counts[name]:,}" for name in ("episodes", "steps", "tokens", "loss_tokens")))
        for split, by_task in stats.items()
        for task, counts in sorted(by_task.items())
    ]
    yield from _table(("task", "split", "episodes", "timesteps", "tokens", "in the loss"), rows, "stats.json")
    yield from ("`stats.json` has the statistics of every field, `tokenizer/spec.json` the spec of each task.", "")


def _origin(manifest: Mapping[str, Any], tokenizer: DatasetTokenizer) -> Iterator[str]:
    episodes = manifest["episodes"]
    inputs = "from these inputs:" if manifest["inputs"] else "from inputs that it was not told."
    yield from ("## How it was made", "", f"Made by {manifest['generator']} {inputs}", "")
    rows = [
        (given["uri"], given.get("source", ""), given.get("sha256", "")[:16], _rule(given.get("rule", {})))
        for given in manifest["inputs"]
    ]
    yield from _table(("input", "read by", "sha256, first 16", "rule"), rows, "manifest.json")
    yield f"* {counted(episodes['read'], 'episode')} read, {episodes['written']:,} written."
    for name in ("rejected", "filtered"):
        yield from (f"* {count:,} {name}: {markdown(reason)}." for reason, count in sorted(episodes[name].items()))
    yield f"* The vocabulary: {tokenizer.vocabulary.describe()}."
    yield f"* sha256 of the plan: {manifest['plan_sha256']}"
    yield from (f"* sha256 of the tokenizer: {manifest['tokenizer_sha256']}", "")


def _rule(rule: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {json.dumps(value, ensure_ascii=False)}" for name, value in rule.items())


def _looks(stats: Mapping[str, Any]) -> Iterator[str]:
    lines = [f"* {markdown(line)}" for line in listed(stats)]
    if lines:
        yield from ("## What looks wrong", "", "Counted while it was made, and not repaired:", "", *lines, "")


def _reading(manifest: Mapping[str, Any]) -> Iterator[str]:
    folder = f"DIR/{manifest['dataset']}/{manifest['version']}"
    program = f'from gato_tokenize import Dataset\n\ndataset = Dataset.open("{folder}")'
    yield from ("## Reading it", "", *fenced(program, "python"))
    yield "The shards are TFRecord files, which TensorFlow Datasets and plain `tf.data` read, too. `gato-data verify`"
    yield from ("checks every byte against `manifest.json`.", "")


def _rights(card: Card) -> Iterator[str]:
    yield from ("## Licence and citation", "")
    yield f"* Licence: {markdown(card.licence) or 'none was given'}"
    if card.creators:
        yield f"* Creators: {markdown(', '.join(card.creators))}"
    if card.url:
        yield f"* Page: {markdown(card.url)}"
    if not card.citation:
        yield "* Citation: none was given"
        return
    yield from ("* Citation:", "", *fenced(card.citation.strip(), "text"))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], rest: str = "") -> Iterator[str]:
    yield from markdown_table(head, rows[:MOST_ROWS])
    if len(rows) > MOST_ROWS:
        yield from (f"and {len(rows) - MOST_ROWS:,} more, which `{rest}` has", "")
