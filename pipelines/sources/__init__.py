"""Where episodes come from: one module or folder for each source."""

import functools
import importlib
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint
from typing import Any

from gato_tokenize.installing import missing
from gato_tokenize.storage.address import full, is_address
from pipelines.sources.entry_points import offered
from pipelines.sources.errors import SourceError
from pipelines.sources.formats.places import checked_address
from pipelines.sources.imported import imported
from pipelines.sources.options import split_options
from pipelines.sources.source import Source

SOURCES = {
    "rollouts": "pipelines.sources.rollouts.source:RolloutSource",
    "text": "pipelines.sources.text:TextSource",
    "image-text": "pipelines.sources.image_text.source:ImageTextSource",
    "coco": "pipelines.sources.image_text.coco:CocoSource",
    "rlds": "pipelines.sources.rlds.source:RldsSource",
    "lerobot": "pipelines.sources.lerobot.source:LeRobotSource",
    "minari": "pipelines.sources.minari.source:MinariSource",
    "d4rl": "pipelines.sources.d4rl.source:D4rlSource",
    "dqn-replay": "pipelines.sources.dqn_replay.source:DqnReplaySource",
    "aloha": "pipelines.sources.aloha.source:AlohaSource",
    "python": "pipelines.sources.python:PythonSource",
    "robomimic": "pipelines.sources.robomimic.source:RobomimicSource",
    "zarr": "pipelines.sources.zarr.source:ZarrSource",
    "parquet": "pipelines.sources.parquet.source:ParquetSource",
    "npz": "pipelines.sources.npz.source:NpzSource",
    "mcap": "pipelines.sources.recordings.mcap_source:McapSource",
    "rosbag": "pipelines.sources.recordings.rosbag_source:RosbagSource",
}


@functools.lru_cache(maxsize=64)
def open_source(source: str) -> Source:
    """Open the `Source` that a string names: `name:argument` or `name:argument?option=value&...`. The name is one of
    SOURCES, or one that an installed package offers as an entry point of the group `gato_toolchain.sources`; or
    `module:Class:argument` names a class of your own.

    Raises SourceError for an unknown name, for bad options, and if a package that the source needs is not installed.
    """
    name, _, rest = source.partition(":")
    cls, argument = _class_and_argument(source, name, rest)
    if cls.reads_files:
        if cls.reads_addresses:
            checked_address(argument)
        else:
            _check_local(argument, name)
    opened = cls(*_split(cls, argument))
    opened.source = source
    return opened


def _check_local(argument: str, name: str) -> None:
    if is_address(argument):
        raise SourceError(
            f"{full(argument)} is an address, and the source {name} reads only local files and folders: copy it to a"
            f" local disk (a local folder of this very name is written ./{argument})"
        )


def options_of(source: str) -> tuple[type[Source], dict[str, str]]:
    """The class of a source's string, and the options that the string gives. Raises SourceError as `open_source`."""
    cls, argument = _class_and_argument(source, *source.partition(":")[::2])
    return cls, _split(cls, argument)[1]


def with_options(source: str, changed: Mapping[str, str]) -> str:
    """The string of the same source with other options; one whose value is "" is left out.

    >>> with_options("text:a.txt?by=line&task=b", {"task": "R&D", "by": ""})
    'text:a.txt?task=R\\\\&D'
    """
    cls, argument = _class_and_argument(source, *source.partition(":")[::2])
    path, options = _split(cls, argument)
    pairs = [f"{name}={_escaped(value)}" for name, value in {**options, **changed}.items() if value]
    return source.removesuffix(argument) + path + (f"?{'&'.join(pairs)}" if pairs else "")


def _split(cls: type[Source], argument: str) -> tuple[str, dict[str, str]]:
    return split_options(argument, os.path.exists) if cls.reads_files else split_options(argument)


def _escaped(value: str) -> str:
    return value.replace("&", r"\&")


def _class_and_argument(source: str, name: str, rest: str) -> tuple[type[Source], str]:
    installed = offered().names
    if ":" in source and (name in SOURCES or name in installed):
        return source_class(name), rest
    class_name, colon, argument = rest.partition(":")
    if not colon or not class_name.isidentifier():
        known = ", ".join((*SOURCES, *sorted(installed - set(SOURCES))))
        raise SourceError(
            f"{source!r} is no source: write NAME:ARGUMENT, NAME one of {known}; or MODULE:CLASS:ARGUMENT for a class"
            " of your own; or the path of a file or folder, but nothing lies at that one"
        )
    asked = f"{name}:{class_name}"
    return _checked(imported(name, class_name, f"{name} is no source's name, and {asked} no class"), asked), argument


def source_class(name: str) -> type[Source]:
    """The class of a built-in or installed source, by its name.

    Raises SourceError if a package that it needs is not installed, if an installed one cannot be loaded, or if the name
    means more than one source.
    """
    if entries := tuple(offered().select(name=name)):
        return _installed_class(entries)
    module, _, class_name = SOURCES[name].partition(":")
    try:
        cls: type[Source] = getattr(importlib.import_module(module), class_name)
    except ModuleNotFoundError as error:
        raise SourceError(missing(f"source {name!r}", error, name)) from error
    except ImportError as error:
        raise SourceError(f"source {name!r} needs a package that is installed but cannot be loaded: {error}") from error
    return cls


def _installed_class(entries: Sequence[EntryPoint]) -> type[Source]:
    """The class of the one entry point of a name. Another package, or a built-in source, may not have that name."""
    name = entries[0].name
    packages = " and ".join(sorted(entry.dist.name if entry.dist else "?" for entry in entries))
    if name in SOURCES:
        raise SourceError(f"source {name!r} is built in, and {packages} would replace it: uninstall that package")
    if len(entries) > 1:
        raise SourceError(f"source {name!r} is offered by {packages}: uninstall all but one")
    try:
        found = entries[0].load()
    except Exception as error:
        raise SourceError(
            f"source {name!r} of the package {packages} cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    return _checked(found, entries[0].value)


def _checked(found: Any, asked: str) -> type[Source]:
    """Raise SourceError unless what was imported is a class of sources that lacks no method."""
    if not (isinstance(found, type) and issubclass(found, Source)):
        raise SourceError(f"{asked} is no class that inherits pipelines.Source")
    if found.__abstractmethods__:
        raise SourceError(f"{asked} lacks the methods {', '.join(sorted(found.__abstractmethods__))}")
    return found
