"""The spec of one field: text, an image, discrete or continuous values."""

import dataclasses
import math
import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gato_tokenize.arrays import check_unmasked, plain_array

_FLOAT32_MAX = float(np.finfo(np.float32).max)


def _whole(value: Any, name: str) -> int:
    try:
        return operator.index(value)
    except TypeError as error:  # int() would cut 2.5 to 2
        raise ValueError(f"{name} must be whole numbers, not {value!r}") from error


def _real(value: Any, name: str) -> float:
    """A number that float32 can hold; -0.0 becomes 0.0, so that equal specs have equal JSON."""
    if not isinstance(value, int | float | np.integer | np.floating) or not -_FLOAT32_MAX <= value <= _FLOAT32_MAX:
        raise ValueError(f"{name} must be finite numbers that float32 can hold, not {value!r}")
    return float(value) + 0.0


def check_bool(value: Any, name: str) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, not {value!r}")


def _shape(value: Any, name: str) -> tuple[int, ...]:
    shape = tuple(_whole(side, name) for side in ((value,) if np.ndim(value) == 0 else value))
    if any(side < 1 for side in shape):
        raise ValueError(f"{name} must have sides of at least 1, not {shape}")
    return shape


def _per_element(value: Any, shape: tuple[int, ...], cast: Callable[[Any, str], Any], name: str) -> Any:
    """One number for all elements, or a row-major tuple with one for each; equal elements become one number."""
    array = plain_array(value, object, name)  # as Python's numbers: numpy makes a float of a list with -1 and 2^63
    flat = tuple(cast(v, name) for v in array.ravel().tolist())
    if array.ndim == 0:
        return flat[0]
    if len(flat) != math.prod(shape) or (array.ndim > 1 and array.shape != shape):
        raise ValueError(f"{name} has shape {array.shape}, the field {shape}")
    return flat[0] if all(v == flat[0] for v in flat) else flat


def _stacked(
    value: Any, shape: tuple[int, ...], steps: int | None, path: str, what: str, kinds: str, hint: str = ""
) -> NDArray[Any]:
    """Return `value` as an array of the field's shape, with a leading time axis if `steps` is given.

    kinds: the characters of the dtypes that it may have, or of their kinds. Raises ValueError, which names the index of
    the first timestep that does not fit if `value` is a list of them.
    """
    expected = shape if steps is None else (steps, *shape)
    check_unmasked(value, path)
    try:
        array = np.asarray(value)
        found = f"{array.dtype} of shape {list(array.shape)}"
    except ValueError:  # numpy raises it for lists of unequal lengths
        array, found = None, "ragged lists"
    if array is not None and array.shape == expected and {array.dtype.kind, array.dtype.char} & set(kinds):
        return array
    if steps is not None and isinstance(value, list | tuple) and len(value) == steps:
        for i, member in enumerate(value):
            _stacked(member, shape, None, f"{path}[{i}]", what, kinds, hint)
    if array is not None and array.shape == expected:
        raise ValueError(f"{path}: expected {what}, got {array.dtype}{hint}")
    raise ValueError(f"{path}: expected {what} of shape {list(expected)}, got {found}")


@dataclasses.dataclass(frozen=True)
class TextSpec:
    """A text. With `predict=False` it is not in the loss (figure 2 masks the question of a VQA pair)."""

    predict: bool = True

    def __post_init__(self) -> None:
        check_bool(self.predict, "predict")

    def validate(self, value: Any, path: str = "value", steps: int | None = None) -> Any:
        for i, text in enumerate([value] if steps is None else _sequence(value, steps, path, "str")):
            if not isinstance(text, str):
                raise ValueError(f"{path}{'' if steps is None else f'[{i}]'}: expected str, got {type(text).__name__}")
        return value

    def describe(self) -> str:
        return "text" if self.predict else "text, not predicted"

    def example(self, generator: np.random.Generator) -> str:
        words = ["go", "to", "the", "red", "ball", "behind", "the", "door"]
        return " ".join(words[: int(generator.integers(1, len(words) + 1))])


