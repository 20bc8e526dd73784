"""Video: the frames of a file at chosen times, decoded once from front to back as long as the times ascend."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from gato_tokenize.storage.address import RemoteError, is_address
from gato_tokenize.storage.remote_file import open_file

STILL = 0.5  # mean difference in grey levels: two frames below it are one picture, encoded twice with loss
_THIN = 8  # every so many pixels of each side are compared


class Video:
    """One video file, of which the decoder stands at some frame.

    `frames` goes on from there if it can. It seeks where a key frame lies between the decoder and the first wanted
    frame, or where that frame is already past; a second call for later times decodes nothing twice.

    Raises ValueError naming the file if it is missing, is damaged, or holds no video, and RemoteError if its address
    gives no answer.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._before: Any = None  # the last two decoded frames, in order of time
        self._after: Any = None
        self._away: BinaryIO | None = None
        try:
            self._away = open_file(path) if is_address(path) else None
            source: Any = self._away or path
            self._container: Any = av.open(source)
            if not self._container.streams.video:
                raise ValueError("it holds no video")
            self._stream = self._container.streams.video[0]
            self._stream.codec_context.thread_count = 1  # a conversion has a process for each core already
            self._base = float(self._stream.time_base or 1)  # seconds of a tick
            self._reformatter = VideoReformatter()  # for all frames: that of a frame plans the conversion anew
            self._decoded: Iterator[Any] = self._container.decode(self._stream)
        except RemoteError:
            raise
        except (av.FFmpegError, OSError, ValueError) as error:
            raise ValueError(f"{path}: the video cannot be read: {error}") from error

    @property
    def count(self) -> int:
        """The number of frames that the file states; 0 if it states none."""
        return int(self._stream.frames)

    def close(self) -> None:
        self._container.close()
        if self._away is not None:
            self._away.close()

    def frames(self, times: Sequence[float], tolerance: float) -> Iterator[NDArray[np.uint8]]:
        """Yield uint8[height, width, 3] for each of `times`, in seconds and ascending: the frame that is nearest, at
        most `tolerance` away.

        Raises ValueError naming the time that has no frame, and for data that cannot be decoded; never yields a frame
        that the decoder calls damaged.
        """
        try:
            if times:
                self._go_to(times[0])
            last: tuple[Any, Any] = (None, None)
            for time in times:
                frame = self._nearest(time, tolerance)
                if frame is not last[0]:
                    last = frame, self._pixels(frame)
                yield last[1]
        except RemoteError:
            raise
        except (av.FFmpegError, OSError) as error:
            raise ValueError(f"{self.path}: the video is damaged: {error}") from error

    def _pixels(self, frame: Any) -> NDArray[np.uint8]:
        return np.asarray(self._reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray(), np.uint8)

    def _nearest(self, time: float, tolerance: float) -> Any:
        while self._after is None or self._seconds(self._after) < time:
            following = self._following()
            if following is None:
                break
            self._before, self._after = self._after, following
        near = [frame for frame in (self._before, self._after) if frame is not None]
        frame = min(near, key=lambda frame: abs(self._seconds(frame) - time), default=None)
        if frame is None:
            raise ValueError(f"{self.path}: the video holds no frame that can be decoded")
        away = abs(self._seconds(frame) - time)
        if away > tolerance:
            raise ValueError(
                f"{self.path}: no frame within {tolerance:g} s of {time:.6f} s: the nearest is {away:.6f} s away; if it"
                " is the right one, give a larger tolerance="
            )
        if frame.is_corrupt:
            raise ValueError(f"{self.path}: the frame at {time:.6f} s is damaged")
        return frame

    def _go_to(self, time: float) -> None:
        """Bring the decoder to a frame at or before `time`, without decoding what lies between if it can."""
        held = self._before or self._after
        passed = held is not None and held.pts > self._ticks(time)
        now = self._after.pts if self._after else 0
        key = self._key_frame(time)
        back = 0.0
        while passed or (key is not None and key > now):
            start = self._ticks(max(0.0, time - back))
            self._container.seek(start, stream=self._stream, backward=True)
            self._decoded = self._container.decode(self._stream)
            self._before, self._after = None, self._following()
            if start <= 0 or (self._after and self._after.pts <= self._ticks(time)):
                return
            # A seek goes by the order of decoding: it may land after the frame that is shown at `time`.
            passed, back = True, 2 * back + 1

    def _following(self) -> Any:
        """The next frame that has a time; None at the end."""
        return next((frame for frame in self._decoded if frame.pts is not None), None)

    def _key_frame(self, time: float) -> int | None:
        """The time of the last key frame at or before `time`, or None if the file has no index."""
        entries = self._stream.index_entries
        if not entries:
            return None
        # The index goes by the order of decoding, in which a key frame precedes its own time by a fixed delay.
        delay = (self._stream.start_time or 0) - entries[0].timestamp
        place = entries.search_timestamp(self._ticks(time) - delay, backward=True, any_frame=False)
        return None if place < 0 else int(entries[place].timestamp) + delay

    def _ticks(self, time: float) -> int:
        """Seconds in the unit of the file's own times."""
        return round(time / self._base)

    def _seconds(self, frame: Any) -> float:
        return float(frame.pts * self._base)


