"""Edit: a rule applied to verified datasets gives a new one, whose records are those of the old ones byte by byte."""

import itertools
import os
from collections.abc import Iterator, Sequence
from typing import Any

from gato_tokenize.storage.dataset import Dataset
from gato_tokenize.storage.store_path import Place, place
from pipelines.conversion.card import Card
from pipelines.conversion.convert import convert
from pipelines.conversion.plan import PlanError, writable_place
from pipelines.conversion.reject_budget import RejectBudget
from pipelines.conversion.work_folder import WorkFolder
from pipelines.conversion.work_storage import is_made
from pipelines.editing.plan_edit import plan_edit
from pipelines.editing.rules import Filter, Listed, Rule
from pipelines.editing.survey import Survey
from pipelines.editing.write_group import write_group
from pipelines.inspection.verify import verify


def edit(
    paths: "Sequence[str | os.PathLike[str]]",
    out: "str | os.PathLike[str]",
    rule: Rule,
    card: Card | None = None,
) -> dict[str, Any]:
    """Make the dataset `out` (.../NAME/VERSION) of what `rule` takes of the datasets at `paths`; returns its manifest.

    card: what its README.md says of it; None: what those of all the datasets say, if they say the same.
    No episode is tokenized again. Like a conversion it can be killed and given again, and what is there already is
    left alone. Raises FileNotFoundError for a path without a dataset, PlanError if one is damaged, if they do not go
    together or if nothing is taken, ConvertError if `out` has other content, OSError for a full disk.
    """
    out = writable_place(out)
    datasets = [_sound(place(path), verified=is_made(out)) for path in paths]
    surveys = [Survey.of(dataset, rule) for dataset in datasets]
    if isinstance(rule, Filter):
        _check_names(surveys, rule)
    plan, tokenizer = plan_edit(surveys, out, card)
    return convert(plan, tokenizer, out, RejectBudget("0"), lambda folder: _write(folder, surveys))


def _sound(path: Place, verified: bool) -> Dataset:
    """Open a dataset, after every byte of it is checked unless it is `verified`."""
    fault = None if verified else next(verify(path), None)
    if fault is not None:
        raise PlanError(f"{path} is damaged: {fault}; `gato-data verify` lists all that is. Nothing was written")
    return Dataset.open(path)


def _check_names(surveys: Sequence[Survey], rule: Filter) -> None:
    """Raise PlanError for a task or an id that no dataset has."""
    tasks = {task for survey in surveys for taken in survey.taken for _, task in taken.tasks}
    unknown = sorted(set(rule.tasks) - tasks)
    if unknown:
        raise PlanError(f"there is no episode of task {unknown[0]!r}; tasks: {', '.join(sorted(tasks))}")
    missing = set(rule.ids or ())
    for survey in surveys if missing else ():
        missing -= {episode.id for _, episode in survey.episodes()}
    if missing:
        raise PlanError(f"{len(missing)} of {len(rule.ids or ())} ids are of no episode, such as {min(missing)!r}")


def _write(folder: WorkFolder, surveys: Sequence[Survey]) -> None:
    """Write every partition that is not done, in order."""
    recount = set().union(*(survey.cut_tasks() for survey in surveys))
    indices = iter(folder.indices)
    for survey in surveys:
        for group, episodes in _grouped(survey):
            index = next(indices)
            if folder.done(index) is None:
                write_group(folder, index, survey, group, episodes, recount)


def _grouped(survey: Survey) -> Iterator[tuple[list[int], Iterator[Listed]]]:
    """Yield each group of partitions with its episodes, which must be taken before the next one is asked for."""
    groups = list(survey.groups())
    number_of = {part: number for number, group in enumerate(groups) for part in group}
    found = itertools.groupby(survey.episodes(), lambda one: number_of[one[0]])
    first, episodes = next(found, (-1, iter(())))
    for number, group in enumerate(groups):
        if number == first:
            yield group, (episode for _, episode in episodes)
            first, episodes = next(found, (-1, iter(())))
        else:
            yield group, iter(())
