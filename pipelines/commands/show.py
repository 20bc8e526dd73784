"""The command `inspect`."""

import argparse
import dataclasses
import sys

from rich.console import Console

from gato_tokenize.field_spec import ImageSpec
from gato_tokenize.storage.dataset import Dataset
from gato_tokenize.view import printable, printable_lines, show
from pipelines.inspection.episode_view import plain, save_frames
from pipelines.inspection.overview import overview, schema


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code: 0, or 2 if there is no such dataset, episode or field."""
    console = Console(no_color=arguments.no_colour, width=None if sys.stdout.isatty() else 200)
    try:
        if arguments.frames and arguments.episode is None:
            raise ValueError("--frames needs --episode")
        dataset = Dataset.open(arguments.dataset)
        if arguments.schema:
            schema(console)
        elif arguments.episode is None:
            overview(dataset, console)
        else:
            _show_episode(dataset, arguments)
    except (FileNotFoundError, KeyError, ValueError) as error:
        message = error.args[0] if isinstance(error, KeyError) else error  # str() would quote it
        print(f"gato-data: {printable_lines(message)}", file=sys.stderr)
        return 2
    return 0


def _show_episode(dataset: Dataset, arguments: argparse.Namespace) -> None:
    record, episode = dataset.find_episode(arguments.episode)
    for field in dataclasses.fields(record.metadata):
        print(f"{field.name.rstrip('_'):<14} {printable(getattr(record.metadata, field.name))}")
    colour = sys.stdout.isatty() and not arguments.no_colour
    print(show(record.sequence, dataset.tokenizer.text, colour, arguments.steps))
    print("decoded")
    for step in range(min(arguments.steps, episode.num_steps)):
        for path, values in episode.fields.items():
            if not isinstance(episode.spec.fields[path], ImageSpec):
                print(f"  timestep {step}  {printable(path)}  {plain(values[step])}")
    if arguments.frames:
        count = save_frames(episode, arguments.frames, arguments.field)
        print(f"{count} frames -> {arguments.frames}")
