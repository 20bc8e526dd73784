"""The arguments of the commands. Nothing is imported for them: help and a refused option take no time."""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from gato_tokenize.command_line import CommandParser
from gato_tokenize.defaults import LOCAL_POSITIONS
from gato_tokenize.storage.place import local_path
from gato_tokenize.storage.store_path import place
from pipelines.running.engines import ENGINES, LOCAL
from pipelines.running.limits import LOCAL_RUNNER, Limits

BEAM_OPTIONS = "beam-options"  # the key, in a configuration file, of what is passed on to Beam
_MADE = "what was made as one JSON object"


def convert(parser: CommandParser) -> None:
    add = parser.add_argument
    add("sources", nargs="+", metavar="SOURCE", help="a file or folder, or NAME:ARGUMENT, each with"
        " [?option=value&...], see docs/sources.md; or MODULE:CLASS:ARGUMENT[?...], a class of your own")  # fmt: skip
    add("--limit", type=positive, metavar="N", help="at most N episodes of each source")
    _spec(parser)
    parser.add_flag("--dry-run", help="print the plan and stop; write nothing")
    _split(parser)
    add("--text-model", type=local_path, metavar="FILE", help="a SentencePiece model instead of the shipped one")
    add(
        "--vocabulary",
        type=vocabulary_fields,
        default={},
        metavar="NAME=VALUE,...",
        help="settings of the vocabulary that differ from the paper's: disjoint=true,discrete_size=4096",
    )
    add(
        "--local-positions",
        type=positive,
        default=LOCAL_POSITIONS,
        metavar="N",
        help="most observation tokens a timestep may have (default %(default)s)",
    )
    add(
        "--shard-size",
        default="100M",
        metavar="SIZE",
        help="of a shard, about, where there is enough data (default %(default)s)",
    )
    add("--engine", choices=(LOCAL, *ENGINES), default=LOCAL, metavar="NAME",
        help=f"what runs it: %(choices)s, see docs/clusters.md (default {LOCAL})")  # fmt: skip
    add("--engine-address", default="", metavar="HOST:PORT", help="of an engine that runs elsewhere")
    add(
        "--worker-pools", default="", metavar="HOST:PORT,...", help="of Beam's worker pools, as the engine reaches them"
    )
    add("--runner", default=LOCAL_RUNNER, help="instead of --engine, a Beam runner; Beam's own options may follow")
    _card(parser)
    _run_options(parser, max_rejects="0")
    parser.add_config()
    parser.pass_on(BEAM_OPTIONS)
    parser.add_output(_MADE)


def sources(parser: CommandParser) -> None:
    parser.add_argument("source", nargs="?", metavar="NAME", help="show the options of this one")
    parser.add_output("the same as one JSON object")


def plan(parser: CommandParser) -> None:
    add = parser.add_argument
    add("sources", nargs="+", metavar="SOURCE", help="as `convert` takes it")
    add("--limit", type=positive, metavar="N", help="at most N episodes of each source")
    add("--local-positions", type=positive, default=LOCAL_POSITIONS, metavar="N", help="(default %(default)s)")
    _split(parser)
    _spec(parser)
    add("--spec-out", type=local_path, metavar="FILE", help="write the fields into a new TOML file, to edit")
    parser.add_output("the same as one JSON object")


def verify(parser: CommandParser) -> None:
    add = parser.add_argument
    _dataset(parser)
    parser.add_output("the faults in one JSON object")
    add("--deep", action="store_true", help="also parse every record and decode its pictures")


def inspect(parser: CommandParser) -> None:
    add = parser.add_argument
    _dataset(parser)
    add("--schema", action="store_true", help="the fields of a record")
    add("--episode", metavar="ID|N", help="decode one episode and print it")
    add("--steps", type=int, default=3, metavar="N", help="timesteps of it to print (default 3)")
    add("--frames", type=local_path, metavar="FILE.gif|FILE.png|DIR", help="save its pictures")
    add("--field", metavar="PATH", help="which image field (default: the first)")
    add("--no-colour", action="store_true", help="plain text, no pictures in the terminal")
    parser.add_output("the same as one JSON object")


def rejects(parser: CommandParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True)
    about = "print the rejects, grouped by reason"
    listing = actions.add_parser("list", help=about, description=about)
    _dataset(listing, "also of an unfinished conversion")
    listing.add_output("the rejects in one JSON object")
    about = "after a fix, make a new version of the dataset that also holds what was rejected and succeeds now"
    retry = actions.add_parser("retry", help=about, description=about)
    _dataset(retry, "a complete dataset")
    _run_options(retry, max_rejects=None)
    retry.add_output(_MADE)


