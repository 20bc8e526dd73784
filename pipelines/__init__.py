"""Conversion of datasets into TFRecord episodes of Gato's tokens, on a laptop or on any Apache Beam runner.

The names below are imported when first used: a plan and its conversion need no Beam, the last four are Beam steps.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.beam_steps import PublishDataset as PublishDataset
    from pipelines.beam_steps import ReadEpisodes as ReadEpisodes
    from pipelines.beam_steps import TokenizeEpisodes as TokenizeEpisodes
    from pipelines.beam_steps import WriteShards as WriteShards
    from pipelines.conversion.convert import convert as convert
    from pipelines.conversion.plan import Plan as Plan
    from pipelines.conversion.plan import make_plan as make_plan
    from pipelines.sources import open_source as open_source
    from pipelines.sources.errors import Filtered as Filtered
    from pipelines.sources.errors import SourceError as SourceError
    from pipelines.sources.reading import Reject as Reject
    from pipelines.sources.source import Candidate as Candidate
    from pipelines.sources.source import Source as Source

_HOMES = {  # in the order in which data meets them
    "Source": "sources.source",
    "Candidate": "sources.source",
    "Filtered": "sources.errors",
    "Reject": "sources.reading",
    "SourceError": "sources.errors",
    "open_source": "sources",
    "Plan": "conversion.plan",
    "make_plan": "conversion.plan",
    "convert": "conversion.convert",
    "ReadEpisodes": "beam_steps",
    "TokenizeEpisodes": "beam_steps",
    "WriteShards": "beam_steps",
    "PublishDataset": "beam_steps",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
