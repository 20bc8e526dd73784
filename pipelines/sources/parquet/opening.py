"""open_table: a Parquet or Arrow file by its mark; and how Parquet is read."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO

import pyarrow.parquet as pq

from gato_tokenize.storage.address import is_address
from gato_tokenize.storage.remote_file import open_file
from pipelines.sources.formats.places import Size, require_unchanged, size_of_open, stamped
from pipelines.sources.parquet.arrow_file import ArrowFile, ArrowStream, AwayArrow
from pipelines.sources.parquet.stream_messages import STREAM_END
from pipelines.sources.parquet.table_file import TableFile, named

PAGE_BYTES = 2**20  # of a Parquet file that are read from the disk at once
PARQUET = b"PAR1"  # at the beginning and at the end


def open_table(path: str, size: Size | None = None) -> TableFile:
    """Open a file by its mark, whatever it is called.

    size: that it had when it was planned. Raises ValueError naming the file if it is missing, is neither Parquet nor
    Arrow, has another size now, or is damaged where its metadata lie: a Parquet file without its footer is lost as a
    whole. Raises RemoteError if its address gives no answer.
    """
    with named(path, "cannot be read"):
        file = open_file(path)
    try:
        if size is not None:
            require_unchanged(path, size, stamped(size), file)
        away = file if is_address(path) else None
        with named(path, "cannot be read"):
            head = _mark_of(file, away is not None)
        kinds: dict[bytes, Callable[[str, BinaryIO | None], TableFile]] = {
            PARQUET: ParquetFile,
            b"ARRO": AwayArrow if away else ArrowFile,
            STREAM_END[:4]: AwayArrow if away else ArrowStream,
        }
        if head not in kinds:
            said = f"it begins with {head!r}" if head else "it is empty"
            raise ValueError(f"{path} is neither a Parquet nor an Arrow file: {said}")
        if not away:
            file.close()
        with named(path, "cannot be read"):
            table = kinds[head](path, away)
            _ = table.schema.names  # of a damaged schema they may be no UTF-8
            return table
    except BaseException:
        file.close()
        raise


def _mark_of(file: BinaryIO, away: bool) -> bytes:
    """The bytes that tell the format: the first four, or at an address also the last four, beside which the footer of
    Parquet lies: that is fetched anyway."""
    if away:
        file.seek(max(0, size_of_open(file) - len(PARQUET)))
        if file.read() == PARQUET:
            return PARQUET
    file.seek(0)
    return file.read(len(PARQUET))


class ParquetFile(TableFile):
    def __init__(self, path: str, away: BinaryIO | None) -> None:
        super().__init__(path)
        self._away = away
        self._file: Any = pq.ParquetFile(
            away or path, pre_buffer=False, buffer_size=PAGE_BYTES, page_checksum_verification=True
        )
        footer = self._file.metadata
        found = [footer.row_group(i) for i in range(footer.num_row_groups)]
        self.groups, self.bytes = [one.num_rows for one in found], [one.total_byte_size for one in found]
        self.schema = self._file.schema_arrow

    def batches(self, group: int, columns: Sequence[str], rows: int) -> Iterator[Any]:
        yield from self._file.iter_batches(rows, [group], list(columns), use_threads=False)

    def close(self) -> None:
        self._file.close()
        if self._away is not None:
            self._away.close()
