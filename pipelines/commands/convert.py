"""The command `convert`: plans a conversion, runs it, and prints what was made."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gato_tokenize import TextTokenizer
from gato_tokenize.byte_size import size_of
from gato_tokenize.output import Output, counted, printable, printable_lines
from gato_tokenize.storage.dataset import DatasetTokenizer
from pipelines.commands.exit_codes import exit_code
from pipelines.commands.made import ALREADY_THERE, document_of, summary
from pipelines.commands.made import how_to_resume as how_to_resume
from pipelines.commands.run_options import engine_of, limits_of
from pipelines.conversion.card import Card
from pipelines.conversion.convert import convert
from pipelines.conversion.plan import Plan, make_plan
from pipelines.conversion.reject_budget import RejectBudget
from pipelines.conversion.spec_change import with_specs
from pipelines.conversion.spec_file import SpecFile
from pipelines.conversion.work_folder import WorkFolder
from pipelines.conversion.work_storage import is_made
from pipelines.running.failure import RunnerError
from pipelines.running.limits import LOCAL_RUNNER
from pipelines.running.remote import run_on
from pipelines.running.watched_run import run_locally
from pipelines.sources import open_source
from pipelines.sources.recognition import named_source
from pipelines.stats.lints import equal_inputs


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Run the command; returns its exit code: see `exit_code`."""
    return exit_code(lambda: _run(arguments, output), output)


def _run(arguments: argparse.Namespace, output: Output) -> int:
    budget = RejectBudget(arguments.max_rejects)
    run = _runner(arguments, budget)
    sources, recognised = named_sources(arguments)
    text = TextTokenizer.from_file(arguments.text_model) if arguments.text_model else None
    plan, tokenizer = make_plan(
        sources,
        arguments.out,
        limit=arguments.limit,
        text=text,
        local_positions=arguments.local_positions,
        vocabulary=arguments.vocabulary,
        shard_bytes=size_of(arguments.shard_size),
        validation_fraction=arguments.validation_fraction,
        split_seed=arguments.split_seed,
        card=Card.read(arguments.card) if arguments.card else Card(),
    )
    if arguments.dry_run:
        reasons, notes = reasons_of(sources), [*recognised, *notes_of(sources)]
        lines = [describe(plan, tokenizer, reasons), *notes_shown(notes)]
        return output.result(
            "\n".join(map(printable_lines, lines)), planned(arguments.out, plan, tokenizer, reasons, notes)
        )
    there = is_made(arguments.out)
    manifest = convert(plan, tokenizer, arguments.out, budget, run)
    notes = [*recognised, *empty_splits(plan, manifest), *notes_of(sources)]
    lines = [ALREADY_THERE] if there else []
    lines += [summary(manifest, arguments.out), *notes_shown(notes)]
    made = document_of(manifest, arguments.out, there, notes)
    return output.result("\n".join(map(printable_lines, lines)), made)


