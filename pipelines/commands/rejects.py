"""The command `rejects`: lists the rejects of a dataset or of an unfinished conversion, or tries them again."""

import argparse
from collections import defaultdict
from typing import Any

from gato_tokenize.installing import missing
from gato_tokenize.output import Output, printable, printable_lines
from gato_tokenize.storage.dataset import Dataset
from pipelines.commands import made
from pipelines.commands.exit_codes import exit_code
from pipelines.commands.run_options import limits_of
from pipelines.conversion.convert import convert
from pipelines.conversion.reject_budget import RejectBudget
from pipelines.conversion.retry import carry_over, plan_retry
from pipelines.conversion.work_folder import WorkFolder, find
from pipelines.conversion.work_storage import is_made
from pipelines.sources.reading import Reject


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Run the command; returns its exit code: of `list` 0 or 2 (nothing there), of `retry` that of a conversion."""
    if arguments.action == "retry":
        return exit_code(lambda: _retry(arguments, output), output)
    try:
        folder = find(arguments.dataset)
        return output.result(as_text(folder), document_of(folder))
    except (OSError, ValueError) as error:
        return output.error(error)


def document_of(folder: WorkFolder) -> dict[str, Any]:
    """{"dataset", "complete", "rejects": [the fields of each, and its "partition"]}."""
    rejects = [{"partition": index, **reject.to_json()} for index, reject in folder.all_rejects()]
    return {"dataset": folder.path, "complete": folder.complete, "rejects": rejects}


def as_text(folder: WorkFolder) -> str:
    """A line for each reason, the most frequent first, with a line for each of its rejects below."""
    groups: dict[str, list[Reject]] = defaultdict(list)
    for _, reject in folder.all_rejects():
        groups[reject.reason].append(reject)
    unfinished = "" if folder.complete else " so far, of an unfinished conversion"
    lines = [f"{folder.path}: {sum(map(len, groups.values()))} rejected{unfinished}"]
    for reason, group in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
        lines.append(f"{len(group)} {printable(reason)}")
        for reject in group:
            message = " ".join(reject.message.split())
            where = f"{reject.episode_id} ({reject.source_uri}, number {reject.source_index})"
            lines.append(f"  {printable(f'{where}: {message}')}")
    return "\n".join(lines)


def how_to_resume(arguments: argparse.Namespace) -> str:
    return "stopped" if arguments.action == "list" else made.how_to_resume(arguments)


def _retry(arguments: argparse.Namespace, output: Output) -> int:
    try:
        from pipelines.running.watched_run import run_locally  # it needs Beam, which a list does not
    except ModuleNotFoundError as error:
        return output.error(missing("rejects retry", error, "beam"))
    dataset = Dataset.open(arguments.dataset)
    rejected = sum(dataset.manifest["episodes"]["rejected"].values())
    budget = RejectBudget(str(rejected) if arguments.max_rejects is None else arguments.max_rejects)
    write_the_rest = run_locally(arguments.workers, limits_of(arguments), budget, shown=not arguments.quiet)

    def write(folder: WorkFolder) -> None:
        carry_over(dataset, folder)
        write_the_rest(folder)

    plan, there = plan_retry(dataset, arguments.out), is_made(arguments.out)
    manifest = convert(plan, dataset.tokenizer, arguments.out, budget, write)
    text = printable_lines(made.summary(manifest, arguments.out))
    return output.result(text, made.document_of(manifest, arguments.out, there))
