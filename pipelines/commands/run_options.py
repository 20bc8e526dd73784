"""The options of every command that writes a dataset, as what they mean."""

import argparse

from gato_tokenize.byte_size import size_of
from pipelines.running.engines import LOCAL, Engine
from pipelines.running.failure import RunnerError
from pipelines.running.limits import LOCAL_RUNNER, Limits


def limits_of(arguments: argparse.Namespace) -> Limits:
    """Return the limits that were given. Raises ValueError if they make no sense."""
    memory = size_of(arguments.memory_limit) if arguments.memory_limit is not None else None
    return Limits(arguments.stall_timeout, memory)


def engine_of(arguments: argparse.Namespace) -> Engine | None:
    """Return the engine that was asked for; None for a local run, or for one of Beam's runners by its own name.

    Raises RunnerError for options that do not go together, and for an engine that does not answer; a plan alone
    (--dry-run) asks nobody.
    """
    address, pools = arguments.engine_address, arguments.worker_pools
    if arguments.engine == LOCAL:
        if address or pools:
            raise RunnerError("--engine-address and --worker-pools are for another --engine than the local one")
        return None
    if arguments.runner != LOCAL_RUNNER:
        raise RunnerError(f"give --engine {arguments.engine} or --runner {arguments.runner}, not both")
    engine = Engine(arguments.engine, address, tuple(filter(None, pools.split(","))))
    if not arguments.dry_run:
        engine.check()
    return engine
