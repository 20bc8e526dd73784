"""Convert: the work folder of a plan is filled by a runner, then published. No Beam."""

import json
from collections.abc import Callable
from typing import Any

from gato_tokenize.storage.dataset import MANIFEST, DatasetTokenizer
from gato_tokenize.storage.schema import SCHEMA_VERSION
from gato_tokenize.storage.store_path import Place, StorePath
from pipelines.conversion.plan import Plan
from pipelines.conversion.publish import publish
from pipelines.conversion.reject_budget import RejectBudget
from pipelines.conversion.work_folder import WorkFolder
from pipelines.conversion.work_storage import ConvertError, is_made, unfinished


def convert(
    plan: Plan, tokenizer: DatasetTokenizer, out: Place, budget: RejectBudget, run: Callable[[WorkFolder], None]
) -> dict[str, Any]:
    """Run a plan into `out` (.../NAME/VERSION), or continue a run of it that stopped; returns the manifest.

    run: writes every partition that is not done: `write_here`, `run_locally(...)` or `run_on(...)`. Raises what `run`
    raises, ConvertError, PublishError, RejectBudgetError, and OSError for a full disk. What is done is kept, and is
    not done again.
    """
    if is_made(out):
        return _published(plan, out)
    if plan.schema_version != SCHEMA_VERSION:
        raise ConvertError(
            f"the plan asks for records of schema {plan.schema_version}, this release writes {SCHEMA_VERSION}: plan"
            " anew, or use the release that made the plan"
        )
    folder = WorkFolder.of(plan, out)
    _check_other_plans(folder, out)
    with folder.locked():
        if is_made(out):  # another run has finished since
            folder.storage.withdraw()
            return _published(plan, out)
        if not folder.complete:
            folder.clean()
            folder.save(tokenizer)
            run(folder)
        folder.clean()  # processes may have died whose work others have done since
        return publish(folder, out, budget)


def _published(plan: Plan, out: Place) -> dict[str, Any]:
    manifest = out / MANIFEST
    if not manifest.is_file():
        raise _no_dataset(out)
    content: dict[str, Any] = json.loads(manifest.read_text(encoding="utf-8"))
    if content["plan_sha256"] != plan.sha256:
        raise ConvertError(
            f"{out} was made by another plan (other sources, inputs, options or release): give another version in --out"
            ", or move it away. Nothing was changed"
        )
    if isinstance(out, StorePath):  # a run may have been killed after the manifest
        WorkFolder.of(plan, out).storage.withdraw()
    return content


def _check_other_plans(folder: WorkFolder, out: Place) -> None:
    found = unfinished(out)
    others = [path for path in found if path != folder.storage.aside]
    if others:
        both = f"{others[0]} and {out}" if isinstance(out, StorePath) else "that folder"
        raise ConvertError(
            f"{others[0]} is the unfinished work of another plan (other sources, inputs, options or release) for the"
            f" same --out: finish it with its own command, remove {both}, or give another --out. Nothing is changed"
        )
    if isinstance(out, StorePath) and not found and out.is_dir():
        raise _no_dataset(out)


def _no_dataset(out: Place) -> ConvertError:
    return ConvertError(f"{out} exists and is no dataset (no {MANIFEST}): move it away, or give another --out")
