"""The most bytes that a field of an episode may have: a few bytes of a damaged file could claim any size."""

MAX_FIELD_BYTES = 2**30


def check_field(path: str, what: str, size: int) -> None:
    """Raise ValueError if so many bytes are too many for a field of an episode."""
    if size > MAX_FIELD_BYTES:
        raise ValueError(
            f"{path}: {what} is more than {MAX_FIELD_BYTES} bytes, the most that a field of an episode may have: split"
            " the episode"
        )
