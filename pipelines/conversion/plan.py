"""Plan: inputs -> partitions -> shards, decided before any work and saved with the output.

The plan holds everything that the bytes of a dataset depend on, and nothing else: not the number of workers, the runner
or the budget for rejects. Two conversions with the same plan hash give the same files.
"""

import dataclasses
import functools
import hashlib
import itertools
import json
import os
import re
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from gato_tokenize import EpisodeSpec, TextTokenizer, __version__
from gato_tokenize.defaults import LOCAL_POSITIONS
from gato_tokenize.storage.dataset import DatasetTokenizer
from gato_tokenize.storage.schema import SCHEMA_VERSION
from gato_tokenize.storage.segments import MAX_BYTES, MAX_TOKENS
from gato_tokenize.storage.shards import shard_name
from gato_tokenize.storage.store_path import Place, StorePath, place
from pipelines.conversion.card import Card
from pipelines.conversion.limit import limited_works
from pipelines.conversion.work import Work
from pipelines.sources import open_source
from pipelines.sources.pieces import PIECE_BYTES, SHARD_BYTES
from pipelines.sources.recognition import named_source


class PlanError(ValueError):
    """A conversion that cannot be planned, because what was asked for is contradictory or impossible."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything that decides the bytes of a dataset. Work i, called partition i, writes shard i of each split."""

    dataset: str
    version: str
    partitions: tuple[Work, ...]
    inputs: tuple[dict[str, Any], ...]
    tokenizer_sha256: str
    validation_fraction: float = 0.0
    split_seed: int = 0
    max_tokens: int = MAX_TOKENS
    max_bytes: int = MAX_BYTES
    shard_bytes: int | None = None  # at which a shard aims; None: the plan is older than the setting
    schema_version: int = SCHEMA_VERSION
    generator: str = f"gato-toolchain {__version__}"
    source_splits: tuple[str, ...] = ()  # of the sources themselves; a validation fraction replaces them
    card: Card = Card()

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.dataset):
            raise PlanError(f"a dataset's name is lower-case letters, digits and _ (TFDS's rule), not {self.dataset!r}")
        if not re.fullmatch(r"\d+\.\d+\.\d+", self.version):
            raise PlanError(f"a version is MAJOR.MINOR.PATCH, such as 1.0.0, not {self.version!r}")
        if not 0 <= self.validation_fraction < 1:
            raise PlanError(f"the validation fraction is in [0, 1), not {self.validation_fraction}")
        if self.shard_bytes is not None and self.shard_bytes < PIECE_BYTES:
            raise PlanError(f"--shard-size must be at least 4M, not {self.shard_bytes} bytes")
        if not self.partitions:
            raise PlanError("nothing to convert: the sources have no episodes")

    @property
    def splits(self) -> tuple[str, ...]:
        if self.validation_fraction:
            return ("train", "validation")
        return ("train", *(split for split in self.source_splits if split != "train"))

    def split_of(self, episode_id: str, own: str = "") -> str:
        """Return the split of an episode: its `own` in its source if it has one, or else, and with a validation
        fraction, one that depends on its id, the seed and the fraction alone."""
        if own and not self.validation_fraction:
            return own
        if not self.validation_fraction:
            return "train"
        digest = hashlib.sha256(f"{self.split_seed}:{episode_id}".encode()).digest()
        held_out = int.from_bytes(digest[:8], "big") < self.validation_fraction * 2**64
        return "validation" if held_out else "train"

    def shard(self, split: str, index: int) -> str:
        """Return the name of the file that holds partition `index` of a split."""
        return shard_name(self.dataset, split, index, len(self.partitions))

    def to_json(self) -> str:
        """Return the content of plan.json. Its sha256 identifies the plan, so its bytes must never change."""
        content = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        content["partitions"] = [work.to_json() for work in self.partitions]
        if self.shard_bytes is None:
            del content["shard_bytes"]
        if not self.source_splits:
            del content["source_splits"]
        del content["card"]
        if self.card:
            content["card"] = self.card.to_json()
        return json.dumps(content, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """Raises TypeError for a key that is missing or unknown."""
        data = json.loads(text)
        works = map(Work.from_json, data.pop("partitions", ()))
        splits = tuple(data.pop("source_splits", ()))
        card, inputs = Card.from_json(data.pop("card", {})), tuple(data.pop("inputs", ()))
        plan = cls(partitions=tuple(works), inputs=inputs, source_splits=splits, card=card, **data)
        vars(plan)["sha256"] = hashlib.sha256(text.encode()).hexdigest()  # a worker opens a plan for each partition
        return plan

    @functools.cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def make_plan(
    sources: Sequence[str],
    out: "str | os.PathLike[str]",
    limit: int | None = None,
    text: TextTokenizer | None = None,
    local_positions: int = LOCAL_POSITIONS,
    vocabulary: Mapping[str, Any] | None = None,
    shard_bytes: int = SHARD_BYTES,
    **settings: Any,
) -> tuple[Plan, DatasetTokenizer]:
    """Return the plan for `sources` into `out` (.../NAME/VERSION), and the tokenizer of all their tasks. A plain path
    among the sources stands for what `pipelines.sources.recognition.named_source` makes of it.

    limit: at most so many episodes of each source. vocabulary: the fields of `Vocabulary` that are not the paper's.
    shard_bytes: at which a shard aims (see `pipelines.sources.pieces`). settings: other fields of `Plan`. Reads every
    input file once, for its sha256. Raises PlanError or SourceError, and ValueError if `out` is an address.
    """
    out, sources = writable_place(out), [named_source(name) for name in sources]
    if len(set(sources)) != len(sources):
        raise PlanError(f"a source is given twice: {', '.join(sources)}")
    specs: dict[str, tuple[str, EpisodeSpec]] = {}
    partitions: list[Work] = []
    inputs: list[dict[str, Any]] = []
    splits: set[str] = set()
    for name in sources:
        source = open_source(name)
        splits |= set(source.splits())
        for task, spec in source.specs().items():
            other, known = specs.setdefault(task, (name, spec))
            if known != spec:
                raise PlanError(
                    f"{other} and {name} both have a task {task!r}, with different specs: name one otherwise"
                )
        works = limited_works(source, limit, shard_bytes)
        if not works:
            size = sum(given.get("bytes", 0) for given in source.inputs())
            raise PlanError(f"{name} has no episodes: its inputs have {size} bytes and hold none")
        partitions += works
        inputs += [{"source": name, **given} for given in source.inputs()]
    _check_files(inputs)
    try:
        of_tasks = {task: spec for task, (_, spec) in specs.items()}
        tokenizer = DatasetTokenizer.for_specs(of_tasks, text, local_positions, **(vocabulary or {}))
        for task, (name, _) in specs.items():
            check_task(tokenizer, task, name)
    except ValueError as error:
        raise PlanError(str(error)) from error
    plan = Plan(
        dataset=out.parent.name,
        version=out.name,
        partitions=tuple(partitions),
        inputs=tuple(inputs),
        tokenizer_sha256=tokenizer.sha256,
        shard_bytes=shard_bytes,
        source_splits=() if settings.get("validation_fraction") else tuple(sorted(splits)),
        **settings,
    )
    return plan, tokenizer


def writable_place(out: "str | os.PathLike[str]") -> Place:
    """Return the place of a new dataset. Raises PlanError for an address at which nothing can be written."""
    found = place(out)
    if isinstance(found, StorePath) and found.scheme in ("http", "https"):
        raise PlanError(f"{out}: nothing is written over HTTP; give a folder, or an address in an object store")
    return found


def _check_files(inputs: Sequence[Mapping[str, Any]]) -> None:
    """Raise PlanError if two sources reach one file by different names: its episodes would have two ids."""
    uris = {given["uri"] for given in inputs}
    files: dict[Hashable, dict[str, str]] = defaultdict(dict)  # {a file: {its name: source}}
    for given in inputs:
        uri = given["uri"]
        if "sha256" in given and os.path.exists(uri):
            # Lines that name pictures mean others in another folder.
            paths = [uri, os.path.dirname(uri) or "."] if f"{uri}#images" in uris else [uri]
            found = [os.stat(path) for path in paths]
            files[tuple((status.st_dev, status.st_ino) for status in found)].setdefault(uri, given["source"])
    for names in files.values():
        for (one, source), (two, other) in itertools.pairwise(names.items()):
            raise PlanError(
                f"{other} and {source} read one file by two names, {two} and {one}: leave out one of the two sources,"
                " or write the path in the same way in both"
            )


def check_task(tokenizer: DatasetTokenizer, task: str, source: str) -> None:
    """Raise ValueError, before any work, if this vocabulary cannot take the spec of a task."""
    try:
        tokenizer.task(task)
    except ValueError as error:
        raise ValueError(f"{source}: task {task!r} cannot be tokenized: {error}") from error