class Cameras:
    """The open videos of a partition: one a camera, so that each file is opened and decoded once."""

    def __init__(self) -> None:
        self._open: dict[str, Video] = {}

    def video(self, camera: str, path: str) -> Video:
        held = self._open.get(camera)
        if held is not None and held.path == path:
            return held
        self.drop(camera)
        return self._open.setdefault(camera, Video(path))

    def drop(self, camera: str) -> None:
        """Close a camera's video; the next call opens it anew. A decoder that raised cannot go on."""
        if camera in self._open:
            self._open.pop(camera).close()

    def close(self) -> None:
        for camera in list(self._open):
            self.drop(camera)


class Frames:
    """The frames of one camera in an episode, decoded when they are asked for, by a slice of its timesteps.

    times: seconds in the video, one a timestep. finish: brings a frame to the size in which it is kept, so that an
    episode never holds frames of the camera's own size. `longest_still` is the number of frames in the longest run
    that shows one picture.
    """

    def __init__(
        self,
        cameras: Cameras,
        camera: str,
        path: str,
        times: Sequence[float],
        tolerance: float,
        finish: Callable[[NDArray[np.uint8]], NDArray[np.uint8]],
    ) -> None:
        self._cameras, self._camera, self._path = cameras, camera, path
        self._times, self._tolerance, self._finish = times, tolerance, finish
        self.longest_still = 0
        self.stated = 0  # frames that the file states

    def __len__(self) -> int:
        return len(self._times)

    def __getitem__(self, rows: slice) -> NDArray[np.uint8]:
        """uint8[T, height, width, 3] of these timesteps."""
        times = self._times[rows]
        try:
            video = self._cameras.video(self._camera, self._path)
            self.stated = video.count
            kept = [self._finish(frame) for frame in self._watched(video.frames(times, self._tolerance))]
        except (ValueError, RemoteError) as error:
            self._cameras.drop(self._camera)
            if isinstance(error, RemoteError):
                raise
            raise ValueError(f"{self._camera}: {error}") from error
        if len({frame.shape for frame in kept}) > 1:
            raise ValueError(f"{self._camera}: {self._path}: the size of its frames changes")
        return np.stack(kept)

    def _watched(self, frames: Iterator[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
        """Pass frames on, and count the longest run of those that show one picture."""
        before, run = None, 0
        for frame in frames:
            thin = frame[::_THIN, ::_THIN].astype(np.int16)
            still = before is not None and before.shape == thin.shape and np.abs(thin - before).mean() < STILL
            run = run + 1 if still else 1
            self.longest_still = max(self.longest_still, run)
            before = thin
            yield frame
