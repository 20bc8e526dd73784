"""ParquetOptions: the options of the source `parquet`."""

import dataclasses

from pipelines.sources.episode_options import EpisodeOptions
from pipelines.sources.options import option


@dataclasses.dataclass(frozen=True)
class ParquetOptions(EpisodeOptions):
    episode: str = option(
        "",
        "the column that says to which episode a row belongs, if each row is a timestep; without it a row is an"
        " episode, and its lists have a value for each timestep",
    )
    column: str = option(
        "",
        "the column that holds the documents or captions, if rows are these; without it `text` or `caption`, or the"
        " only column of texts",
    )
