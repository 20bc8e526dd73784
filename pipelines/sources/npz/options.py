"""NpzOptions: the options of the source `npz`."""

import dataclasses

from pipelines.sources.episode_options import EpisodeOptions
from pipelines.sources.npz.ends import NAMES
from pipelines.sources.options import option


@dataclasses.dataclass(frozen=True)
class NpzOptions(EpisodeOptions):
    ends: str = option(
        "",
        "the array that says where episodes end, if a file holds several: flags at their last rows (at their first if"
        f" its name ends in `starts`), their lengths, or the rows after their last ones; {', '.join(NAMES)} are known",
    )
