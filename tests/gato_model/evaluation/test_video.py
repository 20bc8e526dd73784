import subprocess

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from gato_model.evaluation.video import write_video

FRAMES = [np.full((20, 33, 3), shade, np.uint8) for shade in (0, 120, 240)]


def test_a_gif_holds_the_frames(tmp_path):
    write_video(tmp_path / "out.gif", FRAMES)
    with Image.open(tmp_path / "out.gif") as gif:
        assert (gif.n_frames, gif.size, gif.info["duration"]) == (3, (33, 20), 100)
        for number, frame in enumerate(FRAMES):
            gif.seek(number)
            assert np.array_equal(np.asarray(gif.convert("RGB")), frame)


def test_an_mp4_holds_the_frames(tmp_path):
    write_video(tmp_path / "out.MP4", FRAMES * 5)
    words = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", tmp_path / "out.MP4", "-f", "rawvideo"]
    done = subprocess.run([*words, "-pix_fmt", "rgb24", "-"], capture_output=True, check=True)
    read = np.frombuffer(done.stdout, np.uint8).reshape(-1, 20, 32, 3)  # even sides
    assert len(read) == 15
    shades = np.array([0, 120, 240] * 5)
    assert np.abs(read.mean(axis=(1, 2, 3)) - shades).max() < 8


@pytest.mark.parametrize("frames", [[], [FRAMES[0], FRAMES[0][:10]], [FRAMES[0][..., 0]]])
def test_frames_that_make_no_video(tmp_path, frames):
    with pytest.raises(ValueError, match="frames of one size"):
        write_video(tmp_path / "out.gif", frames)


def test_where_it_cannot_go(tmp_path):
    with pytest.raises(ValueError, match=r"a video is .gif or .mp4, not 'out.avi'"):
        write_video(tmp_path / "out.avi", FRAMES)
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        write_video(tmp_path / "none" / "out.gif", FRAMES)
