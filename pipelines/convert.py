"""Convert: the graph and its command. Plan, write every partition through Beam, publish.

<out>/<name>/.<version>.partial-<plan hash>/    grows here
<out>/<name>/<version>/                         until the one rename
"""

import argparse
import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam

from gato_tokenize import TextTokenizer
from gato_tokenize.dataset import MANIFEST, DatasetTokenizer
from gato_tokenize.durable import TEMPORARY, durable_file
from gato_tokenize.tokenizer import LOCAL_POSITIONS
from pipelines.lints import listed
from pipelines.local_runner import LOCAL_RUNNER, io_error, pipeline_maker
from pipelines.plan import Plan, PlanError, make_plan
from pipelines.progress import progress
from pipelines.publish import PublishError, publish
from pipelines.reject_budget import RejectBudget, RejectBudgetError
from pipelines.run_options import add_run_options, limits_of, positive
from pipelines.source import SourceError
from pipelines.tally import Tally
from pipelines.watched_run import run_watched
from pipelines.write_alone import Failed, Limits, WorkerDiedError
from pipelines.write_partition import PLAN
from pipelines.write_shards import WritePartitions

EXIT_FAILED, EXIT_REFUSED, EXIT_REJECTS = 1, 2, 3
_LOCK_SECONDS = 3.0  # that the forks of a run which was killed just now may take to end


class ConvertError(RuntimeError):
    """A conversion that cannot go on: another run holds the folder, or another plan made it."""


def convert(
    plan: Plan,
    tokenizer: DatasetTokenizer,
    out: Path,
    max_rejects: RejectBudget,
    make_pipeline: Callable[[], beam.Pipeline],
    limits: Limits | None = None,
    prepare: Callable[[Path], None] = lambda folder: None,
) -> dict[str, Any]:
    """Run a plan into `out` (.../NAME/VERSION), or go on where a dead run of it stopped; returns the manifest.

    limits: the pipeline is a local one, to be watched; None: another runner's, which looks after itself. prepare:
    called with the work folder before the pipeline. Raises ConvertError, PublishError, RejectBudgetError,
    WorkerDiedError, Failed, OSError (a full disk); what is done stays and is not done again.
    """
    if out.exists():
        return _published(plan, out)
    partial = partial_folder(plan, out)
    _check_other_plans(partial, out)
    (partial / "_run").mkdir(parents=True, exist_ok=True)
    with _locked(partial):
        if not (partial / MANIFEST).exists():
            _clean(partial)
            _save_plan(plan, tokenizer, partial)
            prepare(partial)
            if limits is not None:
                run_watched(plan, tokenizer, partial, max_rejects, make_pipeline, limits)
            else:
                _run_elsewhere(plan, partial, make_pipeline)
        _clean(partial)  # of processes that died and whose work others have done since
        return publish(partial, out, plan, max_rejects)


def _run_elsewhere(plan: Plan, folder: Path, make_pipeline: Callable[[], beam.Pipeline]) -> None:
    pipeline = make_pipeline()  # not before it is needed: one that never runs leaves a temporary folder
    _ = pipeline | WritePartitions(str(folder), len(plan.partitions))
    with progress(Tally(plan, folder), len(plan.partitions)):
        pipeline.run().wait_until_finish()


def partial_folder(plan: Plan, out: Path) -> Path:
    return out.with_name(f".{out.name}.partial-{plan.sha256[:16]}")


def _published(plan: Plan, out: Path) -> dict[str, Any]:
    manifest = out / MANIFEST
    if not manifest.is_file():
        raise ConvertError(f"{out} exists and is no dataset (no {MANIFEST}): move it away, or give another --out")
    content: dict[str, Any] = json.loads(manifest.read_text())
    if content["plan_sha256"] != plan.sha256:
        raise ConvertError(
            f"{out} was made by another plan (other sources, inputs, options or release): give another version in --out"
            ", or move it away. Nothing was changed"
        )
    return content


def _check_other_plans(partial: Path, out: Path) -> None:
    others = [path for path in out.parent.glob(f".{out.name}.partial-*") if path != partial]
    if others:
        raise ConvertError(
            f"{others[0]} is the unfinished work of another plan (other sources, inputs, options or release) for the"
            " same --out: finish it with its own command, remove that folder, or give another --out. Nothing is changed"
        )


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this process and its forks; the lock goes with the last of them, however they die."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    give_up = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > give_up:
                raise ConvertError(f"another run is writing to {folder}: wait for it. Nothing was changed") from error
        time.sleep(0.05)


def _clean(folder: Path) -> None:
    """Remove the temporary files and journals of the dead; nobody else writes here while the folder is locked."""
    for path in (*folder.rglob(f"*{TEMPORARY}*"), *folder.glob("_run/*.journal")):
        path.unlink(missing_ok=True)


