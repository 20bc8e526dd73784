"""PythonSource: the episodes that a function of one's own yields."""

import dataclasses
import functools
import hashlib
import itertools
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gato_tokenize import Episode, EpisodeMetadata, EpisodeSpec
from gato_tokenize.array_spaces import Box, PictureFiles, Text
from gato_tokenize.spec import flatten
from gato_tokenize.steps import stack_steps, tuple_to_dict
from pipelines.sources.episode_options import EpisodeOptions
from pipelines.sources.errors import SourceError
from pipelines.sources.imported import imported, module_sha256
from pipelines.sources.options import parse_options
from pipelines.sources.pieces import RECORD_BYTES, Piece, pack
from pipelines.sources.source import Candidate, Source
from pipelines.sources.step_fields import INSTRUCTION, StepFields
from pipelines.sources.step_reading import StepReading

_FEW = 8  # dicts, from which a spec is made
_FACTS = ("episode_id", "domain", "agent_id", "return_", "success", "terminated", "truncated")  # metadata of a dict
_KEYS = {"observations", "actions", "rewards", "instruction", *_FACTS}
_DIGITS = 8  # of an episode's id, hashed, in the plan
_SAME = "it must yield the same episodes, in the same order, in every call"


@dataclasses.dataclass
class _Survey:
    """What was found by going through all that the function yields."""

    ids: list[str] = dataclasses.field(default_factory=list)
    weights: list[int] = dataclasses.field(default_factory=list)
    specs: dict[str, EpisodeSpec] = dataclasses.field(default_factory=dict)  # {task: spec} of those that are `Episode`s
    dicts: int = 0
    error: Exception | None = None  # that ended it


class PythonSource(Source):
    """`python:my_module:episodes:argument`: what `my_module.episodes("argument")` yields, or `my_module.episodes()`
    without an argument, each an `Episode` or a dict: see docs/sources.md.

    Planning goes through all the episodes. The function must yield the same in every call: their number and ids are in
    the plan, and a difference ends the partition in which it is found.
    """

    Options = EpisodeOptions
    reads_files = False

    def __init__(self, argument: str, options: dict[str, str]) -> None:
        module, _, rest = argument.partition(":")
        function, colon, given = rest.partition(":")
        if not module or not function:
            raise SourceError(f"python:{argument} names no function: write python:MODULE:FUNCTION[:ARGUMENT]")
        self._options = parse_options(EpisodeOptions, options)
        self._options.splits_of(())
        self._module, self._name, self._arguments = module, f"{module}:{function}", (given,) if colon else ()
        self._uri = f"python:{argument}"
        self._function = imported(module, function, self._uri)
        if not callable(self._function):
            raise SourceError(f"{self._uri}: {function} is not a function")

    def __getstate__(self) -> dict[str, Any]:
        """Leave out an iterator that waits for the next partition: it cannot be pickled."""
        return {name: value for name, value in self.__dict__.items() if name != "_waiting"}

    def _items(self) -> Iterator[Any]:
        return iter(self._function(*self._arguments))

    @functools.cached_property
    def _survey(self) -> _Survey:
        found, numbers = _Survey(), dict[str, int]()
        try:
            for i, item in enumerate(self._items()):
                name = self._id(item, i)
                if name in numbers:
                    raise SourceError(f"{self._uri}: episodes {numbers[name]} and {i} are both called {name!r}")
                numbers[name] = i
                found.ids.append(name)
                found.weights.append(_weight(item))
                found.dicts += isinstance(item, Mapping)
                if isinstance(item, Episode):
                    found.specs.setdefault(item.metadata.task or self._name, item.spec)
        except SourceError:
            raise
        except Exception as error:  # the partition in which it happens reports it
            found.error = error
        if not found.ids:
            how = f": {type(found.error).__name__}: {found.error}" if found.error else ""
            raise SourceError(f"{self._uri} yields no episodes{how}") from found.error
        if found.specs and self._options != EpisodeOptions():
            raise SourceError(f"{self._uri} yields Episodes, which have a spec already: options are for dicts")
        if found.dicts and self._task in found.specs:
            raise SourceError(f"{self._uri} yields dicts and Episodes of one task, {self._task!r}: yield one of them")
        return found

    @functools.cached_property
    def _reading(self) -> StepReading:
        """How the dicts are read. Made from the first ones that can be, so that every worker finds the same."""
        examples: list[dict[str, Any]] = []
        for item in self._items():
            if isinstance(item, Mapping):
                try:
                    examples.append(_arrays(item))
                except ValueError:
                    continue  # it is a reject
            if len(examples) == _FEW:
                break
        if not examples:
            raise SourceError(f"{self._uri}: no dict has observations and actions")
        paths = [path for path in examples[0] if all(path in example for example in examples)]
        try:
            spaces = {path: _space([example[path] for example in examples]) for path in paths}
        except ValueError as error:
            raise SourceError(f"{self._uri}: {error}") from error
        instruction = next((path for path in ("instruction", INSTRUCTION) if path in spaces), "")
        return StepReading(StepFields(spaces, instruction), self._options)

    @property
    def _task(self) -> str:
        return self._options.task_of(self._name)

    def _id(self, item: Any, i: int) -> str:
        given = item.metadata.episode_id if isinstance(item, Episode) else ""
        given = item.get("episode_id", "") if isinstance(item, Mapping) else given
        return str(given) or f"{self._uri}/{i}"

    def inputs(self) -> list[dict[str, Any]]:
        return [{"uri": self._uri, "versions": {self._module: f"sha256 {module_sha256(self._module)}"}}]

    def specs(self) -> dict[str, EpisodeSpec]:
        return {**self._survey.specs, **({self._task: self._reading.spec} if self._survey.dicts else {})}

    def reasons(self) -> dict[str, Mapping[str, str]]:
        return {self._task: self._reading.reasons} if self._survey.dicts else {}

    def readings(self) -> Mapping[str, StepReading]:
        return {self._task: self._reading} if self._survey.dicts else {}

    def notes(self) -> list[str]:
        return self._reading.notes if self._survey.dicts else []

    def partitions(self) -> list[dict[str, Any]]:
        """{"first", "number", "ids"}: `number` episodes from episode `first`; "count" unless the function fails after
        them; "last" of the last one."""
        found, made = self._survey, []
        for numbers in pack([Piece(*pair) for pair in enumerate(found.weights)], self.shard_bytes):
            ids = "".join(map(_digest, found.ids[numbers[0] : numbers[-1] + 1]))
            made.append({"first": numbers[0], "number": len(numbers), "count": len(numbers), "ids": ids})
        made[-1]["last"] = True
        if found.error:
            del made[-1]["count"]
        return made

    def candidates(self, partition: dict[str, Any]) -> Iterator[Candidate]:
        """The iterator waits at a partition's end for the one that follows: a process calls the function once if it
        reads the partitions in order."""
        first, stop = partition["first"], partition["first"] + partition["number"]
        items = self._items_from(first)
        for i in range(first, stop):
            try:
                item = next(items)
            except StopIteration:
                raise ValueError(f"{self._uri} yielded {i} episodes, and more when it was planned: {_SAME}") from None
            name = self._id(item, i)
            if not partition["ids"].startswith(_digest(name), (i - first) * _DIGITS):
                raise ValueError(
                    f"{self._uri} yielded {name!r} as episode {i}, and another when it was planned: {_SAME}"
                )
            yield Candidate(name, self._uri, i, functools.partial(self._load, item, name, i))
        if not partition.get("last"):
            self._waiting = os.getpid(), stop, items
        elif next(items, items) is not items:
            raise ValueError(f"{self._uri} yielded more than {stop} episodes, which it did not when planned: {_SAME}")

    def _items_from(self, first: int) -> Iterator[Any]:
        process, number, items = self.__dict__.pop("_waiting", (0, 0, None))
        if items is None or process != os.getpid() or number > first:  # a fork may not share its parent's open files
            number, items = 0, self._items()
        return itertools.islice(items, first - number, None)

    def _load(self, item: Any, name: str, i: int) -> Episode:
        if isinstance(item, Episode):
            known = item.metadata
            metadata = dataclasses.replace(
                known,
                episode_id=name,
                domain=known.domain or self._module,
                task=known.task or self._name,
                source_uri=self._uri,
                source_index=i,
            )
            return dataclasses.replace(item, metadata=metadata)
        if not isinstance(item, Mapping):
            raise ValueError(f"expected an Episode or a dict, got {type(item).__name__}")
        if unknown := sorted(set(item) - _KEYS):
            raise ValueError(f"unknown keys {unknown}; known: {sorted(_KEYS)}")
        facts = {"domain": self._module, **{key: item[key] for key in _FACTS if key in item}, "episode_id": name}
        metadata = EpisodeMetadata(task=self._task, source_uri=self._uri, source_index=i, **facts)
        return self._reading.episode(_arrays(item), metadata, rewards=item.get("rewards"))


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:_DIGITS]


