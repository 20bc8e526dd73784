"""The command `plan`: what a conversion would make of sources, by their metadata and first episodes."""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from gato_tokenize.output import Output, counted, printable_lines
from gato_tokenize.storage.dataset import DatasetTokenizer
from pipelines.commands.convert import describe_tasks, named_sources, notes_of, reasons_of, tasks_of
from pipelines.commands.exit_codes import exit_code
from pipelines.conversion.plan import make_plan
from pipelines.conversion.preview import Preview, Seen, preview
from pipelines.conversion.spec_file import Fields, fields_of, rendered
from pipelines.sources import open_source
from pipelines.sources.recognition import named_source

_NOWHERE = Path("plan/0.0.0")  # the name of a dataset that is not made


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Run the command; returns its exit code: see `exit_code`."""
    return exit_code(lambda: _run(arguments, output), output)


def _run(arguments: argparse.Namespace, output: Output) -> int:
    if arguments.spec_out and arguments.spec_out.exists():
        raise ValueError(f"{arguments.spec_out} exists: give another name, so that nothing edited is lost")
    names, recognised = named_sources(arguments)
    plan, tokenizer = make_plan(
        names,
        _NOWHERE,
        limit=arguments.limit,
        local_positions=arguments.local_positions,
        validation_fraction=arguments.validation_fraction,
        split_seed=arguments.split_seed,
    )
    found = [preview(name, plan, tokenizer) for name in names]
    reasons, notes = reasons_of(names), [*recognised, *notes_of(names)]
    if arguments.spec_out:
        _write_specs(arguments, names, {task: seen for one in found for task, seen in one.seen.items()}, reasons)
        notes.append(f"the fields are in {arguments.spec_out}: edit it, and give it back by --spec")
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
    return output.result("\n".join(map(printable_lines, [*lines, *(f"note: {note}" for note in notes)])), document)


def _write_specs(
    arguments: argparse.Namespace,
    names: Sequence[str],
    seen: Mapping[str, Seen],
    reasons: Mapping[str, Mapping[str, str]],
) -> None:
    """Write the fields of all tasks, which are called as without `--spec`."""
    tasks: dict[str, Fields] = {}
    comments: dict[tuple[str, str], list[str]] = {}
    for given, name in zip(arguments.sources, names, strict=True):
        source = open_source(name)
        plain_names = open_source(named_source(given)).specs() if arguments.spec else source.specs()
        for task, (own, fields) in zip(plain_names, fields_of(source).items(), strict=True):
            tasks[task] = fields
            ranges = seen[own].ranges if own in seen else {}
            for path, field in source.specs()[own].fields.items():
                lines = [reasons.get(own, {}).get(path, field.describe())]
                lines += [f"the first episodes have values {_range(*ranges[path])}"] if path in ranges else []
                comments[task, path] = lines
            reading = source.readings().get(own)
            left_out = reading.left_out.items() if reading else ()
            comments[task, ""] = [f"left out: {path}: {why.partition('; fields=')[0]}" for path, why in left_out]
    with open(arguments.spec_out, "x", encoding="utf-8") as file:
        file.write(rendered(tasks, comments))


def _described(found: Preview) -> list[str]:
    facts = [f"up to {counted(found.episodes, 'episode')}", counted(found.partitions, "partition")]
    facts += [counted(found.bytes, "byte")] if found.bytes else []  # an environment has none
    if len(found.splits) > 1 or set(found.splits) - {"train"}:
        facts.append(", ".join(f"{count:,} in {split}" for split, count in found.splits.items()))
    return [f"source {found.source}: {', '.join(facts)}", *(f"  {one}" for one in found.failed)]


def _seen(task: str, seen: Seen, tokenizer: DatasetTokenizer) -> str:
    looked = f"task {task}: {counted(seen.episodes, 'episode')} of {counted(seen.steps, 'timestep')} looked at"
    if seen.positions:
        looked += f"; at most {seen.positions} observation tokens in a timestep, of {tokenizer.local_positions} local"
        looked += " positions"
    return "\n".join([looked, *(f"  {path} {_range(*pair)}" for path, pair in seen.ranges.items())])


def _range(low: float, high: float) -> str:
    return f"from {low:g} to {high:g}"