def _save_plan(plan: Plan, tokenizer: DatasetTokenizer, folder: Path) -> None:
    tokenizer.save(folder)
    with durable_file(folder / PLAN) as file:
        file.write(plan.to_json().encode())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sources", nargs="+", metavar="SOURCE", help="NAME:ARGUMENT[?option=value&...], see docs/sources.md"
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="at most N episodes of each source")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and stop; write nothing")
    parser.add_argument("--validation-fraction", type=float, default=0.0, metavar="F", help="of the episodes, by id")
    parser.add_argument(
        "--split-seed", type=int, default=0, metavar="N", help="another seed, another split (default 0)"
    )
    parser.add_argument(
        "--text-model", type=Path, metavar="FILE", help="a SentencePiece model instead of the shipped one"
    )
    parser.add_argument("--local-positions", type=positive, default=LOCAL_POSITIONS, metavar="N",
                        help="most observation tokens a timestep may have (default %(default)s)")  # fmt: skip
    parser.add_argument("--runner", default=LOCAL_RUNNER, help="a Beam runner (default: %(default)s, on this machine);"
                        " Beam's own options may follow")  # fmt: skip
    add_run_options(parser, max_rejects="0")


def run(arguments: argparse.Namespace, rest: list[str]) -> int:
    """The command; returns its exit code: see `exit_code`."""
    return exit_code(lambda: _run(arguments, rest))


def _run(arguments: argparse.Namespace, rest: list[str]) -> None:
    budget, limits = RejectBudget(arguments.max_rejects), limits_of(arguments)
    make_pipeline = pipeline_maker(arguments.runner, arguments.workers, rest)
    text = TextTokenizer.from_file(arguments.text_model) if arguments.text_model else None
    plan, tokenizer = make_plan(
        arguments.sources,
        arguments.out,
        limit=arguments.limit,
        text=text,
        local_positions=arguments.local_positions,
        validation_fraction=arguments.validation_fraction,
        split_seed=arguments.split_seed,
    )
    if arguments.dry_run:
        print(describe(plan, tokenizer))
        return
    local = arguments.runner == LOCAL_RUNNER
    manifest = convert(plan, tokenizer, arguments.out, budget, make_pipeline, limits if local else None)
    print(summary(manifest, arguments.out))


def exit_code(command: Callable[[], None]) -> int:
    """What became of a command that writes a dataset: 0 done, 2 refused, 3 too many rejects, 1 failed on the way."""
    try:
        command()
    except RejectBudgetError as error:
        return _told(error, EXIT_REJECTS)
    except (ConvertError, PlanError, PublishError, SourceError, ValueError, FileNotFoundError) as error:
        return _told(error, EXIT_REFUSED)
    except WorkerDiedError as error:
        return _told(f"{error}. What is done is kept: the same command goes on from there", EXIT_FAILED)
    except (OSError, RuntimeError) as error:
        reason = error.io_error if isinstance(error, Failed) else str(error) if isinstance(error, OSError) else None
        reason = reason or io_error(error)
        if reason is None:
            raise  # no fault of the machine: show where it came from
        return _told(f"{reason}. What is done is kept: mend it and give the same command again", EXIT_FAILED)
    return 0


def _told(what: object, code: int) -> int:
    print(f"gato-data: {what}", file=sys.stderr)
    return code


def describe(plan: Plan, tokenizer: DatasetTokenizer) -> str:
    """The plan for a person: what `--dry-run` prints."""
    lines = [f"dataset {plan.dataset} {plan.version}: {len(plan.partitions)} shards a split ({', '.join(plan.splits)})"]
    lines += [f"plan {plan.sha256[:16]}, tokenizer {tokenizer.sha256[:16]}"]
    for given in plan.inputs:
        lines.append(
            f"input {given['uri']}: " + ", ".join(f"{k} {v}" for k, v in given.items() if k not in ("uri", "source"))
        )
    for name, spec in tokenizer.specs.items():
        lines += [f"task {name}", *(f"  {line}" for line in spec.describe().splitlines())]
    return "\n".join(lines)


def summary(manifest: dict[str, Any], out: Path) -> str:
    """What was made, in a few lines."""
    episodes = manifest["episodes"]
    lines = [f"{out}: {episodes['written']} of {episodes['read']} episodes written"]
    for name in ("rejected", "filtered"):
        lines += [f"  {count} {name}: {reason}" for reason, count in episodes[name].items()]
    for name, split in manifest["splits"].items():
        counted = f"{split['records']} records, {split['steps']} timesteps, {split['tokens']} tokens"
        lines.append(f"  {name}: {counted}, {split['bytes'] / 2**20:.1f} MiB in {len(split['shards'])} shards")
    lines += [f"  {line}" for line in listed(json.loads((out / "stats.json").read_text(encoding="utf-8")))]
    return "\n".join(lines)


def how_to_resume(arguments: argparse.Namespace) -> str:
    found = list(arguments.out.parent.glob(f".{arguments.out.name}.partial-*/_run/part-*.done.json"))
    return f"stopped; {len(found)} partitions are done and kept: the same command goes on from there"
