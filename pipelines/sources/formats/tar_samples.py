"""Samples of a tar archive in webdataset's layout: neighbouring members whose names differ in the extension only."""

import contextlib
import dataclasses
import re
import tarfile
from collections.abc import Collection, Iterator
from typing import Any, NotRequired, Protocol, TypedDict

from pipelines.sources.formats.decompression import CHUNK, LimitError, decompressor
from pipelines.sources.formats.files import hashed
from pipelines.sources.pieces import RECORD_BYTES, Mark, Piece, spans

MAX_MEMBER_BYTES = 64 * 2**20
MAX_HEADER_BYTES = 2**20  # of a long name or of extended (pax) headers
EXTENDED = {
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
}
BUFFER = 2**16  # small, because tarfile copies the rest of its buffer at every small read
NAME = re.compile(r"((?:.*/)?[^./]+)\.([^/]*)", re.DOTALL)  # (folders and key, what follows the first dot)
MOST_NAMES = 9  # of the members of a sample, for messages
META = re.compile(r"__[^/]*__(?:/.*)?", re.DOTALL)  # notes of webdataset about the archive


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class SampleRange(TypedDict):
    """Some samples of an archive, as JSON."""

    uri: str
    bytes: int  # of the whole file, when it was planned
    start: int  # byte of the first sample's header
    first: int  # number of that sample, from 1
    samples: int | None  # how many; None: all, and the archive must end properly after them
    stamp: NotRequired[str]  # of a file at an address, see `places.Size`


@dataclasses.dataclass
class Sample:
    """Neighbouring members with one key."""

    key: str  # folders, and the file name up to its first dot
    start: int  # byte of its first header, counted from where reading began
    members: dict[str, bytes | None] = dataclasses.field(default_factory=dict)  # by lower-case extension; None: too big
    names: list[str] = dataclasses.field(default_factory=list)  # of its members, the first MOST_NAMES
    twice: str = ""  # an extension that two members have

    def explain(self) -> str:
        """Say which members have this key, and by which rule."""
        names = self.names[:-1] + ["..."] if len(self.names) == MOST_NAMES else self.names
        rule = "the key of a sample ends at the first dot of the file name"
        cure = ": name them so that it differs from sample to sample" if any(map(_has_dots, names)) else ""
        return f"its members are {', '.join(names)}; {rule}{cure}"


def pieces_of(path: str) -> tuple[dict[str, Any], list[Piece]]:
    """Read an archive once: (its fingerprint, its pieces, each a `SampleRange`). A compressed archive is one piece.

    A damaged archive is cut as far as it can be read; reading its last piece reports the damage.
    """
    with hashed(path) as file:
        found = [] if decompressor(path) else spans(_marks(file))
        source = file.fingerprint()
    found = found or [(Mark(), Mark(weight=source["bytes"]))]
    return source, [
        Piece(_range(source, *span, span is found[-1]), span[1].weight - span[0].weight, path) for span in found
    ]


def join(one: dict[str, Any], two: dict[str, Any]) -> dict[str, Any] | None:
    """The samples of two pieces in a row; None if these are not of one archive."""
    if one["uri"] != two["uri"]:
        return None
    return {**one, "samples": None if two["samples"] is None else one["samples"] + two["samples"]}


def _range(source: dict[str, Any], start: Mark, stop: Mark, last: bool) -> SampleRange:
    samples = None if last else stop.number - start.number
    found = SampleRange(
        uri=source["uri"], bytes=source["bytes"], start=start.byte, first=start.number + 1, samples=samples
    )
    return SampleRange(**found, stamp=source["stamp"]) if "stamp" in source else found


def _marks(file: Readable) -> Iterator[Mark]:
    """Yield the beginning of each sample, and a last mark that counts them all."""
    count, start = 0, 0
    with contextlib.suppress(ValueError):  # reading the last piece reports the damage
        for count, sample in enumerate(samples(file), 1):
            start = sample.start
            yield Mark(start, count - 1, start + RECORD_BYTES * (count - 1))
    yield Mark(start, count, start + RECORD_BYTES * count)


