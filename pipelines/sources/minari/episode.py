"""EpisodeReader: an episode of a Minari dataset's HDF5 file, read by the spaces that describe it, JPEG decoded."""

from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from gato_tokenize import tuple_to_dict
from gato_tokenize.episode import FINAL_OBSERVATION
from pipelines.sources.formats.hdf5 import child, values_of
from pipelines.sources.minari.spaces import Box, Dict, Text, Tuple
from pipelines.sources.minari.values import decoded_pictures, text_of_value


class EpisodeReader:
    """Reads one `episode_N` group, and counts in `notes` what it leaves out or cannot restore.

    Raises ValueError that names the path of what is missing, has another length or shape, or cannot be decoded.
    """

    def __init__(self, file: h5py.File, number: int) -> None:
        self._group, self._root = child(file, f"episode_{number}", ""), f"episode_{number}"
        self.notes: dict[str, int] = {}
        self.rewards = self._flat("rewards", None)
        self.steps = len(self.rewards)
        if not self.steps:
            raise ValueError(f"{self._root}: the episode is empty: it has no rewards")
        said = self._group.attrs.get("total_steps", self.steps)
        if said != self.steps:
            raise ValueError(f"{self._root}: has {self.steps} rewards, but its total_steps says {said}")
        if not np.isfinite(self.rewards).all():
            raise ValueError(f"{self._root}/rewards: {self.rewards[~np.isfinite(self.rewards)][0]} is not finite")

    def observation(self, space: Any) -> Any:
        """Read the T observations at which the actions were taken; the last, which no action follows, is left out."""
        self.notes[FINAL_OBSERVATION] = 1
        return tuple_to_dict(self._tree("observations", space, self.steps + 1))

    def action(self, space: Any) -> Any:
        return tuple_to_dict(self._tree("actions", space, self.steps))

    def ended(self, by: str) -> bool:
        """Return the last of the `terminations` or `truncations`."""
        return bool(self._flat(by, self.steps)[-1])

    def success(self) -> int:
        """Return 1 if any step's info sets `success` (or `is_success`), 0 if none does, -1 if there is no such info."""
        infos = child(self._group, "infos", self._root) if "infos" in self._group else {}
        for key in ("success", "is_success"):
            if key in infos:
                values = values_of(child(infos, key, f"{self._root}/infos"), f"{self._root}/infos/{key}", None)
                if values.ndim == 1 and values.dtype.kind in "biuf":
                    return int((values[np.isfinite(values)] > 0).any())
        return -1

    def _flat(self, key: str, length: int | None) -> NDArray[Any]:
        """Read an array of one number a timestep."""
        path = f"{self._root}/{key}"
        values = values_of(child(self._group, key, self._root), path, length)
        if values.ndim != 1 or values.dtype.kind not in "biuf":
            raise ValueError(f"{path}: expected a number a timestep, got {values.dtype} of shape {list(values.shape)}")
        return values

    def _tree(self, key: str, space: Any, length: int) -> Any:
        return self._node(child(self._group, key, self._root), space, length, f"{self._root}/{key}")

    def _node(self, node: Any, space: Any, length: int, path: str) -> Any:
        if isinstance(space, Dict | Tuple):
            keys = list(space.spaces) if isinstance(space, Dict) else [f"_index_{i}" for i in range(len(space.spaces))]
            if not isinstance(node, h5py.Group):
                raise ValueError(f"{path}: expected a group with {keys}, got an array of shape {list(node.shape)}")
            if unknown := sorted(_unknown(node, keys, path)):
                raise ValueError(f"{path}: unknown {[key[:40] for key in unknown[:20]]}; its space has {keys}")
            members = space.spaces.values() if isinstance(space, Dict) else space.spaces
            read = [
                self._node(_member(node, key, path), member, length, f"{path}/{key}")
                for key, member in zip(keys, members, strict=True)
            ]
            return dict(zip(keys, read, strict=True)) if isinstance(space, Dict) else tuple(read)
        values = values_of(node, path, length)[: self.steps]
        if isinstance(space, Text):
            return [text_of_value(value, f"{path}[{i}]") for i, value in enumerate(values)]
        if isinstance(space, Box) and _is_encoded(node, space):
            return decoded_pictures(values, space, path, self.notes)
        return values


def _member(group: h5py.Group, key: str, path: str) -> Any:
    """Return the member of a key; HDF5 takes each "/" in it for a group, so `w/pos` lies in the group `w`."""
    for part in key.split("/"):
        group, path = child(group, part, path), f"{path}/{part}"
    return group


def _unknown(group: h5py.Group, keys: list[str], path: str, above: str = "") -> list[str]:
    """List the members that belong to none of the keys."""
    unknown = []
    for name in group:
        if any(key.startswith(f"{above}{name}/") for key in keys):
            inner = child(group, name, path)
            if isinstance(inner, h5py.Group):
                unknown += _unknown(inner, keys, f"{path}/{name}", f"{above}{name}/")
                continue
        unknown += [] if above + name in keys else [above + name]
    return unknown


def _is_encoded(node: h5py.Dataset, space: Box) -> bool:
    """Return whether pictures are rows of encoded bytes: of any lengths, or a matrix if all have the same length."""
    ragged = h5py.check_vlen_dtype(node.dtype) == np.uint8
    return ragged or (node.dtype == np.uint8 and node.ndim == 2 and len(space.shape) > 1)
