"""HDF5 files from strangers: no links followed, no claimed size believed."""

from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

MAX_FIELD_BYTES = 2**30  # of one field of an episode; a few bytes of a damaged file could claim any size


def child(group: Any, key: str, path: str) -> Any:
    """group[key], where it is in this very file; ValueError otherwise."""
    path = f"{path}/{key}" if path else key
    link = group.get(key, getlink=True) if isinstance(group, h5py.Group) else None
    if link is None:
        raise ValueError(f"{path}: missing")
    if not isinstance(link, h5py.HardLink):
        raise ValueError(f"{path}: is a link to another place, perhaps in another file; it is not followed")
    return group[key]


def _values(node: Any, path: str, length: int | None) -> NDArray[Any]:
    if not isinstance(node, h5py.Dataset) or node.shape is None or not node.shape:
        raise ValueError(f"{path}: expected an array with a time axis")
    if length is not None and node.shape[0] != length:
        raise ValueError(f"{path}: expected {length} entries, one a timestep, got {node.shape[0]}")
    if node.is_virtual or node.external:
        raise ValueError(f"{path}: its values are in another file; it is not followed")
    if node.size * node.dtype.itemsize > MAX_FIELD_BYTES:
        raise ValueError(f"{path}: {node.dtype} of shape {list(node.shape)} is more than {MAX_FIELD_BYTES} bytes")
    return np.asarray(node[()])
