"""The command `inspect`."""

import argparse
import dataclasses
from typing import Any

import numpy as np

from gato_tokenize import Episode
from gato_tokenize.field_spec import ImageSpec
from gato_tokenize.output import Output, counted, printable
from gato_tokenize.storage.dataset import Dataset
from gato_tokenize.storage.records import Record
from gato_tokenize.storage.schema import FIELDS
from gato_tokenize.view import show
from pipelines.inspection.episode_view import plain, save_frames
from pipelines.inspection.overview import overview, schema


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Run the command and return its exit code: 0, or 2 if there is no such dataset, episode or field, or
    if a store cannot be read."""
    colour = not arguments.no_colour
    try:
        if arguments.frames and arguments.episode is None:
            raise ValueError("--frames needs --episode")
        dataset = Dataset.open(arguments.dataset)
        if arguments.schema:
            return output.result(output.drawn(schema, colour), {"fields": [dataclasses.asdict(one) for one in FIELDS]})
        if arguments.episode is None:
            return output.result(output.drawn(lambda console: overview(dataset, console), colour), _overview(dataset))
        return _show_episode(dataset, arguments, output)
    except (OSError, KeyError, ValueError) as error:
        return output.error(error)


def _overview(dataset: Dataset) -> dict[str, Any]:
    """Return what --json prints: {"dataset", "name", "version", "generator", "episodes", "stats"}.

    The last two are those of manifest.json, and all of stats.json.
    """
    manifest = dataset.manifest
    of_manifest = {key: manifest[key] for key in ("version", "generator", "episodes")}
    return {"dataset": dataset.path, "name": manifest["dataset"], **of_manifest, "stats": dataset.stats}


def _show_episode(dataset: Dataset, arguments: argparse.Namespace, output: Output) -> int:
    record, episode = dataset.find_episode(arguments.episode)
    count = save_frames(episode, arguments.frames, arguments.field) if arguments.frames else None
    metadata = {field.name.rstrip("_"): getattr(record.metadata, field.name) for field in _metadata_fields(record)}
    steps = min(max(arguments.steps, 0), episode.num_steps)
    lines = [f"{name:<14} {printable(value)}" for name, value in metadata.items()]
    colour = output.colour and not arguments.no_colour
    lines += [show(record.sequence, dataset.tokenizer.text, colour, arguments.steps), "decoded"]
    lines += [
        f"  timestep {step}  {printable(path)}  {plain(episode.fields[path][step])}"
        for step in range(steps)
        for path in _values(episode)
    ]
    lines += [f"{counted(count, 'frame')} -> {arguments.frames}"] if count is not None else []
    document = {
        "dataset": dataset.path,
        "metadata": metadata,
        "num_steps": episode.num_steps,
        "tokens": len(record.sequence),
        "steps": [{path: _json(episode.fields[path][step]) for path in _values(episode)} for step in range(steps)],
        "frames": count,
    }
    return output.result("\n".join(lines), document)


def _metadata_fields(record: Record) -> tuple["dataclasses.Field[Any]", ...]:
    return dataclasses.fields(record.metadata)


def _values(episode: Episode) -> list[str]:
    """Return the paths of the fields that are no images."""
    return [path for path in episode.fields if not isinstance(episode.spec.fields[path], ImageSpec)]


def _json(value: Any) -> Any:
    return value if isinstance(value, str) else np.asarray(value).tolist()