@dataclasses.dataclass(frozen=True)
class ImageSpec:
    """A picture of uint8 pixels.

    shape: [height, width] or [height, width, 1, 3 or 4]; None for pictures of any size (arrays, PIL images, files).
    resize: the [height, width], in multiples of 16, that every picture is brought to; None for the multiples of 16
        that are nearest to its own sides, at least 16.
    """

    shape: tuple[int, ...] | None = None
    resize: tuple[int, int] | None = None

    if TYPE_CHECKING:  # the fields hold tuples, whatever they are made from

        def __init__(self, shape: Sequence[int] | None = None, resize: Sequence[int] | None = None) -> None: ...

    def __post_init__(self) -> None:
        if self.shape is not None:
            shape = _shape(self.shape, "an image's shape")
            if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3, 4)):
                raise ValueError(f"an image is [height, width] or [height, width, 1, 3 or 4], not {shape}")
            object.__setattr__(self, "shape", shape)
        if self.resize is not None:
            resize = _shape(self.resize, "resize")
            if len(resize) != 2 or any(side % 16 for side in resize):
                raise ValueError(f"resize must be [height, width] in multiples of 16, not {resize}")
            object.__setattr__(self, "resize", resize)

    def validate(self, value: Any, path: str = "value", steps: int | None = None) -> Any:
        if self.shape is None:
            for i, picture in enumerate([value] if steps is None else _sequence(value, steps, path, "image")):
                if not (isinstance(picture, bytes | bytearray) or hasattr(picture, "tobytes")):  # arrays and PIL's
                    where = path if steps is None else f"{path}[{i}]"
                    raise ValueError(f"{where}: expected an image or its file's bytes, got {type(picture).__name__}")
            return value
        return _stacked(value, self.shape, steps, path, "uint8", "B", ": scale the pixels to 0..255 first")

    def describe(self) -> str:
        size = "any size" if self.shape is None else f"uint8{list(self.shape)}"
        return f"image, {size}" + (f", resized to {list(self.resize)}" if self.resize else "")

    def example(self, generator: np.random.Generator) -> NDArray[np.uint8]:
        return generator.integers(0, 256, self.shape or (32, 48, 3), dtype=np.uint8)


@dataclasses.dataclass(frozen=True)
class DiscreteSpec:
    """Whole numbers in [low, low + size): one, or an array. `size` and `low` hold for all elements, or one for each."""

    size: int | tuple[int, ...]
    shape: tuple[int, ...] = ()
    low: int | tuple[int, ...] = 0

    if TYPE_CHECKING:

        def __init__(self, size: ArrayLike, shape: int | Sequence[int] = (), low: ArrayLike = 0) -> None: ...

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", _shape(self.shape, "a discrete field's shape"))
        for name in ("size", "low"):
            object.__setattr__(self, name, _per_element(getattr(self, name), self.shape, _whole, name))
        if np.min(self.size) < 1:
            raise ValueError(f"a discrete field has at least one value, not size {self.size}")
        if np.min(self.low) < -(2**63) or any(last >= 2**63 for last in self._last().ravel().tolist()):
            raise ValueError(f"a discrete field's values must fit int64, not size {self.size} from low {self.low}")

    def _last(self) -> NDArray[np.object_]:
        """The largest legal value, or one for each element."""
        return np.asarray(np.asarray(self.low, object) + np.asarray(self.size, object) - 1, object)

    def bounds(self) -> tuple[Any, Any]:
        """(low, size), each an int or an array of the field's shape."""
        return tuple(v if isinstance(v, int) else np.array(v).reshape(self.shape) for v in (self.low, self.size))  # type: ignore[return-value]

    def validate(self, value: Any, path: str = "value", steps: int | None = None) -> NDArray[Any]:
        array = _stacked(value, self.shape, steps, path, "whole numbers", "iub")
        low, last = self.bounds()[0], self._last().astype(np.int64)
        last = last.reshape(self.shape) if last.ndim else last
        outside = (array < low) | (array > last)  # not by their difference, which may overflow int64
        if outside.any():
            index = tuple(int(i) for i in np.argwhere(outside)[0])
            first, final = (int(np.broadcast_to(b, array.shape)[index]) for b in (low, last))
            where = f" at index {list(index)}" if index else ""
            raise ValueError(f"{path}: {array[index]}{where} is outside [{first}, {final + 1})")
        return array

    def describe(self) -> str:
        return f"discrete, int{list(self.shape)}, size {self.size}" + (f", low {self.low}" if self.low else "")

    def example(self, generator: np.random.Generator) -> NDArray[np.int64]:
        low, size = self.bounds()
        most = np.asarray(np.minimum(np.asarray(size, object), 2**62), np.int64)  # a size may be 2**64
        return np.asarray(low + generator.integers(0, most, self.shape))


