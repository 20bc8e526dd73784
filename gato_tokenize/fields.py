"""The values of a text or image field in T timesteps <-> tokens, by the tokenizer of its modality."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gato_tokenize.field_spec import ImageSpec
from gato_tokenize.modalities.image import PATCH, ImageTokenizer, Patches, target_size
from gato_tokenize.modalities.text import TextTokenizer


@dataclasses.dataclass(frozen=True)
class Encoded:
    """The tokens of one field in T timesteps.

    ids: int32[n], or one number for all. lengths: tokens in each timestep, int64[T], or one number for all. Images also
    have patches uint8[n, 16, 16, 3], grids int32[T, 2], and files: the bytes of each image's own file if a plain
    decoder gives the patches, else None.
    """

    ids: "int | NDArray[np.int32]"
    lengths: "int | NDArray[np.int64]"
    patches: NDArray[np.uint8] | None = None
    grids: NDArray[np.int32] | None = None
    files: tuple[bytes | None, ...] = ()


class TextField:
    """A text in each timestep; `ends`: the end piece closes it."""

    def __init__(self, tokenizer: TextTokenizer, ends: bool) -> None:
        self.tokenizer, self.ends = tokenizer, ends

    def encode(self, texts: Sequence[str]) -> Encoded:
        distinct = {text: i for i, text in enumerate(dict.fromkeys(texts))}  # an instruction repeats in every timestep
        ids = self.encode_each(list(distinct))
        chosen = [ids[distinct[text]] for text in texts]
        return Encoded(np.concatenate(chosen), np.array([len(row) for row in chosen], np.int64))

    def encode_each(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """int32[n] of each text, with its end piece."""
        ids = self.tokenizer.encode_batch(texts)
        if self.ends:
            end = np.array([self.tokenizer.end_id], np.int32)
            ids = [np.concatenate((row, end)) for row in ids]
        return ids

    def decode(self, ids: NDArray[np.int32], lengths: NDArray[np.int64]) -> list[str]:
        """int32[n] ids of T texts, int64[T] -> the texts, without their end pieces."""
        parts = np.split(ids, np.cumsum(lengths)[:-1])
        if self.ends:
            parts = [part[:-1] if len(part) and part[-1] == self.tokenizer.end_id else part for part in parts]
        known: dict[bytes, str] = {}
        for part in parts:
            if part.tobytes() not in known:
                known[part.tobytes()] = self.tokenizer.decode(part)
        return [known[part.tobytes()] for part in parts]


class ImageField:
    """A picture in each timestep. Raises ValueError if its `resize` is not in multiples of 16."""

    def __init__(self, spec: ImageSpec) -> None:
        self.tokenizer = ImageTokenizer(*(spec.resize or ()))
        self.decoded_spec = spec  # of the pictures that `decode` gives: resized, and without their alpha channel
        if spec.shape is not None:
            size = spec.resize or target_size(*spec.shape[:2])
            channels = spec.shape[2:] if spec.shape[2:] in ((), (1,)) else (3,)
            self.decoded_spec = dataclasses.replace(spec, shape=(*size, *channels))

    def encode(self, pictures: Any) -> Encoded:
        """uint8[T, *shape] of a field with a shape; else T pictures of any size (arrays, PIL images, files' bytes)."""
        return self._encode_frames(pictures) if self.decoded_spec.shape else self._encode_each(pictures)

    def _encode_frames(self, frames: NDArray[np.uint8]) -> Encoded:
        patches, (rows, columns) = self.tokenizer.encode_frames(frames), self._grid
        grids = np.tile(np.array((rows, columns), np.int32), (len(frames), 1))
        return Encoded(0, rows * columns, patches, grids, (None,) * len(frames))

    def _encode_each(self, pictures: Sequence[Any]) -> Encoded:
        images, files = [], []
        for picture in pictures:
            if isinstance(picture, bytes):
                image, plain = self.tokenizer.encode_file(picture)
                files.append(picture if plain else None)
            else:
                image = self.tokenizer.encode(picture)
                files.append(None)
            images.append(image)
        grids = np.array([image.grid for image in images], np.int32)
        lengths = grids.astype(np.int64).prod(axis=1)
        patches = np.concatenate([image.pixels for image in images])
        resize = self.decoded_spec.resize
        return Encoded(0, int(lengths[0]) if resize else lengths, patches, grids, tuple(files))

    @property
    def _grid(self) -> tuple[int, int]:
        """(rows, columns) of patches of every picture of a field with a shape."""
        assert self.decoded_spec.shape is not None
        height, width = self.decoded_spec.shape[:2]
        return height // PATCH, width // PATCH

    def decode(self, patches: NDArray[np.uint8], grids: NDArray[np.int32]) -> Any:
        """uint8[n, 16, 16, 3] of T pictures, their grids int32[T, 2] -> the pictures, as `decoded_spec` has them."""
        shape = self.decoded_spec.shape
        if shape is None:
            parts = np.split(patches, np.cumsum(grids.astype(np.int64).prod(axis=1))[:-1])
            pairs = zip(parts, grids.tolist(), strict=True)
            return [self.tokenizer.decode(Patches(part, (rows, columns))) for part, (rows, columns) in pairs]
        frames = patches.reshape(-1, *self._grid, PATCH, PATCH, 3).transpose(0, 1, 3, 2, 4, 5)
        frames = frames.reshape(-1, *shape[:2], 3)  # [T, height, width, 3]
        return frames if shape[2:] == (3,) else frames[..., 0].reshape(-1, *shape)  # grey came as three equal channels
