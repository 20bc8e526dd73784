"""The folder of a run, opened: new, or the same run's, perhaps to be trained for longer."""

import dataclasses
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gato_model.training.checkpoint import CONFIG, write_json
from gato_model.training.optimizer import OptimizerSettings, usual_warmup
from gato_model.training.settings import TrainSettings
from gato_tokenize import Dataset, EpisodeSpec, __version__
from gato_tokenize.storage.dataset import MANIFEST, DatasetTokenizer
from gato_tokenize.storage.place import RUN, describe


class TrainingError(RuntimeError):
    """The run cannot go on."""


class RefusedError(TrainingError):
    """The run cannot begin."""


def open_run(settings: TrainSettings, out: Path) -> list[str]:
    """Write the run's settings to `out`, or check that it holds this run, perhaps with fewer steps.

    Returns what the user should know. Raises RefusedError if `out` holds a run with other settings.
    """
    content, path = settings.to_json(), out / RUN
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        notes = _compared(before, content, out)
        if any(before.get(key) != value for key, value in content.items()):
            write_json(path, {**before, **content})
        return [*notes, *_other_versions(before)]
    if out.exists() and not out.is_dir() or (out / MANIFEST).exists():
        raise RefusedError(
            f"{out} cannot become the folder of a training run, because {describe(out)}: give another --out"
        )
    tokenizer = merged_tokenizer([share.path for share in settings.data])
    out.mkdir(parents=True, exist_ok=True)
    (out / CONFIG).write_text(settings.config.to_json(), encoding="utf-8")
    tokenizer.save(out)
    write_json(path, {**content, "made_by": _made_by(settings)})  # last: it makes the folder a run's
    return []


def _made_by(settings: TrainSettings) -> dict[str, Any]:
    """Return what a person needs to make the run again, beside its settings: data, versions and the command."""
    data = []
    for share in settings.data:
        manifest = Dataset.open(share.path).manifest
        names = {name: manifest[name] for name in ("dataset", "version", "sha256")}
        data.append({"path": str(share.path), **names})
    return {"command": sys.argv, "data": data, "versions": _versions()}


def _versions() -> dict[str, str]:
    packages = {name: importlib.metadata.version(name) for name in ("keras", "numpy", "tensorflow")}
    return {"python": platform.python_version(), "gato-toolchain": __version__, **packages}


def _other_versions(before: Mapping[str, Any]) -> list[str]:
    """Name the packages that have another version than when the run began; rounding may differ from there on."""
    then, now = before.get("made_by", {}).get("versions", {}), _versions()
    changed = [f"{name} {then[name]}, now {now[name]}" for name in now if then.get(name, now[name]) != now[name]]
    return [f"the run began with {'; '.join(changed)}"] if changed else []


def _compared(before: Mapping[str, Any], content: Mapping[str, Any], out: Path) -> list[str]:
    before = _with_defaults(before)
    different = sorted(key for key in content if content[key] != before.get(key))
    old, new = before.get("steps", 0), content["steps"]
    longer = f"{out} is trained for {new} steps instead of {old}"
    if different == ["steps"] and new > old:
        return [longer]
    if different == ["optimizer", "steps"] and new > old and _planned_for(new, content) == _planned_for(new, before):
        return [
            f"{longer}. From here on, the learning rate follows the schedule of {new} steps; until here it followed"
            f" that of {old}, so the curve is not that of a run planned for {new}"
        ]
    if different:
        cure = "give another --out, or the settings of the first time (of these, --steps may be larger)"
        raise RefusedError(f"{out} holds a run with other settings ({', '.join(different)}): {cure}")
    return []


def _with_defaults(before: Mapping[str, Any]) -> dict[str, Any]:
    """Add the settings that were not there yet when a run began: it had their defaults."""
    fields = {field.name: field.default for field in dataclasses.fields(TrainSettings)}
    known = {name: value for name, value in fields.items() if value is not dataclasses.MISSING}
    optimizer = {**dataclasses.asdict(OptimizerSettings()), **before.get("optimizer", {})}
    return {**known, **before, "optimizer": optimizer}


def _planned_for(steps: int, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's optimizer as if it had been planned for `steps`, if its schedule followed from its own steps."""
    optimizer, own = dict(content["optimizer"]), content["steps"]
    if optimizer["decay_steps"] == own:
        optimizer["decay_steps"] = steps
        if optimizer["warmup_steps"] == usual_warmup(own):
            optimizer["warmup_steps"] = usual_warmup(steps)
    return optimizer


def merged_tokenizer(paths: "Sequence[str | os.PathLike[str]]") -> DatasetTokenizer:
    """Merge the tasks of all datasets, for acting. Raises RefusedError if two specs have the same task."""
    tokenizers = [Dataset.open(path).tokenizer for path in paths]
    specs: dict[str, EpisodeSpec] = {}
    for path, tokenizer in zip(paths, tokenizers, strict=True):
        for task, spec in tokenizer.specs.items():
            if specs.setdefault(task, spec) != spec:
                raise RefusedError(f"task {task!r} of {path} has another spec than in the datasets before it")
    text = next((tokenizer.text for tokenizer in tokenizers if tokenizer.text), None)
    positions = max(tokenizer.local_positions for tokenizer in tokenizers)
    return DatasetTokenizer(dict(sorted(specs.items())), tokenizers[0].vocabulary, text, positions)