def samples(file: Readable, wanted: Collection[str] = ()) -> Iterator[Sample]:
    """Yield the samples in order, with the content of members whose extension is `wanted`; nothing goes to disk.

    As in webdataset, a key keeps its folders and ends at the first dot of the file name. Members are skipped that have
    no extension, whose names begin with a dot, that lie below a folder such as `__so__`, or that are no regular files.
    Raises ValueError if the archive is damaged, if it ends before its end-of-archive block (the current sample is not
    yielded then: its next member may be lost), or if anything but zeros follows that block. LimitError if it is sound
    and needs too much memory.
    """
    current: Sample | None = None
    offset = 0
    try:
        with tarfile.open(fileobj=file, mode="r|", bufsize=BUFFER, tarinfo=_Header) as archive:  # type: ignore[call-overload]
            while (member := archive.next()) is not None:
                archive.members.clear()  # tarfile keeps them all otherwise
                offset = member.offset
                name = member.name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
                found = NAME.fullmatch(name)
                if found and member.isreg() and not member.issparse() and not META.fullmatch(name):
                    key, extension = found.group(1), found.group(2).lower()
                    if current is not None and key != current.key:
                        yield current
                    if current is None or key != current.key:
                        current = Sample(key, member.offset)
                    if len(current.names) < MOST_NAMES:
                        current.names.append(name[:200])
                    if extension in current.members:
                        current.twice = extension
                    elif extension in wanted:
                        small = member.size <= MAX_MEMBER_BYTES
                        current.members[extension] = _read(archive, member.size) if small else None
                _skip(archive)
            _check_end(archive)
            if current is not None:
                yield current
            _check_rest(archive)
    except (LimitError, MemoryError):
        raise
    except Exception as error:  # besides its own errors, tarfile raises IndexError and others for damaged headers
        if getattr(error, "errno", None) is not None:  # the disk is at fault, not the archive
            raise
        raise ValueError(f"the archive is damaged or cut short after its byte {offset}: {error}") from error


def _has_dots(name: str) -> bool:
    """Return whether the extension has a dot, as in "2024.png"."""
    return name.rpartition("/")[2].count(".") > 1


class _Header(tarfile.TarInfo):
    """A header that refuses sizes which would exhaust memory or make tarfile go back, and remembers what ended the
    archive."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: Any, errors: Any) -> "_Header":
        header = super().frombuf(buf, encoding, errors)
        if header.size < 0:
            raise tarfile.ReadError(f"a header of type {header.type!r} claims {header.size} bytes")
        if header.type in EXTENDED and header.size > MAX_HEADER_BYTES:
            raise LimitError(
                f"a member has a name or extended headers of {header.size} bytes, and at most {MAX_HEADER_BYTES} are"
                " read: write the archive again without them"
            )
        return header

    @classmethod
    def fromtarfile(cls, archive: Any) -> "_Header":
        try:
            return super().fromtarfile(archive)
        except Exception as error:  # tarfile ends the archive silently for some of these
            archive.ended_by = error
            raise


def _read(archive: Any, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:  # chunk by chunk, because the size may be false
        chunk = archive.fileobj.read(min(size - len(data), CHUNK))
        if not chunk:
            raise tarfile.ReadError(f"a member ends {size - len(data)} bytes too early")
        data += chunk
    return bytes(data)


def _skip(archive: Any) -> None:
    """Read on to the member's end. tarfile itself would seek there, even to 2^60 bytes after the end of the file."""
    while (left := archive.offset - archive.fileobj.tell()) > 0:
        if not archive.fileobj.read(min(left, BUFFER)):
            raise tarfile.ReadError(f"a member ends {left} bytes too early")


def _check_end(archive: Any) -> None:
    ended_by = getattr(archive, "ended_by", None)
    if not isinstance(ended_by, tarfile.EOFHeaderError):  # type: ignore[attr-defined]
        raise tarfile.ReadError(f"no end-of-archive block ({ended_by})")


def _check_rest(archive: Any) -> None:
    while rest := archive.fileobj.read(CHUNK):
        if rest.count(0) != len(rest):
            raise tarfile.ReadError("there is data after the end of the archive")
