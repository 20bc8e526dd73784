"""A decoded episode: its pictures written to files, its values as text."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gato_tokenize import Episode
from gato_tokenize.field_spec import ImageSpec

_FRAME_MILLISECONDS = 120


def save_frames(episode: Episode, path: Path, field: str | None = None) -> int:
    """Save the pictures of an image field: all as one .gif, the first as a .png, or all into a folder.

    `path` decides by its suffix; `field` is the first image field if it is not given. Returns the number of pictures.
    Raises ValueError if the episode has no image field, or none of this name.
    """
    paths = [name for name, spec in episode.spec.fields.items() if isinstance(spec, ImageSpec)]
    if not paths or (field and field not in paths):
        raise ValueError(f"no image field{f' {field!r}' if field else ''} in this episode; image fields: {paths}")
    frames = [Image.fromarray(np.asarray(frame).squeeze()) for frame in episode.fields[field or paths[0]]]
    if path.suffix == ".gif":
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=_FRAME_MILLISECONDS, loop=0)
        return len(frames)
    if path.suffix == ".png":
        frames[0].save(path)
        return 1
    path.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames):
        frame.save(path / f"{number:05d}.png")
    return len(frames)


def plain(value: Any) -> str:
    """Return one timestep's value of a field as a line of at most about 200 characters."""
    text = (
        repr(value)
        if isinstance(value, str)
        else np.array2string(np.asarray(value), precision=4, threshold=20, max_line_width=10**6)
    )
    return text if len(text) <= 200 else f"{text[:200]}..."
