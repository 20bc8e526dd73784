"""Where episodes come from: one module or folder for each source."""

import functools
import importlib
import os

from gato_tokenize.installing import missing
from gato_tokenize.storage.place import local_path
from pipelines.sources.options import split_options
from pipelines.sources.source import Source, SourceError

SOURCES = {
    "rollouts": "pipelines.sources.rollouts.source:RolloutSource",
    "text": "pipelines.sources.text:TextSource",
    "image-text": "pipelines.sources.image_text.source:ImageTextSource",
    "rlds": "pipelines.sources.rlds.source:RldsSource",
    "lerobot": "pipelines.sources.lerobot.source:LeRobotSource",
    "minari": "pipelines.sources.minari.source:MinariSource",
    "d4rl": "pipelines.sources.d4rl.source:D4rlSource",
    "aloha": "pipelines.sources.aloha.source:AlohaSource",
    "robomimic": "pipelines.sources.robomimic.source:RobomimicSource",
}


@functools.lru_cache(maxsize=64)
def open_source(source: str) -> Source:
    """Open the `Source` that a string names: `name:argument` or `name:argument?option=value&...`.

    Raises SourceError for an unknown name, for bad options, and if a package that the source needs is not installed.
    """
    name, colon, rest = source.partition(":")
    if not colon or name not in SOURCES:
        raise SourceError(f"{source!r} is no source: write NAME:ARGUMENT, NAME one of {', '.join(SOURCES)}")
    cls = source_class(name)
    if cls.reads_files:
        try:
            local_path(rest)
        except ValueError as error:
            raise SourceError(str(error)) from error
    opened = cls(*split_options(rest, os.path.exists) if cls.reads_files else split_options(rest))
    opened.source = source
    return opened


def source_class(name: str) -> type[Source]:
    """The class of a source, by its name in SOURCES; SourceError if a package that it needs is not installed."""
    module, _, class_name = SOURCES[name].partition(":")
    try:
        cls: type[Source] = getattr(importlib.import_module(module), class_name)
    except ModuleNotFoundError as error:
        raise SourceError(missing(f"source {name!r}", error, name)) from error
    except ImportError as error:
        raise SourceError(f"source {name!r} needs a package that is installed but cannot be loaded: {error}") from error
    return cls
