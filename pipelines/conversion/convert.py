"""Convert: the work folder of a plan is filled by a runner, then published. No Beam."""

import contextlib
import json
import os
from collections.abc import Callable
from typing import Any

from gato_tokenize.storage.dataset import MANIFEST, DatasetTokenizer
from gato_tokenize.storage.schema import SCHEMA_VERSION
from gato_tokenize.storage.store_path import Place
from pipelines.conversion.plan import Plan
from pipelines.conversion.publish import publish
from pipelines.conversion.reject_budget import RejectBudget
from pipelines.conversion.work_folder import ConvertError, WorkFolder, unfinished


def convert(
    plan: Plan, tokenizer: DatasetTokenizer, out: Place, budget: RejectBudget, run: Callable[[WorkFolder], None]
) -> dict[str, Any]:
    """Run a plan into `out` (.../NAME/VERSION), or continue a run of it that stopped; returns the manifest.

    run: writes every partition that is not done: `write_here`, `run_locally(...)` or `run_on(...)`. Raises what `run`
    raises, ConvertError, PublishError, RejectBudgetError, and OSError for a full disk. What is done is kept, and is
    not done again.
    """
    if out.exists():
        return _published(plan, out)
    if plan.schema_version != SCHEMA_VERSION:
        raise ConvertError(
            f"the plan asks for records of schema {plan.schema_version}, this release writes {SCHEMA_VERSION}: plan"
            " anew, or use the release that made the plan"
        )
    folder = WorkFolder.of(plan, out)
    _check_other_plans(folder.path, out)
    with folder.locked():
        if out.exists():  # another run has finished since
            with contextlib.suppress(OSError):
                os.rmdir(folder.path)  # made anew just now, and empty
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
        raise ConvertError(f"{out} exists and is no dataset (no {MANIFEST}): move it away, or give another --out")
    content: dict[str, Any] = json.loads(manifest.read_text(encoding="utf-8"))
    if content["plan_sha256"] != plan.sha256:
        raise ConvertError(
            f"{out} was made by another plan (other sources, inputs, options or release): give another version in --out"
            ", or move it away. Nothing was changed"
        )
    return content


def _check_other_plans(folder: Place, out: Place) -> None:
    others = [path for path in unfinished(out) if path != folder]
    if others:
        raise ConvertError(
            f"{others[0]} is the unfinished work of another plan (other sources, inputs, options or release) for the"
            " same --out: finish it with its own command, remove that folder, or give another --out. Nothing is changed"
        )
