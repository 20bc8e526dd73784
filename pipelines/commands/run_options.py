"""The options of every command that writes a dataset, as what they mean."""

import argparse

from gato_tokenize.byte_size import size_of
from pipelines.running.limits import Limits


def limits_of(arguments: argparse.Namespace) -> Limits:
    """Return the limits that were given. Raises ValueError if they make no sense."""
    memory = size_of(arguments.memory_limit) if arguments.memory_limit is not None else None
    return Limits(arguments.stall_timeout, memory)
