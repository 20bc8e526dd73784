"""Curves over the timesteps of a record: its continuous fields and its rewards."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from gato_tokenize import ContinuousSpec, Dataset, Record
from pipelines.inspection.charts import MOST_CURVES, Chart, curves_chart


@dataclasses.dataclass(frozen=True)
class Curves:
    """The first elements of a field, or the rewards."""

    path: str
    names: list[str]  # of the elements that are drawn, [""] for a single one
    elements: int  # of the field
    chart: Chart


def curves(dataset: Dataset, record: Record, shown: int) -> Iterator[Curves]:
    """Yield the curves of a record of several timesteps, decoded from its tokens; the first `shown` are shaded."""
    tokenizer = dataset.tokenizer.task(record.metadata.task)
    if record.sequence.num_steps < 2:  # nothing changes with time
        return
    episode = tokenizer.decode(record.sequence)
    continuous = [path for path, spec in episode.spec.fields.items() if isinstance(spec, ContinuousSpec)]
    drawn = {path: episode.fields[path] for path in continuous}
    if record.rewards is not None:
        drawn["reward"] = record.rewards
    for path, values in drawn.items():
        columns = np.asarray(values, np.float64).reshape(record.sequence.num_steps, -1)
        elements = columns.shape[1]
        names = [str(element) for element in range(min(elements, MOST_CURVES))] if elements > 1 else [""]
        yield Curves(path, names, elements, curves_chart(columns[:, :MOST_CURVES], names, shown))
