"""What a Box is taken for, pictures or numbers, and how its values become that field's.

A space says nothing of what its numbers mean. `read_box` decides by dtype, bounds and shape where only one meaning is
possible, and by the role that the user chose elsewhere. It never guesses between two meanings: a Box with the bounds
of pixels and with sides of pictures that fits no role of pictures needs a role as well.

    role             space                                   field
    image            [h, w] or [h, w, 1 or 3]                a picture
    frames           [h, w, k], [k, h, w]                    k pictures "0", "1", ...: stacked frames, in order
                     [k, h, w, c], [k, c, h, w]              the same, with c = 1, 3 or 4 channels; the fourth is alpha
    rgb-frames       [h, w, 3k] or [3k, h, w]                k pictures of 3 channels each, in order
    rgba             [h, w, 4]                               a picture; its alpha is dropped, and counted
    channels-first   [1, 3 or 4, h, w]                       a picture; the fourth channel is alpha
    discrete         integers of any shape                   whole numbers, shifted by their low bound
    continuous       any shape                               real numbers

A Box without bounds (`gato_tokenize.array_spaces.Box`) stands for an array of a file, whose range nobody may state:

    bool, 8-bit integers   in [0, 1] or their dtype's own range; then they are read as above
    wider integers         continuous in an observation; an action needs a role; as `discrete` they are in [0, 1024)
    floats                 continuous; with a picture's shape they need a role, and as pictures they are in [0, 1]
    a continuous action    each element in [-1, 1], or else in the smallest [-2^k, 2^k], that holds the values seen
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gato_tokenize.arrays import plain_array
from gato_tokenize.field_spec import ContinuousSpec, DiscreteSpec, FieldSpec, ImageSpec
from gato_tokenize.roles import MEANINGS, RoleError, Roles, Size

_CHANNELS = (1, 3, 4)
_STACKS = {"frames": 1, "rgb-frames": 3}  # {role: channels of each frame, where the frames share an axis}
SMALLEST_SIDE = 16  # in pixels: smaller arrays are grids of codes unless a role says otherwise
UNBOUNDED_SIZE = 1024  # of a discrete field whose range nobody states: the paper's values are in [0, 1024)


@dataclasses.dataclass(frozen=True)
class FieldReading:
    """One space of an environment, read: its field or fields, the reason, and how a value becomes theirs."""

    spec: FieldSpec | dict[str, FieldSpec]
    why: str
    convert: Callable[[Any], Any] | None = None  # takes array[..., *shape of the space]; None: nothing changes


def read_box(space: Any, path: str, roles: Roles) -> FieldReading:
    """Read a Box in the role that was chosen for its path, or else in the only one that it can have.

    Raises RoleError naming the possible roles if there are several, and for a role that the Box cannot have; ValueError
    if it has no elements, or bounds that no field can have.
    """
    role, resize, is_action = roles.of(path), roles.size_of(path), path.split("/")[0] == "action"
    box = _Box(space, is_action)
    if role:
        return box.read(role, resize, f"chosen: {role}")
    if is_action:
        if box.numbers == "discrete" and box.unbounded:
            raise RoleError(_ambiguous(box, path, ["discrete", "continuous"]))
        return box.read(box.numbers, resize, f"{box.text} is an action")
    pictures = box.pictures() if box.full or box.unit or (box.unbounded and box.dtype.kind == "f") else []
    if "image" in pictures and box.full:
        return box.read("image", resize, f"{box.text} has a picture's shape and bounds")
    if pictures:
        raise RoleError(_ambiguous(box, path, [*pictures, box.numbers]))
    if (box.full or box.unit) and box.may_hold_pictures:
        raise RoleError(
            f"{box.text} may hold pictures, but in no order of axes that a role has: give them as [h, w],"
            f" [h, w, 1 or 3] or stacked frames, one field for each camera, or choose roles={path}:{box.numbers}"
            f" ({MEANINGS[box.numbers]})"
        )
    numbers = "continuous" if box.unbounded else box.numbers
    return box.read(numbers, resize, f"{box.text} is {'' if numbers == 'continuous' else 'no picture but '}"
                                     f"{MEANINGS[numbers]}")  # fmt: skip


class _Box:
    """A Box with the facts that decide what it can be."""

    def __init__(self, space: Any, is_action: bool) -> None:
        self.shape, self.dtype, self.is_action = tuple(space.shape), np.dtype(space.dtype), is_action
        if self.dtype.kind not in "fiub":
            raise ValueError(f"no field can stand for a Box of {self.dtype}")
        low, high, self.unbounded = _bounds_of(space, self.dtype)
        self.low, self.high = np.asarray(low), np.asarray(high)
        self.seen = getattr(space, "seen", None)
        self.numbers = "continuous" if self.dtype.kind == "f" else "discrete"
        self.full = self.dtype == np.uint8 and self._bounds(0, 255)
        self.unit = self.dtype.kind == "f" and self._bounds(0, 1)
        bounds = f"from {self.low.min()} to {self.high.max()}" if self.low.size else "without elements"
        if self.unbounded:
            bounds = "without a stated range"
        self.text = f"{self.dtype}{list(self.shape)} {bounds}"

    def _bounds(self, low: float, high: float) -> bool:
        return self.low.size > 0 and bool((self.low == low).all() and (self.high == high).all())

    def read(self, role: str, resize: Size | None, why: str) -> FieldReading:
        if role == "continuous":
            spec = self._continuous()
            if self.unbounded and self.is_action:
                why += f": from {np.min(spec.low):g} to {np.max(spec.high):g}, " + self._looked_at
            return FieldReading(spec, why, None if self.dtype.kind == "f" else _as_float32)
        if role == "discrete":
            if self.dtype.kind == "f":
                raise RoleError(f"{self.text} holds no whole numbers, so its role cannot be discrete")
            if self.unbounded:
                return FieldReading(DiscreteSpec(UNBOUNDED_SIZE, self.shape), f"{why}, from 0 to {UNBOUNDED_SIZE - 1}")
            low, high = self.low.astype(object), self.high.astype(object)  # no overflow at 2^63
            return FieldReading(DiscreteSpec(high - low + 1, self.shape, low), why)
        if self.is_action:
            raise RoleError(f"an action is discrete or continuous, so its role cannot be {role}")
        return self._picture(role, resize, why)

    def pictures(self) -> list[str]:
        """List the roles in which the Box is one picture, or several, with sides of at least 16."""
        possible = []
        for role in MEANINGS:
            with contextlib.suppress(RoleError):
                specs = self._picture(role, None, "").spec
                several = list(specs.values()) if isinstance(specs, dict) else [specs]
                sides = getattr(several[0], "shape", None) or (0, 0)
                if min(sides[:2]) >= SMALLEST_SIDE and (role not in _STACKS or len(several) > 1):
                    possible.append(role)
        return possible

    @property
    def may_hold_pictures(self) -> bool:
        """True if at least two of at least three axes are as long as the side of a picture."""
        return len(self.shape) > 2 and sum(side >= SMALLEST_SIDE for side in self.shape) > 1

    def _continuous(self) -> ContinuousSpec:
        if not self.is_action:
            return ContinuousSpec(self.shape)
        if self.unbounded:
            high = np.broadcast_to(_power_of_two(*self.seen) if self.seen else 1.0, self.shape)
            return ContinuousSpec(self.shape, -high, high)
        # An element with a bound that is infinite, or beyond float32's range, has the paper's [-1, 1].
        low, high = self.low.astype(np.float64), self.high.astype(np.float64)
        finite = np.maximum(np.abs(low), np.abs(high)) <= np.finfo(np.float32).max
        return ContinuousSpec(self.shape, np.where(finite, low, -1.0), np.where(finite, high, 1.0))

    @property
    def _looked_at(self) -> str:
        return "which holds the values of the first episodes" if self.seen else "as nobody states another range"

    def _picture(self, role: str, resize: Size | None, why: str) -> FieldReading:
        scale = self._scale(role)
        if role in _STACKS:
            axis, count, shape, first = _stack_of(self.shape, _STACKS[role])
            keys = numbered(count)
            convert = functools.partial(_frames, scale=scale, axis=axis, keys=tuple(keys), first=first)
            why = f"{why}, {count} along axis {axis} of {self.text}"
            return FieldReading({key: ImageSpec(shape, resize) for key in keys}, why, convert)
        shape = self._picture_shape(role)
        if role == "channels-first":
            return FieldReading(ImageSpec(shape, resize), why, functools.partial(_channels_last, scale=scale))
        return FieldReading(ImageSpec(shape, resize), why, functools.partial(_pixels, scale=scale) if scale else None)

    def _scale(self, role: str) -> float:
        """Return the factor that brings values to pixels of 0 to 255; 0 for uint8, which stays as it is."""
        if self.dtype == np.uint8:
            return 0.0
        if self.unit or (self.unbounded and self.dtype.kind == "f"):
            return 255.0
        if self.unbounded:
            return 1.0
        if self.low.size and self.low.min() >= 0 and self.high.max() <= 255:
            return 1.0
        raise RoleError(f"{self.text} holds no pixels of 0 to 255 or 0 to 1, so its role cannot be {role}")

    def _picture_shape(self, role: str) -> tuple[int, ...]:
        """Return [height, width(, channels)] of a picture in this role."""
        shape = self.shape
        if role == "channels-first" and len(shape) == 3 and shape[0] in _CHANNELS:
            return (*shape[1:], shape[0])
        if role == "rgba" and len(shape) == 3 and shape[2] == 4:
            return shape
        if role == "image" and len(shape) in (2, 3) and shape[2:] in ((), (1,), (3,)):
            return shape
        raise RoleError(f"{self.text} has not the shape of {MEANINGS[role]}: its role cannot be {role}")


def _bounds_of(space: Any, dtype: np.dtype[Any]) -> tuple[Any, Any, bool]:
    """(low, high, whether nobody states them): those of the space, or of an integer dtype with few values."""
    shape = tuple(space.shape)
    if space.low is not None:
        return space.low, space.high, False
    if dtype.kind == "b":
        return np.zeros(shape, bool), np.ones(shape, bool), False
    if dtype.kind in "iu" and dtype.itemsize == 1:
        info = np.iinfo(dtype)
        return np.full(shape, info.min, dtype), np.full(shape, info.max, dtype), False
    return np.zeros(shape, dtype), np.zeros(shape, dtype), True


def _power_of_two(low: NDArray[Any], high: NDArray[Any]) -> NDArray[np.float64]:
    """The smallest power of two, from 1, that is at least as far from 0 as the values from `low` to `high`.

    >>> _power_of_two(np.array([-0.5, -3]), np.array([1, 4]))
    array([1., 4.])
    """
    furthest = np.maximum(np.abs(np.asarray(low, np.float64)), np.abs(np.asarray(high, np.float64)))
    return np.asarray(2.0 ** np.ceil(np.log2(np.clip(furthest, 1.0, 2.0**127))))


def _ambiguous(box: _Box, path: str, roles: list[str]) -> str:
    *choices, last = (f"{role} ({MEANINGS[role]})" for role in roles)
    ways = f"{', '.join(choices)} or {last}"
    return f"{box.text} can be more than one thing: choose by roles={path}:ROLE, where ROLE is {ways}"


def _stack_of(shape: tuple[int, ...], channels: int) -> tuple[int, int, tuple[int, ...], bool]:
    """Return (the stack's axis counted from the end, the number of frames, the [h, w] or [h, w, c] that each becomes,
    whether its channels come first).

    The smaller of the first and the last of three axes is the stack's; of four axes it is the first.
    """
    if len(shape) == 4 and channels == 1 and (shape[1] in _CHANNELS) != (shape[3] in _CHANNELS):
        first = shape[1] in _CHANNELS
        return -4, shape[0], (*shape[2:], shape[1]) if first else shape[1:], first
    if len(shape) != 3 or shape[0] == shape[2]:
        orders = "[h, w, k], [k, h, w], [k, h, w, c] or [k, c, h, w] with c = 1, 3 or 4 channels"
        raise RoleError(
            f"frames are stacked as {orders if channels == 1 else '[h, w, 3k] or [3k, h, w]'}, not {list(shape)}"
        )
    axis = -3 if shape[0] < shape[2] else -1
    total, sides = (shape[0], shape[1:]) if axis == -3 else (shape[2], shape[:2])
    if total % channels:
        raise RoleError(f"{total} channels along axis {axis} of {list(shape)} do not make frames of {channels}")
    if channels == 1:
        return axis, total, sides, False
    return axis, total // channels, (*sides, channels), axis == -3


def numbered(count: int) -> list[str]:
    """Return the keys of `count` members, zero-padded so that the order of the keys is theirs.

    >>> numbered(3), numbered(11)[-2:]
    (['0', '1', '2'], ['09', '10'])
    """
    return [f"{i:0{len(str(max(count - 1, 0)))}d}" for i in range(count)]


def _as_float32(value: Any) -> NDArray[np.float32]:
    return plain_array(value, np.float32)


def _pixels(value: Any, scale: float) -> NDArray[Any]:
    """Bring values to uint8 pixels. Raises ValueError naming the first that is no pixel."""
    array = plain_array(value)
    if not scale:
        return array
    levels = array * scale
    wrong = ~((levels >= 0) & (levels <= 255))  # NaN too
    if wrong.any():
        index = [int(i) for i in np.argwhere(wrong)[0]]
        raise ValueError(f"{array[tuple(index)]} at index {index} is outside [0, {255 / scale:g}], the range of pixels")
    return np.rint(levels).astype(np.uint8)


def _channels_last(value: Any, scale: float) -> NDArray[Any]:
    return np.moveaxis(_pixels(value, scale), -3, -1)


def _frames(value: Any, scale: float, axis: int, keys: tuple[str, ...], first: bool) -> dict[str, NDArray[Any]]:
    """Split [..., stacked frames] into {key: [..., frame]}; `first`: the channels of each frame come first."""
    array = _pixels(value, scale)
    channels = array.shape[axis] // len(keys)
    parts = [np.take(array, range(i * channels, (i + 1) * channels), axis) for i in range(len(keys))]
    if axis == -4 or channels == 1:
        parts = [part.squeeze(axis) for part in parts]
    return {key: np.moveaxis(part, -3, -1) if first else part for key, part in zip(keys, parts, strict=True)}
