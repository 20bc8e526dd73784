"""From a source to episodes, and from episodes to records: Beam steps for jobs of your own."""

from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam

from gato_tokenize import Episode
from gato_tokenize.dataset import DatasetTokenizer
from gato_tokenize.records import MAX_BYTES, MAX_TOKENS, segments
from pipelines.source import Candidate, Filtered, Reject, open_source, read_partition
from pipelines.write_partition import tokenize_episode

REJECTS = "rejects"  # tag of the dead-letter output of the steps below


class ReadEpisodes(beam.PTransform):  # type: ignore[misc]
    """A source string -> `Episode`s, and a dead-letter output of `Reject`s: `result.episodes`, `result[REJECTS]`.

    Filtered candidates (blank lines) are in neither; a Beam counter `filtered` counts them.
    """

    def __init__(self, source: str, limit: int | None = None) -> None:
        super().__init__()
        self.source, self.limit = source, limit

    def expand(self, begin: Any) -> Any:
        partitions = open_source(self.source).partitions(self.limit)
        return (
            begin
            | "Partitions" >> beam.Create(partitions)
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.ParDo(_Read(self.source)).with_outputs(REJECTS, main="episodes")
        )


class _Read(beam.DoFn):  # type: ignore[misc]
    def __init__(self, source: str) -> None:
        self.source = source
        self.filtered = beam.metrics.Metrics.counter("gato", "filtered")

    def process(self, partition: dict[str, Any]) -> Iterator[Any]:
        for _, result in read_partition(open_source(self.source), partition):
            if isinstance(result, Reject):
                yield beam.pvalue.TaggedOutput(REJECTS, result)
            elif isinstance(result, Filtered):
                self.filtered.inc()
            else:
                yield result


class TokenizeEpisodes(beam.PTransform):  # type: ignore[misc]
    """`Episode`s -> `Record`s, long episodes cut into segments, and a dead-letter output of `Reject`s:
    `result.records`, `result[REJECTS]`. `tokenizer` must know the task of every episode.
    """

    def __init__(
        self, tokenizer: DatasetTokenizer, dataset: str, max_tokens: int = MAX_TOKENS, max_bytes: int = MAX_BYTES
    ) -> None:
        super().__init__()
        self.arguments = (tokenizer, dataset, max_tokens, max_bytes)

    def expand(self, episodes: Any) -> Any:
        return episodes | "Tokenize" >> beam.ParDo(_Tokenize(*self.arguments)).with_outputs(REJECTS, main="records")


class _Tokenize(beam.DoFn):  # type: ignore[misc]
    def __init__(self, tokenizer: DatasetTokenizer, dataset: str, max_tokens: int, max_bytes: int) -> None:
        self.tokenizer, self.dataset, self.limits = tokenizer, dataset, (max_tokens, max_bytes)

    def process(self, episode: Episode) -> Iterable[Any]:
        named = episode.metadata
        candidate = Candidate(named.episode_id, named.source_uri, named.source_index, lambda: episode)
        result = tokenize_episode(self.tokenizer, self.dataset, named.source_uri, candidate, episode)
        if isinstance(result, Reject):
            yield beam.pvalue.TaggedOutput(REJECTS, result)
        else:
            yield from segments(result[1], *self.limits)