@dataclasses.dataclass(frozen=True)
class ContinuousSpec:
    """Real numbers: one, or an array.

    `low` and `high` matter only in an action, where they are mapped to [-1, 1], the one range of paper section 2.1.
    Observations are companded, whatever their range.
    """

    shape: tuple[int, ...] = ()
    low: float | tuple[float, ...] = -1.0
    high: float | tuple[float, ...] = 1.0

    if TYPE_CHECKING:

        def __init__(self, shape: int | Sequence[int] = (), low: ArrayLike = -1.0, high: ArrayLike = 1.0) -> None: ...

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", _shape(self.shape, "a continuous field's shape"))
        for name in ("low", "high"):
            object.__setattr__(self, name, _per_element(getattr(self, name), self.shape, _real, name))
        if not np.less(self.low, self.high).all():
            raise ValueError(f"low must be below high, not low {self.low}, high {self.high}")

    def bounds(self) -> tuple[Any, Any]:
        """(low, high), each a float or an array of the field's shape."""
        return tuple(v if isinstance(v, float) else np.array(v).reshape(self.shape) for v in (self.low, self.high))  # type: ignore[return-value]

    def validate(self, value: Any, path: str = "value", steps: int | None = None) -> NDArray[Any]:
        array = _stacked(value, self.shape, steps, path, "real numbers", "fiu")
        finite = np.isfinite(array)
        if not finite.all():
            index = tuple(int(i) for i in np.argwhere(~finite)[0])
            raise ValueError(f"{path}: {array[index]}{f' at index {list(index)}' if index else ''} is not finite")
        return array

    def describe(self) -> str:
        bounds = "" if (self.low, self.high) == (-1.0, 1.0) else f", from {self.low} to {self.high}"
        return f"continuous, float32{list(self.shape)}{bounds}"

    def example(self, generator: np.random.Generator) -> NDArray[np.float32]:
        low, high = self.bounds()
        return np.asarray(generator.uniform(low, high, self.shape), np.float32)


FieldSpec: TypeAlias = TextSpec | ImageSpec | DiscreteSpec | ContinuousSpec
TYPES: dict[str, type[FieldSpec]] = {
    "text": TextSpec,
    "image": ImageSpec,
    "discrete": DiscreteSpec,
    "continuous": ContinuousSpec,
}


def _sequence(value: Any, steps: int, path: str, what: str) -> Any:
    if isinstance(value, str | bytes) or not hasattr(value, "__len__"):
        raise ValueError(f"{path}: expected a sequence of {steps} {what}, got {type(value).__name__}")
    if getattr(value, "shape", None) == ():  # such an array has a __len__ that raises TypeError
        raise ValueError(f"{path}: expected a sequence of {steps} {what}, got an array without axes")
    if len(value) != steps:
        raise ValueError(f"{path}: expected {steps} {what}, got {len(value)}")
    return value
