"""HDF5 files that cannot be trusted: no link is followed, and no claimed size is believed."""

import contextlib
import functools
import gc
import io
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

from gato_tokenize.storage.address import RemoteError, is_address
from gato_tokenize.storage.remote_file import open_file
from pipelines.processes.forked import call_forked
from pipelines.sources.errors import Filtered, SourceError
from pipelines.sources.formats.limits import check_field
from pipelines.sources.formats.places import require_unchanged

MAX_DEPTH = 16  # of groups in groups: hard links can lead in circles
PLAN_SECONDS = 600.0  # a damaged file can make the HDF5 library hang forever

_Found = TypeVar("_Found")


def child(group: Any, key: str, path: str) -> Any:
    """Return group[key] if it lies in this very file; ValueError otherwise."""
    path = f"{path}/{key}" if path else key
    if "/" in key or key in ("", ".", ".."):
        raise ValueError(f"{path}: {key!r} is no name of a member")
    link = group.get(key, getlink=True) if isinstance(group, h5py.Group) else None
    if link is None:
        raise ValueError(f"{path}: missing")
    if not isinstance(link, h5py.HardLink):
        raise ValueError(f"{path}: is a link, perhaps into another file; it is not followed")
    return group[key]


def node_at(root: Any, keys: Sequence[str], path: str = "") -> Any:
    """Return the member to which `keys` lead from `root`, which is at `path`; ValueError as `child` raises it."""
    for key in keys:
        root, path = child(root, key, path), f"{path}/{key}" if path else key
    return root


def checked_array(node: Any, path: str, length: int | None = None) -> Any:
    """Return the node if it is an array with a time axis, of `length` entries if that is given, whose values lie in
    this very file; ValueError otherwise."""
    if not isinstance(node, h5py.Dataset) or node.shape is None or not node.shape:
        raise ValueError(f"{path}: expected an array with a time axis")
    if length is not None and node.shape[0] != length:
        raise ValueError(f"{path}: expected {length} entries, one a timestep, got {node.shape[0]}")
    if node.is_virtual or node.external:
        raise ValueError(f"{path}: its values are in another file; it is not followed")
    return node


def values_of(node: Any, path: str, length: int | None, rows: slice = slice(None)) -> NDArray[Any]:
    """Read the `rows` of an array with a time axis, of `length` entries if that is given; ValueError names the
    fault."""
    count = len(range(*rows.indices(checked_array(node, path, length).shape[0])))
    size = count * int(np.prod(node.shape[1:], dtype=object)) * node.dtype.itemsize
    check_field(path, f"{node.dtype} of shape {[count, *node.shape[1:]]}", size)
    return np.asarray(node[rows])


def arrays_below(group: Any, depth: int = MAX_DEPTH) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield (keys, array) of every array below a group, in the order of their names; instead of what is a link, or
    nested too deeply, the reason why it is left out."""
    for key in sorted(group):
        try:
            node = child(group, key, "")
        except ValueError as error:
            yield (key,), str(error).partition(": ")[2]
            continue
        if isinstance(node, h5py.Dataset):
            yield (key,), node
        elif isinstance(node, h5py.Group) and depth == 1:
            yield (key,), f"groups are nested more than {MAX_DEPTH} deep"
        elif isinstance(node, h5py.Group):
            yield from (((key, *keys), below) for keys, below in arrays_below(node, depth - 1))


def text_attribute(node: Any, name: str) -> str:
    """The text of an attribute, stripped; "" if there is none, or if it is no text."""
    value = node.attrs.get(name)
    value = value.item() if isinstance(value, np.ndarray) and value.size == 1 else value
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return value.strip() if isinstance(value, str) else ""


def check_layout(file: h5py.File, uri: str, name: str, layout: str) -> None:
    """Raise SourceError that names what is there, unless the file has the member that its layout needs."""
    if name not in file:
        there = ", ".join(list(file)[:8]) or "nothing"
        raise SourceError(f"{uri} is not in the layout of {layout}: it has no {name}, but {there}")


def planned(uri: str, look: Callable[[h5py.File], _Found]) -> _Found:
    """Return what `look` finds in a file. It works in a process of its own, since a damaged file can make the HDF5
    library hang or crash. Raises SourceError naming the file."""
    try:
        found: _Found = call_forked(functools.partial(_looked, uri, look), PLAN_SECONDS)
    except (MemoryError, SourceError, RemoteError):
        raise
    except TimeoutError as error:
        raise SourceError(
            f"{uri} cannot be read: {error}; it is damaged, or its disk is slow: then copy it to a local one"
        ) from error
    except Exception as error:  # h5py raises OSError, RuntimeError, KeyError and more for a damaged file
        raise SourceError(
            f"{uri} cannot be read: {error}; an HDF5 file that was cut short, or that a program was killed "
            "while writing, is lost as a whole"
        ) from error
    return found


def _looked(uri: str, look: Callable[[h5py.File], _Found]) -> _Found:
    with hdf5_file(uri) as file:
        return look(file)


@contextlib.contextmanager
def hdf5_file(uri: str, **options: Any) -> Iterator[h5py.File]:
    """Open an HDF5 file at a local path or an address."""
    if not is_address(uri):
        with h5py.File(uri, "r", **options) as file:
            yield file
        return
    with _Uncollected(open_file(uri).detach()) as data:  # type: ignore[attr-defined]
        with h5py.File(data, "r", **options) as file:
            yield file


class _Uncollected(io.BufferedReader):
    """A file that HDF5 reads under its one lock, while another thread fetches. If that thread collected garbage, and
    found an object of HDF5 among it, it would wait for the lock forever."""

    def readinto(self, buffer: Any) -> int:
        collects = gc.isenabled()
        gc.disable()
        try:
            return super().readinto(buffer)
        finally:
            if collects:
                gc.enable()


@contextlib.contextmanager
def opened(uri: str, size: int, said: Mapping[str, Any] = types.MappingProxyType({})) -> Iterator[h5py.File]:
    """Open a file that had `size` bytes when it was planned. said: what a partition says of it besides, see
    `places.stamped`. Whatever goes wrong while it is open becomes a ValueError that names the file, but for RemoteError
    and Filtered."""
    require_unchanged(uri, size, said)
    try:
        with hdf5_file(uri) as file:
            yield file
    except (Filtered, RemoteError):
        raise
    except Exception as error:  # h5py raises OSError, RuntimeError, KeyError and more for a damaged file
        raise ValueError(f"{uri}: {error}") from error
