"""What a source raises."""


class SourceError(ValueError):
    """The source cannot be planned at all: a file is missing, an option is unknown, a package is not installed."""


class Filtered(Exception):
    """`Candidate.load` raises it for data that is no episode by rule, such as a blank line. It is counted by its
    reason and is not a reject."""