def named_sources(arguments: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Return (the sources as `open_source` takes them, a note for each that a plain path, or one with `--spec`, stood
    for)."""
    sources = [named_source(one) for one in arguments.sources]
    if arguments.spec:
        sources = with_specs(sources, SpecFile.read(arguments.spec))
    pairs = zip(arguments.sources, sources, strict=True)
    return sources, [f"{one} is read as {source}" for one, source in pairs if one != source]


def empty_splits(plan: Plan, manifest: Mapping[str, Any]) -> list[str]:
    """Name the splits that were asked for and hold nothing."""
    cure = ""
    if plan.validation_fraction:
        cure = ": chance puts each into a split; another --validation-fraction or --split-seed helps"
    written = counted(manifest["episodes"]["written"], "episode")
    return [f"none of {written} fell into {name}{cure}" for name in plan.splits if name not in manifest["splits"]]


def notes_of(sources: Sequence[str]) -> list[str]:
    """Return what the sources report about their inputs."""
    return [note for source in sources for note in open_source(source).notes()]


def notes_shown(notes: Sequence[str]) -> list[str]:
    """Return the lines that a person gets of the notes: at most 10."""
    more = [f"note: and {len(notes) - 9} more that are left out"] if len(notes) > 10 else []
    return [f"note: {note}" for note in (notes[:9] if more else notes)] + more


def _runner(arguments: argparse.Namespace, budget: RejectBudget) -> Callable[[WorkFolder], None]:
    limits, engine = limits_of(arguments), engine_of(arguments)
    beam_options, shown = arguments.beam_options, not arguments.quiet
    if engine is None and arguments.runner == LOCAL_RUNNER:
        return run_locally(arguments.workers, limits, budget, beam_options, shown)
    name = arguments.runner if engine is None else engine.name
    if arguments.workers != 1:
        raise RunnerError(f"--workers is for the local engine; give {name}'s own option for workers")
    if engine is None:
        return run_on(name, beam_options, limits, shown)
    return run_on(engine.runner, engine.beam_options(beam_options), limits, shown, engine.pools)


def reasons_of(sources: Sequence[str]) -> dict[str, Mapping[str, str]]:
    """Return {task: {path: why the field has its type}} of the sources that infer their specs."""
    return {task: reasons for name in sources for task, reasons in open_source(name).reasons().items()}


def describe(plan: Plan, tokenizer: DatasetTokenizer, reasons: Mapping[str, Mapping[str, str]]) -> str:
    """Describe the plan to a person: `--dry-run` prints it.

    reasons: {task: {path of a field: why it has its type}}, for the tasks whose spec was inferred.
    """
    shards = counted(len(plan.partitions), "shard")
    lines = [f"dataset {plan.dataset} {plan.version}: {shards} a split ({', '.join(plan.splits)})"]
    lines += [f"plan {plan.sha256[:16]}, tokenizer {tokenizer.sha256[:16]}, {tokenizer.vocabulary.describe()}"]
    for given in plan.inputs:
        lines.append(
            f"input {given['uri']}: " + ", ".join(f"{k} {v}" for k, v in given.items() if k not in ("uri", "source"))
        )
    lines += equal_inputs(plan.inputs)
    return "\n".join(lines + describe_tasks(tokenizer, reasons))


def describe_tasks(tokenizer: DatasetTokenizer, reasons: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return the lines that describe each task's fields, with the reason of each."""
    lines = []
    for name, spec in tokenizer.specs.items():
        width = max(map(len, spec.fields))
        lines.append(f"task {name}")
        for path, field in spec.fields.items():  # a path may have line ends in it
            lines.append(f"  {printable(path):<{width}}  {field.describe()}{_why(reasons, name, path)}")
    return lines


def _why(reasons: Mapping[str, Mapping[str, str]], task: str, path: str) -> str:
    reason = reasons.get(task, {}).get(path)
    return f" ({reason})" if reason else ""


def planned(
    out: Path,
    plan: Plan,
    tokenizer: DatasetTokenizer,
    reasons: Mapping[str, Mapping[str, str]],
    notes: Sequence[str],
) -> dict[str, Any]:
    """Return what `--dry-run --json` prints: the same as `describe`, with the whole hashes."""
    return {
        "dataset": out,
        "name": plan.dataset,
        "version": plan.version,
        "splits": plan.splits,
        "shards_of_a_split": len(plan.partitions),
        "plan_sha256": plan.sha256,
        "tokenizer_sha256": tokenizer.sha256,
        "inputs": plan.inputs,
        "tasks": tasks_of(tokenizer, reasons),
        "notes": [*equal_inputs(plan.inputs), *notes],
    }


def tasks_of(tokenizer: DatasetTokenizer, reasons: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Return as JSON what `describe_tasks` describes."""
    return {
        task: {
            path: {"spec": field.describe(), "reason": reasons.get(task, {}).get(path)}
            for path, field in spec.fields.items()
        }
        for task, spec in tokenizer.specs.items()
    }
