"""StepSource: a source of recorded episodes, whose specs are those of their readings."""

import abc
from collections.abc import Mapping

from gato_tokenize import EpisodeSpec
from pipelines.sources.source import Source
from pipelines.sources.step_reading import StepReading


class StepSource(Source):
    """A source all of whose tasks have a `StepReading`, which gives their specs and the reasons for them."""

    @abc.abstractmethod
    def readings(self) -> Mapping[str, StepReading]:
        """As `Source.readings`."""

    def specs(self) -> dict[str, EpisodeSpec]:
        return {task: reading.spec for task, reading in self.readings().items()}

    def reasons(self) -> dict[str, Mapping[str, str]]:
        return {task: reading.reasons for task, reading in self.readings().items()}
