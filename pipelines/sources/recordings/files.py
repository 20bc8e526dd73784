"""The files of recordings, found by a folder's name or a pattern."""

import glob
import os

from pipelines.sources.formats.matching import Matches, matching


def files_below(argument: str, suffix: str) -> Matches:
    """The files of a pattern, or those with a suffix below a folder; SourceError if there are none."""
    if not os.path.isdir(argument):
        return matching(argument)
    return matching(os.path.join(glob.escape(argument), "**", "*" + suffix))
