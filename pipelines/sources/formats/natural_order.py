"""The order of numbered names."""

import re


def natural_key(name: str) -> list[tuple[int, str]]:
    """A key that sorts numbers in names by their value.

    >>> sorted(["demo_10", "demo_2", "demo_1", "other"], key=natural_key)
    ['demo_1', 'demo_2', 'demo_10', 'other']
    """
    parts = re.split(r"([0-9]+)", name)
    return [(int(part), "") if i % 2 else (-1, part) for i, part in enumerate(parts)] + [(-1, name)]
