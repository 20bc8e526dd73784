"""How a Minari dataset stores its episodes: one HDF5 file, or a folder of Arrow or Parquet files for each."""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import h5py

from gato_tokenize.installing import missing
from gato_tokenize.storage.address import RemoteError, is_address
from pipelines.sources.errors import SourceError
from pipelines.sources.formats.files import hashed, names_and_sizes
from pipelines.sources.formats.hdf5 import opened, planned
from pipelines.sources.formats.places import files_below
from pipelines.sources.minari.episode import EpisodeReader

HDF5_FILE = "main_data.hdf5"
FORMATS = ("hdf5", "arrow", "parquet")
_NUMBER = r"0|[1-9]\d{0,8}"


class Hdf5Storage:
    """Episodes are groups `episode_N` of one file."""

    def __init__(self, folder: str) -> None:
        self.uri = os.path.join(folder, HDF5_FILE)

    def plan(self) -> tuple[dict[str, Any], int]:
        """(the fingerprint of the file, one more than the highest number of an episode)."""
        with hashed(self.uri) as file:
            source = file.fingerprint()
        return source, planned(self.uri, _stop)

    def uri_of(self, number: int) -> str:
        return self.uri

    @contextlib.contextmanager
    def episode(self, number: int, said: Mapping[str, Any]) -> Iterator[EpisodeReader]:
        """Open an episode of the file. said: what a partition says of it."""
        with opened(self.uri, said["bytes"], said) as data:
            yield EpisodeReader(data, number)


class ArrowStorage:
    """Episodes are folders `N` of Arrow or Parquet files."""

    def __init__(self, folder: str, form: str) -> None:
        self.uri, self._form = folder, form

    def plan(self) -> tuple[dict[str, Any], int]:
        """(the names and sizes of the files as one input, one more than the highest number of an episode)."""
        _arrow_reader()
        if is_address(self.uri):
            return self._plan_of_address()
        numbers = sorted(int(name) for name in os.listdir(self.uri) if re.fullmatch(_NUMBER, name))
        paths = ((number, os.path.join(self.uri_of(number), name))
                 for number in numbers for name in sorted(os.listdir(self.uri_of(number))))  # fmt: skip
        files = ((f"{number}/{os.path.basename(path)}", os.path.getsize(path)) for number, path in paths)
        return names_and_sizes(self.uri, files), max([-1, *numbers]) + 1

    def _plan_of_address(self) -> tuple[dict[str, Any], int]:
        files = []
        for name, size in files_below(self.uri):
            number, _, rest = name.partition("/")
            if re.fullmatch(_NUMBER, number) and rest and "/" not in rest:
                files.append((int(number), name, size))
        files.sort(key=lambda file: file[:2])
        stop = max((number for number, _, _ in files), default=-1) + 1
        return names_and_sizes(self.uri, (file[1:] for file in files)), stop

    def uri_of(self, number: int) -> str:
        return os.path.join(self.uri, str(number))

    @contextlib.contextmanager
    def episode(self, number: int, said: Mapping[str, Any]) -> Iterator[Any]:
        try:
            yield _arrow_reader()(self.uri_of(number), self._form)
        except RemoteError:
            raise
        except Exception as error:
            raise ValueError(f"{self.uri_of(number)}: {error}") from error


def _arrow_reader() -> Any:
    try:
        from pipelines.sources.minari.arrow_episode import ArrowEpisodeReader  # HDF5 needs no pyarrow
    except ModuleNotFoundError as error:
        raise SourceError(missing("data in Arrow or Parquet", error, "minari")) from error
    return ArrowEpisodeReader


def storage_of(folder: str, form: str) -> Hdf5Storage | ArrowStorage:
    return Hdf5Storage(folder) if form == "hdf5" else ArrowStorage(folder, form)


def _stop(data: h5py.File) -> int:
    """Return one more than the highest number of an episode in an HDF5 file; 0 if it has none."""
    names = (re.fullmatch(rf"episode_({_NUMBER})", name) for name in data)
    return max((int(name[1]) + 1 for name in names if name), default=0)
