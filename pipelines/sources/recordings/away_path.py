"""AwayPath: a bag at an address, as `rosbags` asks for it."""

import types
from pathlib import PurePath, PurePosixPath
from typing import Any, BinaryIO

from gato_tokenize.storage.address import is_address
from gato_tokenize.storage.remote_file import open_file
from pipelines.sources.formats.places import is_file, is_folder, size_of


def readable(path: str) -> Any:
    """Return a path as the readers of `rosbags` take it."""
    return AwayPath(path) if is_address(path) else path


class AwayPath:
    """What `rosbags` asks of a path that is no local one: its type `RPath`."""

    def __init__(self, address: str) -> None:
        self._address = address

    def __str__(self) -> str:
        return self._address

    def __truediv__(self, name: str | PurePath) -> "AwayPath":
        return AwayPath(f"{self._address}/{name}")

    @property
    def stem(self) -> str:
        return PurePosixPath(self._address).stem

    @property
    def suffix(self) -> str:
        return PurePosixPath(self._address).suffix

    def exists(self) -> bool:
        return is_file(self._address) or self.is_dir()

    def is_dir(self) -> bool:
        return is_folder(self._address)

    def open(self, mode: str = "rb") -> BinaryIO:
        return open_file(self._address)

    def read_text(self, encoding: str | None = None) -> str:
        with self.open() as file:
            return file.read().decode(encoding or "utf-8")

    def stat(self) -> types.SimpleNamespace:
        return types.SimpleNamespace(st_size=int(size_of(self._address)))