def _arrays(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return {path: values stacked along time} of a dict. Raises ValueError naming what is missing, or a timestep that
    differs from the first."""
    if missing := [key for key in ("observations", "actions") if key not in item]:
        raise ValueError(f"{missing[0]}: missing")
    found: dict[str, Any] = {}
    for key, root in (("observations", "observation"), ("actions", "action")):
        values = item[key]
        first = tuple_to_dict(values[0]) if isinstance(values, list) and values else None
        stacked = stack_steps(first, values, root) if isinstance(first, Mapping) else values
        found |= {path: _leaf(value, path) for path, value in flatten(stacked, root).items()}
    return found | ({"instruction": item["instruction"]} if "instruction" in item else {})


def _leaf(value: Any, path: str) -> Any:
    if isinstance(value, str) or (isinstance(value, list | tuple) and value and isinstance(value[0], str | bytes)):
        return value
    try:
        return np.asarray(value)
    except ValueError as error:
        shapes = [np.shape(one) for one in value]
        i = next((i for i, shape in enumerate(shapes) if shape != shapes[0]), 0)
        raise ValueError(f"{path}[{i}]: shape {list(shapes[i])}, and that of [0] is {list(shapes[0])}") from error


def _space(values: list[Any]) -> Any:
    first = values[0] if isinstance(values[0], str) else values[0][0]
    if isinstance(first, bytes):
        return PictureFiles()
    return Text() if isinstance(first, str) else Box.seen_in(values)


def _weight(item: Any) -> int:
    """The bytes of a shard, about, that an episode makes."""
    leaves = item.fields if isinstance(item, Episode) else flatten(item, "") if isinstance(item, Mapping) else {}
    return RECORD_BYTES + sum(_bytes(leaf) for leaf in leaves.values())


def _bytes(value: Any) -> int:
    if isinstance(value, list | tuple | Mapping):
        return sum(map(_bytes, value.values() if isinstance(value, Mapping) else value))
    return int(value.nbytes) if hasattr(value, "nbytes") else len(value) if isinstance(value, str | bytes) else 4
