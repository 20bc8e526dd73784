"""HDF5 files that cannot be trusted: no link is followed, and no claimed size is believed."""

from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

MAX_FIELD_BYTES = 2**30  # of one field of an episode: a few bytes of a damaged file could claim any size


def child(group: Any, key: str, path: str) -> Any:
    """Return group[key] if it lies in this very file; ValueError otherwise."""
    path = f"{path}/{key}" if path else key
    link = group.get(key, getlink=True) if isinstance(group, h5py.Group) else None
    if link is None:
        raise ValueError(f"{path}: missing")
    if not isinstance(link, h5py.HardLink):
        raise ValueError(f"{path}: is a link, perhaps into another file; it is not followed")
    return group[key]


def values_of(node: Any, path: str, length: int | None) -> NDArray[Any]:
    """Read an array with a time axis, of `length` entries if that is given; ValueError names the fault."""
    if not isinstance(node, h5py.Dataset) or node.shape is None or not node.shape:
        raise ValueError(f"{path}: expected an array with a time axis")
    if length is not None and node.shape[0] != length:
        raise ValueError(f"{path}: expected {length} entries, one a timestep, got {node.shape[0]}")
    if node.is_virtual or node.external:
        raise ValueError(f"{path}: its values are in another file; it is not followed")
    if node.size * node.dtype.itemsize > MAX_FIELD_BYTES:
        raise ValueError(
            f"{path}: {node.dtype} of shape {list(node.shape)} is more than {MAX_FIELD_BYTES} bytes, the most that a"
            " field of an episode may have: split the episode"
        )
    return np.asarray(node[()])
