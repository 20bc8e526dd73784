"""The command `rejects`: lists the rejects of a dataset or of an unfinished conversion, or tries them again."""

import argparse
import json
import sys
from collections import defaultdict

from gato_tokenize.storage.dataset import Dataset
from gato_tokenize.view import printable, printable_lines
from pipelines.commands.exit_codes import EXIT_REFUSED, exit_code
from pipelines.commands.run_options import limits_of
from pipelines.conversion.convert import convert
from pipelines.conversion.reject_budget import RejectBudget
from pipelines.conversion.retry import carry_over, plan_retry
from pipelines.conversion.work_folder import WorkFolder, find
from pipelines.sources.reading import Reject


def run(arguments: argparse.Namespace) -> int:
    """Run the command; returns its exit code: of `list` 0 or 2 (nothing there), of `retry` that of a conversion."""
    if arguments.action == "retry":
        return exit_code(lambda: _retry(arguments))
    try:
        folder = find(arguments.dataset)
    except (FileNotFoundError, ValueError) as error:
        print(f"gato-data: {printable_lines(error)}", file=sys.stderr)
        return EXIT_REFUSED
    print(as_json(folder) if arguments.json else as_text(folder))
    return 0


def as_json(folder: WorkFolder) -> str:
    """{"dataset", "complete", "rejects": [the fields of each, and its "partition"]}."""
    rejects = [{"partition": index, **reject.to_json()} for index, reject in folder.all_rejects()]
    content = {"dataset": str(folder.path), "complete": folder.complete, "rejects": rejects}
    return json.dumps(content, indent=1, ensure_ascii=False)


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
    if arguments.action == "list":
        return "stopped"
    from pipelines.commands.convert import how_to_resume

    return how_to_resume(arguments)


def _retry(arguments: argparse.Namespace) -> None:
    # These need Beam, which a list does not.
    from pipelines.commands.convert import summary
    from pipelines.running.watched_run import run_locally

    dataset = Dataset.open(arguments.dataset)
    rejected = sum(dataset.manifest["episodes"]["rejected"].values())
    budget = RejectBudget(str(rejected) if arguments.max_rejects is None else arguments.max_rejects)
    write_the_rest = run_locally(arguments.workers, limits_of(arguments), budget)

    def write(folder: WorkFolder) -> None:
        carry_over(dataset, folder)
        write_the_rest(folder)

    plan = plan_retry(dataset, arguments.out)
    print(printable_lines(summary(convert(plan, dataset.tokenizer, arguments.out, budget, write), arguments.out)))
