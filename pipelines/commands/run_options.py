"""The options of every command that writes a dataset."""

import argparse

from gato_tokenize.storage.place import local_path
from pipelines.running.limits import Limits, size_of


def add_run_options(parser: argparse.ArgumentParser, max_rejects: str | None) -> None:
    """Add --out, --workers, --max-rejects, --stall-timeout and --memory-limit. max_rejects: the default budget."""
    default = f"default {max_rejects}" if max_rejects else "default: as many as there were"
    parser.add_argument("--out", required=True, type=local_path, metavar="DIR/NAME/VERSION")
    parser.add_argument("--workers", type=positive, default=1, metavar="N", help="local worker processes (default 1)")
    parser.add_argument(
        "--max-rejects", default=max_rejects, metavar="N|P%", help=f"episodes that may fail ({default})"
    )
    parser.add_argument("--stall-timeout", type=float, default=Limits.stall_timeout, metavar="SECONDS",
                        help="a local partition that gives no sign of life for so long is tried alone (default"
                        " %(default)g)")  # fmt: skip
    parser.add_argument("--memory-limit", metavar="SIZE", help="address space of a partition that is tried alone, such"
                        " as 4G (default: none)")  # fmt: skip


def limits_of(arguments: argparse.Namespace) -> Limits:
    """Return the limits that were given. Raises ValueError if they make no sense."""
    memory = size_of(arguments.memory_limit) if arguments.memory_limit is not None else None
    return Limits(arguments.stall_timeout, memory)


def positive(text: str) -> int:
    """Parse a whole number from 1, as argparse's `type`."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number
