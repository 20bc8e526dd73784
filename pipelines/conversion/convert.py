"""Convert: the graph and its command. Plan, write every partition through Beam, publish.

<out>/<name>/.<version>.partial-<plan hash>/    grows here
<out>/<name>/<version>/                         until the one rename
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam

from gato_tokenize.storage.dataset import MANIFEST, DatasetTokenizer
from pipelines.conversion.plan import Plan
from pipelines.conversion.publish import publish
from pipelines.conversion.reject_budget import RejectBudget
from pipelines.conversion.work_folder import ConvertError, _clean, _locked, _save_plan, partial_folder
from pipelines.running.beam_pipeline import _run_elsewhere
from pipelines.running.limits import Limits
from pipelines.running.watched_run import run_watched


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
