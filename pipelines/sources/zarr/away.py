"""AwayStore: the keys of a Zarr folder or .zip file at an address."""

import asyncio
from collections.abc import AsyncIterator, Iterable

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype

from gato_tokenize.storage.address import Facts, files_under
from gato_tokenize.storage.remote_file import RemoteFile
from pipelines.sources.formats.places import is_file
from pipelines.sources.formats.zip_files import zip_file


class AwayStore(Store):
    """Read-only; it is listed once, when it is opened. file: the .zip file, None of a folder. sizes: {key: bytes}.

    Raises RemoteError if the address gives no answer, also while a key is read: that is never taken for a key that is
    not stored.
    """

    supports_writes = False
    supports_deletes = False
    supports_listing = True

    def __init__(self, path: str) -> None:
        super().__init__(read_only=True)
        self.path = path
        self.file = zip_file(path) if is_file(path) else None
        self._facts: dict[str, Facts] = {} if self.file else files_under(path)
        self.sizes = {key: facts.bytes for key, facts in self._facts.items()}
        if self.file:
            self.sizes = {one.filename: one.file_size for one in self.file.infolist()}

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """Return the bytes [start, stop) of a key that is stored, as far as there are any."""
        if self.file:
            return self.file.read(key)[start:stop]
        with RemoteFile(f"{self.path}/{key}", self._facts[key]) as file:
            file.seek(start)
            count = (self.sizes[key] if stop is None else min(stop, self.sizes[key])) - start
            data = bytearray()
            while len(data) < count and (part := file.read(count - len(data))):
                data += part
        return bytes(data)

    def close(self) -> None:
        if self.file:
            self.file.close()
        super().close()

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        if key not in self.sizes:
            return None
        found = await asyncio.to_thread(self.read, key, *_bounds(byte_range, self.sizes[key]))
        return (prototype or default_buffer_prototype()).buffer.from_bytes(found)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    async def exists(self, key: str) -> bool:
        return key in self.sizes

    async def set(self, key: str, value: Buffer) -> None:
        raise NotImplementedError("it is read-only")

    async def delete(self, key: str) -> None:
        raise NotImplementedError("it is read-only")

    async def list(self) -> AsyncIterator[str]:
        for key in self.sizes:
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        for key in self.sizes:
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        below = f"{prefix.rstrip('/')}/" if prefix else ""
        for name in sorted({key[len(below) :].partition("/")[0] for key in self.sizes if key.startswith(below)}):
            yield name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AwayStore) and self.path == other.path


def _bounds(asked: ByteRequest | None, size: int) -> tuple[int, int]:
    if isinstance(asked, RangeByteRequest):
        return asked.start, asked.end
    if isinstance(asked, OffsetByteRequest):
        return asked.offset, size
    if isinstance(asked, SuffixByteRequest):
        return max(0, size - asked.suffix), size
    return 0, size
