"""Rejects: the dead letters of a dataset or of an unfinished conversion listed by reason, and tried again."""

import argparse
import dataclasses
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from gato_tokenize.dataset import MANIFEST
from pipelines.journal import JournalReader
from pipelines.quarantine import read_quarantine
from pipelines.run_options import add_run_options
from pipelines.source import Reject
from pipelines.write_partition import read_rejects

EXIT_REFUSED = 2


def dead_letters(folder: Path) -> Iterator[tuple[int, Reject]]:
    """(partition, dead letter) of a dataset or a work folder, in order of partitions.

    A partition that is not done has those that it has told so far, and those that are quarantined.
    """
    done = {int(path.name.split(".")[0].removeprefix("part-")) for path in folder.glob("_run/part-*.done.json")}
    begun = {int(path.name.split(".")[0].removeprefix("part-")): path for path in folder.glob("_run/part-*.journal")}
    held = {int(path.name.split(".")[0].removeprefix("part-")) for path in folder.glob("_run/part-*.quarantine.json")}
    for index in sorted({*done, *begun, *held}):
        if index in done:
            letters = read_rejects(folder, index)
        else:
            letters = [entry.reject for entry in read_quarantine(folder, index).values()]
            letters += [letter for letter in _told(begun.get(index)) if letter not in letters]
        yield from ((index, letter) for letter in letters)


def _told(journal: Path | None) -> list[Reject]:
    if journal is None:
        return []
    reader = JournalReader(journal)
    reader.refresh()
    return reader.rejects


def work_folder(folder: Path) -> Path:
    """`folder` itself, or the unfinished work of a conversion that was to make it.

    Raises FileNotFoundError where there is neither, ValueError where there are several.
    """
    if (folder / "_run").is_dir():
        return folder
    found = sorted(folder.parent.glob(f".{folder.name}.partial-*"))
    if len(found) > 1:
        raise ValueError(f"{folder} has several unfinished conversions: name one of {', '.join(map(str, found))}")
    if not found:
        raise FileNotFoundError(f"{folder} is no dataset, nor is there an unfinished conversion of it")
    return found[0]


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
        from pipelines import retry_rejects  # needs Beam, which a list does not

        return retry_rejects.run(arguments)
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
    from pipelines.convert import how_to_resume

    return how_to_resume(arguments)
