"""The command `convert`: plans a conversion, runs it, and prints what was made."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gato_tokenize import TextTokenizer
from gato_tokenize.storage.dataset import DatasetTokenizer, read_stats
from gato_tokenize.view import counted, printable_lines
from pipelines.commands.exit_codes import exit_code
from pipelines.commands.run_options import limits_of
from pipelines.conversion.card import Card
from pipelines.conversion.convert import convert
from pipelines.conversion.plan import Plan, make_plan
from pipelines.conversion.reject_budget import RejectBudget
from pipelines.conversion.work_folder import WorkFolder, count_done
from pipelines.running.beam_pipeline import RunnerError, run_on
from pipelines.running.limits import LOCAL_RUNNER, size_of
from pipelines.running.watched_run import run_locally
from pipelines.sources import open_source
from pipelines.stats.lints import equal_inputs, listed


def run(arguments: argparse.Namespace) -> int:
    """Run the command; returns its exit code: see `exit_code`."""
    return exit_code(lambda: _run(arguments))


def _run(arguments: argparse.Namespace) -> None:
    budget = RejectBudget(arguments.max_rejects)
    run = _runner(arguments, budget)
    text = TextTokenizer.from_file(arguments.text_model) if arguments.text_model else None
    plan, tokenizer = make_plan(
        arguments.sources,
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
        lines = [describe(plan, tokenizer, _reasons(arguments.sources)), *_notes(arguments.sources)]
        print(*map(printable_lines, lines), sep="\n")
        return
    there = arguments.out.exists()
    manifest = convert(plan, tokenizer, arguments.out, budget, run)
    lines = ["published already: nothing was written"] if there else []
    lines += [summary(manifest, arguments.out), *_notes(arguments.sources)]
    print(*map(printable_lines, lines), sep="\n")


def _notes(sources: Sequence[str]) -> list[str]:
    """Return what the sources report about their inputs: at most 10 lines."""
    notes = [note for source in sources for note in open_source(source).notes()]
    more = [f"note: and {len(notes) - 9} more that are left out"] if len(notes) > 10 else []
    return [f"note: {note}" for note in (notes[:9] if more else notes)] + more


def _runner(arguments: argparse.Namespace, budget: RejectBudget) -> Callable[[WorkFolder], None]:
    limits = limits_of(arguments)
    if arguments.runner == LOCAL_RUNNER:
        return run_locally(arguments.workers, limits, budget, arguments.beam_options)
    if arguments.workers != 1:
        raise RunnerError(
            f"--workers is for the local {LOCAL_RUNNER}; give {arguments.runner}'s own option for workers"
        )
    return run_on(arguments.runner, arguments.beam_options)


def _reasons(sources: list[str]) -> dict[str, Mapping[str, str]]:
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
    for name, spec in tokenizer.specs.items():
        described = zip(spec.fields, spec.describe().splitlines(), strict=True)
        lines += [f"task {name}", *(f"  {line}{_why(reasons, name, path)}" for path, line in described)]
    return "\n".join(lines)


def _why(reasons: Mapping[str, Mapping[str, str]], task: str, path: str) -> str:
    reason = reasons.get(task, {}).get(path)
    return f" ({reason})" if reason else ""


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
        lines.append(f"  {name}: {counts}, {split['bytes'] / 2**20:.1f} MiB in {shards}")
    lines += [f"  {line}" for line in (*equal_inputs(manifest["inputs"]), *listed(read_stats(out)))]
    return "\n".join(lines)


def how_to_resume(arguments: argparse.Namespace) -> str:
    """Say after Ctrl-C what is done, and how to go on."""
    done = counted(count_done(arguments.out), "finished partition")
    return f"stopped; {done} kept: the same command goes on from there"
