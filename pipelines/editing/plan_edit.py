"""The plan of an edit: its partitions are groups of partitions of the datasets that it takes episodes from."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from gato_tokenize.storage.dataset import DatasetTokenizer
from gato_tokenize.storage.schema import READABLE
from gato_tokenize.storage.store_path import Place
from gato_tokenize.vocabulary import Vocabulary
from pipelines.conversion.card import Card
from pipelines.conversion.plan import Plan, PlanError
from pipelines.conversion.publish import double_ids
from pipelines.conversion.retry import fingerprint
from pipelines.conversion.work import Work
from pipelines.conversion.work_folder import WorkFolder
from pipelines.editing.survey import Survey, lines_of
from pipelines.sources.pieces import SHARD_BYTES


def plan_edit(surveys: Sequence[Survey], out: Place, card: Card | None) -> tuple[Plan, DatasetTokenizer]:
    """Return the plan of `out`, which takes what the surveys found, in their order, and its tokenizer.

    card: None: the one that all the datasets have, if they have the same.
    Raises PlanError if the datasets do not go together, an episode id stands twice, or nothing is taken.
    """
    tokenizer = common_tokenizer(surveys)
    _check_ids(surveys)
    _check_taken(surveys)
    plans = [WorkFolder.open(survey.dataset.path).plan for survey in surveys]
    works, inputs, splits = [], [], set()
    for survey, old in zip(surveys, plans, strict=True):
        if old.schema_version not in READABLE:
            raise PlanError(f"{survey.dataset.path} has schema version {old.schema_version}: edit it with its release")
        given = fingerprint(survey.dataset, f"gato-data {survey.rule.name}")
        inputs.append({**given, **({"rule": rule} if (rule := survey.rule.to_json()) else {})})
        name = f"{given['source']}:{given['uri']}"
        works += [
            Work(name, {"sha256": given["sha256"], "partitions": group}, carried=True) for group in survey.groups()
        ]
        splits |= {new for taken in survey.taken for _, new in taken.records}
    common = plans[0].card if all(old.card == plans[0].card for old in plans) else Card()
    plan = Plan(
        dataset=out.parent.name,
        version=out.name,
        partitions=tuple(works),
        inputs=tuple(inputs),
        tokenizer_sha256=tokenizer.sha256,
        max_tokens=max(old.max_tokens for old in plans),
        max_bytes=max(old.max_bytes for old in plans),
        shard_bytes=SHARD_BYTES,
        source_splits=tuple(sorted(splits)),
        card=common if card is None else card,
    )
    return plan, tokenizer


def common_tokenizer(surveys: Sequence[Survey]) -> DatasetTokenizer:
    """Return the tokenizer with the tasks of all datasets. Raises PlanError if an id would not mean the same in all."""
    first = surveys[0].dataset
    specs = dict(first.tokenizer.specs)
    text = first.tokenizer.text
    for other in (survey.dataset for survey in surveys[1:]):
        for what, one, two in (
            ("vocabularies", first.tokenizer.vocabulary, other.tokenizer.vocabulary),
            ("numbers of local positions", first.tokenizer.local_positions, other.tokenizer.local_positions),
        ):
            if one != two:
                raise _different(first.path, other.path, what, _described(one), _described(two))
        text = text or other.tokenizer.text
        if text and other.tokenizer.text and text.sha256 != other.tokenizer.text.sha256:
            raise _different(first.path, other.path, "text models", text.sha256[:12], other.tokenizer.text.sha256[:12])
        for task, spec in other.tokenizer.specs.items():
            if specs.setdefault(task, spec).to_json() != spec.to_json():
                raise _different(first.path, other.path, f"specs of task {task!r}", specs[task], spec)
    return DatasetTokenizer(
        dict(sorted(specs.items())), first.tokenizer.vocabulary, text, first.tokenizer.local_positions
    )


def _described(value: Any) -> str:
    return value.describe() if isinstance(value, Vocabulary) else str(value)


def _different(one: Place, two: Place, what: str, first: Any, second: Any) -> PlanError:
    return PlanError(f"{one} and {two} have different {what}, {first} and {second}: convert them with the same")


def _check_ids(surveys: Sequence[Survey]) -> None:
    places, count = double_ids(lambda: lines_of(surveys))
    if count:
        where = " and ".join(dict.fromkeys(line["dataset"] for line in places))
        raise PlanError(
            f"episode id {places[0]['episode_id']!r} stands twice, in {where}; {count} ids are double. An id must name"
            " one episode: leave the doubles out of one of them with `gato-data filter` first"
        )


def _check_taken(surveys: Sequence[Survey]) -> None:
    filtered: Counter[str] = Counter()
    for survey in surveys:
        for taken in survey.taken:
            filtered.update(taken.filtered)
            if taken.written:
                return
    counts = ", ".join(f"{count} for {why}" for why, count in sorted(filtered.items()))
    raise PlanError(f"not one of {sum(filtered.values())} episodes is taken: {counts} left out. Nothing was written")