def merge(parser: CommandParser) -> None:
    parser.add_argument("out", type=place, metavar="OUT", help="the folder NAME/VERSION of the new dataset")
    parser.add_argument("datasets", nargs="+", type=place, metavar="IN", help="folders NAME/VERSION, in order")
    _card(parser)
    parser.add_output(_MADE)


def filter(parser: CommandParser) -> None:
    _two_folders(parser)
    add = parser.add_argument
    add("--task", action="append", default=[], metavar="NAME", help="may be given several times")
    add("--ids", type=local_path, metavar="FILE", help="episode ids, one a line")
    add("--success", choices=("true", "false"), help="episodes that are known to have it")
    for name, what, number in (("return", "sum of rewards", float), ("steps", "timesteps", int)):
        add(f"--min-{name}", type=number, metavar="N", help=f"least {what} of an episode")
        add(f"--max-{name}", type=number, metavar="N", help=f"most {what} of an episode")
    parser.add_output(_MADE)


def split(parser: CommandParser) -> None:
    _two_folders(parser)
    for name in ("validation", "test"):
        parser.add_argument(f"--{name}", type=float, default=0.0, metavar="F", help=f"fraction of the {name} split")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another seed, another split (default 0)")
    parser.add_output(_MADE)


def report(parser: CommandParser) -> None:
    add = parser.add_argument
    _dataset(parser)
    add("--out", type=local_path, default=Path("report.html"), metavar="FILE", help="default report.html")
    add("--episodes", type=_count, default=2, metavar="N", help="shown of each task (default 2)")
    add("--steps", type=_steps, default=8, metavar="N", help="timesteps shown of each (default 8)")
    parser.add_output("the page's path and size as one JSON object")


def _dataset(parser: argparse.ArgumentParser, help: str | None = None) -> None:
    parser.add_argument("dataset", type=place, metavar="DIR/NAME/VERSION", help=help)


def _two_folders(parser: argparse.ArgumentParser) -> None:
    """Add the dataset that is read and the one that is made."""
    parser.add_argument("dataset", type=place, metavar="IN", help="the folder NAME/VERSION of a dataset")
    parser.add_argument("out", type=place, metavar="OUT", help="the folder NAME/VERSION of the new one")
    _card(parser)


def _spec(parser: argparse.ArgumentParser) -> None:
    about = "a TOML file that says what fields are, as `gato-data plan --spec-out` writes it"
    parser.add_argument("--spec", type=local_path, metavar="FILE", help=about)


def _split(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--validation-fraction", type=float, default=0.0, metavar="F", help="of the episodes, by id")
    add("--split-seed", type=int, default=0, metavar="N", help="another seed, another split (default 0)")


def _card(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--card", type=local_path, metavar="FILE", help="TOML: name, description, licence, citation,"
                        " url, creators, for the dataset's README.md and croissant.json")  # fmt: skip


def _run_options(parser: argparse.ArgumentParser, max_rejects: str | None) -> None:
    """Add the options of every command that writes a dataset. max_rejects: the default budget."""
    add = parser.add_argument
    default = f"default {max_rejects}" if max_rejects else "default: as many as there were"
    add("--out", required=True, type=place, metavar="DIR/NAME/VERSION", help="a folder, or an address: s3://...")
    add("--workers", type=positive, default=1, metavar="N", help="local worker processes (default 1)")
    add("--max-rejects", default=max_rejects, metavar="N|P%", help=f"episodes that may fail ({default})")
    add(
        "--stall-timeout",
        type=float,
        default=Limits.stall_timeout,
        metavar="SECONDS",
        help="a local partition that gives no sign of life for so long is tried alone (default %(default)g)",
    )
    add(
        "--memory-limit",
        metavar="SIZE",
        help="address space of a partition that is tried alone, such as 4G (default: none)",
    )


def vocabulary_fields(text: str) -> dict[str, Any]:
    """Parse the value of --vocabulary, as argparse's `type`; the numbers are checked by `Vocabulary`.

    >>> vocabulary_fields("disjoint=true,discrete_size=4096")
    {'disjoint': True, 'discrete_size': 4096}
    """
    from gato_tokenize.vocabulary import Vocabulary  # needed here alone

    known = [field.name for field in dataclasses.fields(Vocabulary)]
    fields: dict[str, Any] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        if name not in known or name in fields:
            once = "given twice" if name in fields else f"unknown; known: {', '.join(known)}"
            raise argparse.ArgumentTypeError(f"{name!r} is {once}")
        try:
            fields[name] = json.loads(value)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{part!r} is not of the form NAME=NUMBER or disjoint=true") from error
    return fields


def positive(text: str) -> int:
    """Parse a whole number from 1, as argparse's `type`."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"a number such as 3 is expected, not {text!r}")
    return int(text)


def _steps(text: str) -> int:
    if _count(text) == 0:
        raise argparse.ArgumentTypeError("at least 1 is expected; --episodes 0 shows none")
    return int(text)
