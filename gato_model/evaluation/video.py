"""Write an episode's pictures to a file: GIF by Pillow, MP4 by imageio."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SUFFIXES = (".gif", ".mp4")
FRAMES_PER_SECOND = 10


def check_video_path(path: Path) -> None:
    """Check a path before anything is played.

    Raises ValueError for a suffix not in SUFFIXES, FileNotFoundError if the folder does not exist.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"a video is {' or '.join(SUFFIXES)}, not {path.name!r}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent} is not a folder: the video cannot be written")


def write_video(path: Path, frames: Sequence[NDArray[np.uint8]], frames_per_second: int = FRAMES_PER_SECOND) -> None:
    """Write frames, each uint8[height, width, 3] of one size, in the format of the suffix; replace an existing file.

    Raises ValueError for no frames, or frames of different sizes.
    """
    check_video_path(path)
    shapes = {frame.shape for frame in frames}
    if len(shapes) != 1 or any(len(shape) != 3 or shape[2] != 3 for shape in shapes):
        raise ValueError(f"a video needs frames of one size, uint8[height, width, 3], not {sorted(shapes) or 'none'}")
    if path.suffix.lower() == ".gif":
        first, *rest = (Image.fromarray(frame) for frame in frames)
        first.save(path, save_all=True, append_images=rest, duration=1000 // frames_per_second, loop=0)
    else:
        import imageio.v2

        even = [
            frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2] for frame in frames
        ]  # H.264 needs even sides
        imageio.v2.mimwrite(path, even, fps=frames_per_second, macro_block_size=2)
