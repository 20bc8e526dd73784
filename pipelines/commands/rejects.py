"""Rejects: the dead letters of a dataset or of an unfinished conversion listed by reason, and tried again."""

import argparse
import dataclasses
import functools
import json
import sys
from collections import defaultdict
from pathlib import Path

from gato_tokenize.storage.dataset import MANIFEST, Dataset
from pipelines.commands.exit_codes import EXIT_REFUSED, exit_code
from pipelines.commands.run_options import add_run_options, limits_of
from pipelines.conversion.reject_budget import RejectBudget
from pipelines.conversion.work_folder import dead_letters, work_folder
from pipelines.sources.source import Reject


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True)
    about = "print the dead letters, grouped by reason"
    listing = actions.add_parser("list", help=about, description=about, allow_abbrev=False)
    listing.add_argument("dataset", type=Path, metavar="DIR/NAME/VERSION", help="also of an unfinished conversion")
    listing.add_argument("--json", action="store_true", help="one JSON object on standard output")
    about = "after a fix, make a new version of the dataset that holds what was rejected and succeeds now, too"
    retry = actions.add_parser("retry", help=about, description=about, allow_abbrev=False)
    retry.add_argument("dataset", type=Path, metavar="DIR/NAME/VERSION", help="a complete dataset")
    add_run_options(retry, max_rejects=None)


def run(arguments: argparse.Namespace, rest: list[str]) -> int:
    """The command; returns its exit code: of `list` 0 or 2 (nothing there), of `retry` that of a conversion."""
    if arguments.action == "retry":
        return _retry(arguments)
    try:
        folder = work_folder(arguments.dataset)
    except (FileNotFoundError, ValueError) as error:
        print(f"gato-data: {error}", file=sys.stderr)
        return EXIT_REFUSED
    letters = list(dead_letters(folder))
    print(as_json(folder, letters) if arguments.json else as_text(folder, letters))
    return 0


def as_json(folder: Path, letters: list[tuple[int, Reject]]) -> str:
    """{"dataset", "complete", "rejects": [the fields of each, and its "partition"]}."""
    rejects = [{"partition": index, **dataclasses.asdict(letter)} for index, letter in letters]
    content = {"dataset": str(folder), "complete": (folder / MANIFEST).exists(), "rejects": rejects}
    return json.dumps(content, indent=1, ensure_ascii=False)


def as_text(folder: Path, letters: list[tuple[int, Reject]]) -> str:
    """A line for each reason, most frequent first, with a line for each of its letters below."""
    groups: dict[str, list[Reject]] = defaultdict(list)
    for _, letter in letters:
        groups[letter.reason].append(letter)
    unfinished = "" if (folder / MANIFEST).exists() else " so far, of an unfinished conversion"
    lines = [f"{folder}: {len(letters)} rejected{unfinished}"]
    for reason, group in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
        lines.append(f"{len(group)} {reason}")
        for letter in group:
            message = " ".join(letter.message.split())
            lines.append(f"  {letter.episode_id} ({letter.source_uri}, number {letter.source_index}): {message}")
    return "\n".join(lines)


def how_to_resume(arguments: argparse.Namespace) -> str:
    if arguments.action == "list":
        return "stopped"
    from pipelines.commands.convert import how_to_resume

    return how_to_resume(arguments)


def _retry(arguments: argparse.Namespace) -> int:
    """The exit code of a conversion."""
    # These need Beam, which a list does not.
    from pipelines.commands.convert import summary
    from pipelines.conversion.convert import convert
    from pipelines.conversion.retry import carry_over, plan_retry
    from pipelines.running.beam_pipeline import LOCAL_RUNNER, pipeline_maker

    def retry() -> None:
        dataset = Dataset.open(arguments.dataset)
        rejected = sum(dataset.manifest["episodes"]["rejected"].values())
        budget = RejectBudget(str(rejected) if arguments.max_rejects is None else arguments.max_rejects)
        limits = limits_of(arguments)
        old, plan = plan_retry(dataset, arguments.out)
        make_pipeline = pipeline_maker(LOCAL_RUNNER, arguments.workers, [])
        prepare = functools.partial(carry_over, dataset, old, plan)
        manifest = convert(plan, dataset.tokenizer, arguments.out, budget, make_pipeline, limits, prepare)
        print(summary(manifest, arguments.out))

    return exit_code(retry)
