"""Video: the right frame for each time, whatever lies between key frames, and nothing decoded twice."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from lerobot_files import FPS, shown, write_video

from pipelines.sources.formats.video import Cameras, Frames, Video


@pytest.fixture(params=[1, 2, 12, 500])
def path(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    write_video(tmp_path / "a.mp4", range(60), gop=request.param)
    return tmp_path / "a.mp4"


def read(video: Video, rows: Any, tolerance: float = 1e-4) -> list[int]:
    return [shown(frame) for frame in video.frames([row / FPS for row in rows], tolerance)]


def count_decoded(video: Video, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list with one number, that of the frames decoded from now on."""
    count = [0]
    following = Video._following

    def counted(self: Video) -> Any:
        frame = following(self)
        count[0] += frame is not None
        return frame

    monkeypatch.setattr(Video, "_following", counted)
    return count


def test_frames_in_any_order_of_calls(path: Path) -> None:
    video = Video(str(path))
    generator = np.random.default_rng(0)
    for _ in range(40):
        start = int(generator.integers(0, 55))
        rows = range(start, start + int(generator.integers(1, 5)), int(generator.integers(1, 3)))
        assert read(video, rows) == list(rows)
    assert video.count == 60


def test_the_pixels_are_those_that_pyav_gives(path: Path) -> None:
    with av.open(str(path)) as container:
        expected = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    found = list(Video(str(path)).frames([row / FPS for row in range(60)], 1e-4))
    assert np.array_equal(found, expected) and found[0].dtype == np.uint8


def test_neighbouring_calls_decode_each_frame_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = Video(str(path))
    decoded = count_decoded(video, monkeypatch)
    for start in range(0, 60, 7):
        rows = range(start, min(start + 7, 60))
        assert read(video, rows) == list(rows)
    assert decoded == [60]


def test_a_distant_call_begins_at_a_key_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "a.mp4", range(60), gop=12)
    video = Video(str(tmp_path / "a.mp4"))
    decoded = count_decoded(video, monkeypatch)
    assert read(video, [50]) == [50]
    assert decoded[0] <= 14
    assert read(video, [2]) == [2]
    assert decoded[0] <= 30


def test_the_nearest_frame_within_the_tolerance(path: Path) -> None:
    video = Video(str(path))
    assert read(video, [2.4, 2.6, 59.4], tolerance=0.041) == [2, 3, 59]
    assert read(video, [-0.4], tolerance=0.041) == [0]
    with pytest.raises(ValueError, match=r"no frame within 0\.039 s of 0\.240000 s: the nearest is 0\.040000 s away"):
        read(video, [2.4], tolerance=0.039)
    with pytest.raises(ValueError, match="no frame within"):
        read(video, [60])


def test_one_frame_for_several_times(path: Path) -> None:
    assert read(Video(str(path)), [3, 3, 3]) == [3, 3, 3]


@pytest.mark.parametrize(("data", "message"), [(None, "No such file"), (b"", "cannot be read"), (b"x" * 999, "cannot")])
def test_what_is_no_video_is_named(tmp_path: Path, data: bytes | None, message: str) -> None:
    if data is not None:
        (tmp_path / "a.mp4").write_bytes(data)
    with pytest.raises(ValueError, match=f"a.mp4: the video cannot be read: .*{message if data is None else ''}"):
        Video(str(tmp_path / "a.mp4"))


class TestFrames:
    @pytest.fixture
    def cameras(self) -> Iterator[Cameras]:
        cameras = Cameras()
        yield cameras
        cameras.close()

    def frames(self, cameras: Cameras, path: Path, count: int, finish: Any = lambda frame: frame) -> Frames:
        return Frames(cameras, "eye", str(path), [row / FPS for row in range(count)], 1e-4, finish)

    def test_a_slice_is_decoded(self, cameras: Cameras, path: Path) -> None:
        frames = self.frames(cameras, path, 20)
        assert len(frames) == 20
        assert [shown(frame) for frame in frames[4:12:3]] == [4, 7, 10]

    def test_a_camera_that_stands_still(self, cameras: Cameras, tmp_path: Path) -> None:
        write_video(tmp_path / "a.mp4", [1, 2, *[3] * 9, 4, 4], gop=4)
        frames = self.frames(cameras, tmp_path / "a.mp4", 13)
        assert frames[:].shape == (13, 32, 32, 3) and frames.longest_still == 9

    def test_one_file_a_camera_is_open(self, cameras: Cameras, path: Path) -> None:
        video = cameras.video("eye", str(path))
        assert cameras.video("eye", str(path)) is video
        cameras.drop("eye")
        assert cameras.video("eye", str(path)) is not video

    def test_a_size_that_changes_is_named(self, cameras: Cameras, path: Path) -> None:
        sizes = iter([32, 16])
        with pytest.raises(ValueError, match="eye: .*the size of its frames changes"):
            self.frames(cameras, path, 2, lambda frame: frame[: next(sizes)])[:]
