"""The command `plan`: what a conversion would make of sources, by their metadata and first episodes."""

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path

from gato_tokenize.output import Output, counted, printable_lines
from gato_tokenize.storage.dataset import DatasetTokenizer
from pipelines.commands.convert import describe_tasks, named_sources, notes_of, notes_shown, reasons_of, tasks_of
from pipelines.commands.exit_codes import exit_code
from pipelines.conversion.plan import make_plan
from pipelines.conversion.preview import Preview, Seen, preview

_NOWHERE = Path("plan/0.0.0")  # the name of a dataset that is not made


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Run the command; returns its exit code: see `exit_code`."""
    return exit_code(lambda: _run(arguments, output), output)


def _run(arguments: argparse.Namespace, output: Output) -> int:
    names, recognised = named_sources(arguments.sources)
    plan, tokenizer = make_plan(names, _NOWHERE, limit=arguments.limit, local_positions=arguments.local_positions)
    found = []
    for name in names:
        works = [work for work in plan.partitions if work.source == name]
        found.append(preview(name, works, [given for given in plan.inputs if given["source"] == name], tokenizer))
    reasons, notes = reasons_of(names), [*recognised, *notes_of(names)]
    lines = [line for one in found for line in _described(one)]
    lines += describe_tasks(tokenizer, reasons)
    lines += [_seen(task, seen, tokenizer) for one in found for task, seen in one.seen.items()]
    seen_tasks = {task for one in found for task in one.seen}
    lines += [f"task {task}: none of its episodes was looked at" for task in tokenizer.specs if task not in seen_tasks]
    document = {
        "splits": plan.splits,
        "sources": [dataclasses.asdict(one) for one in found],
        "local_positions": tokenizer.local_positions,
        "tasks": tasks_of(tokenizer, reasons),
        "notes": notes,
    }
    return output.result("\n".join(map(printable_lines, [*lines, *notes_shown(notes)])), document)


def _described(found: Preview) -> list[str]:
    facts = [f"up to {counted(found.episodes, 'episode')}", counted(found.partitions, "partition")]
    facts += [counted(found.bytes, "byte")] if found.bytes else []  # an environment has none
    facts += [f"in its own splits {', '.join(found.splits)}"] if found.splits else []
    return [f"source {found.source}: {', '.join(facts)}", *(f"  {one}" for one in found.failed)]


def _seen(task: str, seen: Seen, tokenizer: DatasetTokenizer) -> str:
    looked = f"task {task}: {counted(seen.episodes, 'episode')} of {counted(seen.steps, 'timestep')} looked at"
    if seen.positions:
        looked += f"; at most {seen.positions} observation tokens in a timestep, of {tokenizer.local_positions} local"
        looked += " positions"
    return "\n".join([looked, *_ranges(seen.ranges)])


def _ranges(ranges: Mapping[str, tuple[float, float]]) -> list[str]:
    return [f"  {path} from {low:g} to {high:g}" for path, (low, high) in ranges.items()]
