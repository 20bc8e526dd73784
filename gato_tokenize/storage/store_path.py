"""StorePath: the address of a file or a folder in an object store, with those methods of a `Path` that datasets need.

A store has neither folders nor renames, but an object in it appears whole or not at all. A file system behind an
address that promises less gets each file under a temporary name first.
"""

import contextlib
import errno
import os
import uuid
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from gato_tokenize.storage.address import (
    Facts,
    asked,
    entries_of,
    facts_of,
    files_under,
    filesystem,
    full,
    is_address,
    is_folder,
)

TEMPORARY = ".tmp-"  # part of the name of every file that is not whole yet
_PART = 8 << 20  # bytes: an upload holds a few such parts in memory, and S3 takes up to 10,000 of them
_UPLOADS: dict[str, dict[str, Any]] = {  # options of `put_file`, by scheme
    **dict.fromkeys(("s3", "s3a"), {"chunksize": _PART, "max_concurrency": 4}),
    **dict.fromkeys(("gs", "gcs"), {"chunksize": _PART}),
}
_WHOLE = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory"}  # schemes where a name never shows half a file


class StorePath(PurePosixPath):
    """An address such as s3://bucket/data/toy/1.0.0, to which names are joined as to a `Path`.

    >>> StorePath("s3://bucket/data") / "toy" / "1.0.0"
    StorePath('s3://bucket/data/toy/1.0.0')

    Every method asks the store anew, tries again where that may help, and raises OSError naming the address: among them
    FileNotFoundError and PermissionError.
    """

    __slots__ = ()

    def __str__(self) -> str:
        return full(super().__str__())

    def __fspath__(self) -> str:
        return str(self)

    def as_posix(self) -> str:
        return str(self)

    @property
    def scheme(self) -> str:
        """The beginning of the address: "s3"."""
        return self.parts[0].rstrip(":").lower()

    @property
    def facts(self) -> Facts | None:
        """What the store says of the file here; None if there is none."""
        return facts_of(str(self))

    @property
    def size(self) -> int:
        """The size of the file in bytes. Raises FileNotFoundError if there is none."""
        facts = self.facts
        if facts is None:
            raise _absent(self)
        return facts.bytes

    def is_file(self) -> bool:
        return self.facts is not None

    def is_dir(self) -> bool:
        """Return whether a file lies below: a store such as SeaweedFS goes on listing a folder whose files are gone."""
        return is_folder(str(self)) and bool(self.files())

    def exists(self) -> bool:
        return self.is_file() or self.is_dir()

    def is_symlink(self) -> bool:
        return False

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Do nothing: a store has no folders."""

    def iterdir(self) -> Iterator["StorePath"]:
        return (self / entry.name for entry in entries_of(str(self)))

    def files(self) -> dict[str, Facts]:
        """Return {name below this folder: what is known of the file} of all files there."""
        return files_under(str(self))

    def read_range(self, start: int, stop: int) -> bytes:
        """Read the bytes from `start` to before `stop`, which must be those of the file or fewer.

        A store that gives fewer bytes is asked again.
        """

        def read() -> bytes:
            system, key = filesystem(str(self))
            data: bytes = system.cat_file(key, start=start, end=stop)
            if len(data) != stop - start:
                raise ConnectionError(f"{len(data)} of the bytes {start} to {stop} came")
            return data

        return asked(str(self), read) if stop > start else b""

    def read_bytes(self) -> bytes:
        return self.read_range(0, self.size)

    def read_text(self, encoding: str | None = None, errors: str | None = None) -> str:
        return self.read_bytes().decode(encoding or "utf-8", errors or "strict")

    def upload(self, file: BinaryIO) -> None:
        """Put the whole content of an open local file here. Another upload replaces it."""
        file.flush()
        target = self if self.scheme in _WHOLE else self.with_name(f".{self.name}{TEMPORARY}{uuid.uuid4().hex}")

        def put() -> None:
            system, key = filesystem(str(target))
            system.put_file(f"/proc/self/fd/{file.fileno()}", key, **_UPLOADS.get(self.scheme, {}))

        asked(str(self), put)
        size = os.fstat(file.fileno()).st_size
        if target.size != size:
            raise OSError(errno.EIO, f"{size} bytes were sent, and {target.size} arrived", str(self))
        if target != self:
            system, key = filesystem(str(self))
            asked(str(self), lambda: system.mv(filesystem(str(target))[1], key))

    def abort_uploads(self) -> None:
        """Let go of the parts of uploads to names below this folder that were begun and never ended.

        S3 keeps such parts, which nobody sees, until then. Who may not list them leaves them to the store's own rules.
        """
        if self.scheme not in ("s3", "s3a"):
            return
        with contextlib.suppress(Exception):
            system, key = filesystem(str(self))
            bucket, _, folder = key.partition("/")
            for upload in system.list_multipart_uploads(bucket) or ():
                if upload["Key"].startswith(folder.rstrip("/") + "/"):
                    system.abort_mpu(bucket, upload["Key"], upload["UploadId"])

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the file. Raises FileNotFoundError if there is none, unless `missing_ok`."""

        def remove() -> None:
            system, key = filesystem(str(self))
            try:
                system.rm_file(key)
            except KeyError as error:  # as memory:// says it
                raise _absent(self) from error

        try:
            asked(str(self), remove)
        except FileNotFoundError:
            if not missing_ok:
                raise


Place = Path | StorePath


def place(path: "str | os.PathLike[str]") -> Place:
    """Return the path of a local file or folder, or the address of one in a store.

    >>> place("data/my_set/1.0.0").name, place("s3://bucket/my_set/1.0.0").parent
    ('1.0.0', StorePath('s3://bucket/my_set'))
    >>> str(place("file:///data/my_set/1.0.0"))
    '/data/my_set/1.0.0'
    """
    if isinstance(path, Path | StorePath) and not is_address(path):
        return path
    if not is_address(path):
        return Path(path)
    found = StorePath(full(path))
    return Path("/", *found.parts[1:]) if found.scheme in ("file", "local") else found


def size_of_file(path: Place) -> int:
    """Return the size of a file in bytes. Raises FileNotFoundError if there is none."""
    return path.size if isinstance(path, StorePath) else path.stat().st_size


def files_below(folder: Place) -> set[str]:
    """Return the names, relative to a folder, of all that lies below it and is no folder: files, links, pipes."""
    if isinstance(folder, StorePath):
        return set(folder.files())
    below = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return {path.relative_to(folder).as_posix() for path in below}


def _absent(path: StorePath) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, "there is no such file", str(path))
