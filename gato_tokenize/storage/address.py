"""Addresses such as s3://bucket/set: the file system behind one, what lies there, and requests that are tried again.

fsspec is imported when the first address is used, and comes with the extra `remote`.
"""

import datetime
import errno
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from gato_tokenize.installing import missing

TRIES = 5  # of a request that fails for a reason which may pass
WAIT = 0.25  # seconds before the second try; each further wait is twice as long
AT_ONCE = 16  # requests for the sizes of many files
_FORM = re.compile("([A-Za-z][A-Za-z0-9+.-]+):/+")  # a pathlib.Path has made one slash of two
_PASSING = {408, 425, 429}  # statuses of HTTP below 500 after which the same request may succeed
_LASTING = {
    errno.ENOENT,
    errno.EACCES,
    errno.EPERM,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.EINVAL,
    errno.ENOSYS,
    errno.ENOTSUP,
}
_STAMPS = ("ETag", "etag", "generation", "Content-MD5", "Last-Modified", "LastModified", "mtime", "modified", "created")
_FLAT = {"s3", "s3a", "gs", "gcs", "memory"}  # one request lists a thousand files, in whatever folders they are

_Found = TypeVar("_Found")


class RemoteError(OSError):
    """What lies at an address could not be read, though it may be whole."""


class NoAnswerError(RemoteError):
    """A request failed as often as it was tried."""


class ChangedError(RemoteError):
    """A file is another one than when it was opened."""

    def __init__(self, address: str) -> None:
        super().__init__(errno.EBUSY, "it has changed while it was read; plan again", address)

    def __reduce__(self) -> tuple[type["ChangedError"], tuple[str]]:
        return ChangedError, (str(self.filename),)


class Facts(NamedTuple):
    """What a file system says of a file. stamp: its ETag or the time of its last change; "" if neither is known.
    ranges: whether parts of it can be read."""

    bytes: int
    stamp: str
    ranges: bool = True


def is_address(path: "str | os.PathLike[str]") -> bool:
    """Return whether a path names a file system other than the local one.

    >>> is_address("s3://bucket/set"), is_address("data/set"), is_address("./s3:/set")
    (True, False, False)
    """
    return _FORM.match(os.fspath(path)) is not None


def full(path: "str | os.PathLike[str]") -> str:
    """Return an address as it is written, with the two slashes of which a pathlib.Path makes one.

    >>> from pathlib import PurePosixPath
    >>> full(PurePosixPath("s3://bucket/set"))
    's3://bucket/set'
    """
    text = os.fspath(path)
    return re.sub(":/(?!/)", "://", text, count=1) if _FORM.match(text) else text


def filesystem(address: str) -> tuple[Any, str]:
    """Return the fsspec file system of an address, and the address in its terms ("bucket/set").

    It lists nothing from memory. Ask for it anew in every process and thread: one that was made before a fork is of no
    use after it. Raises ValueError for a scheme that fsspec does not know, and if a package is missing.
    """
    try:
        import fsspec
    except ModuleNotFoundError as error:
        raise ValueError(missing(address, error, "remote")) from error
    scheme = _scheme(address)
    options: dict[str, Any] = {"use_listings_cache": False}
    try:
        if scheme in ("http", "https") and "client_kwargs" not in fsspec.config.conf.get(scheme, {}):
            import aiohttp

            # A transfer may take long, but not a silence in it.
            options["client_kwargs"] = {"timeout": aiohttp.ClientTimeout(total=None, sock_connect=15, sock_read=30)}
        if scheme in ("s3", "s3a") and "config_kwargs" not in fsspec.config.conf.get(scheme, {}):
            options["config_kwargs"] = {"retries": {"max_attempts": 0}}  # s3fs and `asked` try again, too
        found, path = fsspec.core.url_to_fs(address, **options)
    except ImportError as error:
        raise ValueError(missing(address, _cause(error), "remote")) from error
    return found, path


def check_scheme(address: str) -> None:
    """Raise ValueError unless fsspec and what it needs for the scheme of an address are installed. Nothing connects."""
    try:
        import fsspec

        fsspec.get_filesystem_class(_scheme(address))
    except ImportError as error:
        raise ValueError(missing(address, _cause(error), "remote")) from error


def asked(address: str, request: Callable[[], _Found]) -> _Found:
    """Return the answer to a request, which is made again, up to TRIES times, if it failed for a reason that may pass.

    Raises OSError naming the address, FileNotFoundError or PermissionError where that is the reason. Its `errno` is
    set, which tells a failure of the network from damaged data.
    """
    for number in range(TRIES):
        try:
            return request()
        except Exception as error:  # each file system has errors of its own
            cause = _unwrapped(error, address)
            if not _may_pass(cause):
                raise _named(cause, address) from error
            last = cause
        if number < TRIES - 1:
            time.sleep(WAIT * 2**number)
    said = f"no answer after {TRIES} tries: {type(last).__name__}: {last}"
    raise NoAnswerError(errno.EIO, said, address) from last


def facts_of(address: str) -> Facts | None:
    """Return what is known of the file at an address; None if there is none, or if a folder is there.

    Raises OSError as `asked` does, also if the file system does not say how large the file is.
    """
    return _facts_of(address, *filesystem(address))


def _facts_of(address: str, found: Any, path: str) -> Facts | None:
    info = _info(address, found, path)
    if info is None or info.get("type") != "file" or _is_page(info):
        return None
    if info.get("size") is None:
        raise OSError(
            errno.ENOTSUP, "its server does not say how large it is: copy it to a local disk, and give that", address
        )
    return _facts(info)


def facts_of_all(addresses: Iterable[str]) -> list[Facts | None]:
    """Return `facts_of` each, asked for at the same time."""
    places = [(address, *filesystem(address)) for address in addresses]  # here: each thread would connect for itself
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda place: _facts_of(*place), places))


def is_folder(address: str) -> bool:
    """Return whether a folder is there; over HTTP, whether there is a page with links to what is below the address."""
    info = _info(address, *filesystem(address))
    if info is None or _is_page(info):
        return bool(entries_of(address))
    return bool(info["type"] == "directory")


class Entry(NamedTuple):
    """What lies in a folder. facts: None for a folder, and where the listing does not tell, as over HTTP."""

    name: str
    folder: bool
    facts: Facts | None


def entries_of(address: str) -> list[Entry]:
    """Return what lies directly in a folder, in byte order; nothing if there is no folder. Over HTTP these are the
    links of the folder's page.

    Raises OSError as `asked` does: a listing that fails is never taken for an empty one.
    """
    return _entries(address, "ls", address.rstrip("/") + "/" if _is_web(address) else address)


def files_under(address: str) -> dict[str, Facts]:
    """Return {path below a folder: what is known of it} of all files there, in byte order."""
    if _scheme(address) in _FLAT:
        entries = _entries(address, "find", address)
        return {one.name: one.facts for one in entries if one.facts is not None}
    files: dict[str, Facts] = {}
    entries, top = entries_of(address), address.rstrip("/")
    unknown = [one.name for one in entries if not one.folder and one.facts is None]
    told = dict(zip(unknown, facts_of_all(f"{top}/{name}" for name in unknown), strict=True))
    for name, folder, facts in entries:
        if folder:
            files |= {f"{name}/{below}": one for below, one in files_under(f"{top}/{name}").items()}
        elif (known := facts or told.get(name)) is not None:
            files[name] = known
    return dict(sorted(files.items(), key=lambda item: os.fsencode(item[0])))


def _entries(address: str, method: str, place: str) -> list[Entry]:
    def request() -> tuple[str, Any]:
        found, path = filesystem(place)
        return path, getattr(found, method)(path, detail=True)

    try:
        path, answer = asked(address, request)
    except (FileNotFoundError, NotADirectoryError):
        return []
    entries = []
    for info in answer.values() if isinstance(answer, dict) else answer:
        name = info["name"].removeprefix(path.rstrip("/") + "/")
        folder = info["type"] == "directory" or name.endswith("/")
        if name not in (info["name"], "") and not (_is_web(address) and re.search("[?#]", name)):
            known = not folder and info.get("size") is not None
            entries.append(Entry(name.rstrip("/"), folder, _facts(info) if known else None))
    return sorted(set(entries), key=lambda one: os.fsencode(one.name))


def _info(address: str, found: Any, path: str) -> dict[str, Any] | None:
    try:
        return asked(address, lambda: dict(found.info(path)))
    except FileNotFoundError:
        return None


def facts_in(info: Mapping[str, Any]) -> Facts | None:
    """Return the facts in what fsspec says of a path; None if that is no file, or of no known size."""
    return _facts(info) if info.get("type") == "file" and info.get("size") is not None else None


def _facts(info: Mapping[str, Any]) -> Facts:
    stamp = next((info[name] for name in _STAMPS if info.get(name)), "")
    stamp = stamp.timestamp() if isinstance(stamp, datetime.datetime) else stamp  # a listing may say it otherwise
    return Facts(int(info["size"]), str(stamp), info.get("partial") is not False)


def _is_page(info: dict[str, Any]) -> bool:
    """Return whether HTTP shows the page of a folder here; a server leads to its address, which ends in a slash."""
    return "url" in info and (urlsplit(info["url"]).path or "/").endswith("/")


def _scheme(address: str) -> str:
    return address.partition(":")[0].lower()


def _is_web(address: str) -> bool:
    return _scheme(address) in ("http", "https")


def _unwrapped(error: Exception, address: str) -> Exception:
    """Return what is wrong: fsspec says of any failure of HTTP that the file is not found."""
    cause = error.__cause__ if isinstance(error, FileNotFoundError) and _is_web(address) else None
    return cause if isinstance(cause, Exception) else error


def _may_pass(error: Exception) -> bool:
    if isinstance(error, RemoteError) or type(error).__name__ == "FileExpired":
        return False
    status = getattr(error, "status", None) or getattr(error, "code", None)
    if isinstance(status, str | int) and str(status).isdigit() and 400 <= int(status) < 600:
        return int(status) >= 500 or int(status) in _PASSING
    if isinstance(error, OSError):
        return error.errno not in _LASTING and not isinstance(error, FileNotFoundError | PermissionError)
    wrong = (ValueError, TypeError, AttributeError, LookupError, NotImplementedError, ImportError, MemoryError)
    return not isinstance(error, wrong) and "Credentials" not in type(error).__name__


def _named(error: Exception, address: str) -> Exception:
    """Return an error that will not pass as an OSError that names the address; a ValueError or MemoryError as it is."""
    status = getattr(error, "status", None)
    if isinstance(error, RemoteError | ValueError | MemoryError):
        return error
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return FileNotFoundError(errno.ENOENT, "nothing is there", address)
    if isinstance(error, PermissionError) or status in (401, 403) or "Credentials" in type(error).__name__:
        keys = "the file system's own settings give keys, such as AWS_PROFILE for s3"
        return PermissionError(errno.EACCES, f"access is refused ({error}): {keys}", address)
    if status == 412 or type(error).__name__ == "FileExpired":
        return ChangedError(address)
    if isinstance(error, OSError):
        return OSError(error.errno or errno.EIO, error.strerror or str(error), address)
    return OSError(errno.EIO, f"{type(error).__name__}: {error}", address)


def _cause(error: ImportError) -> ImportError:
    """Return the error of the import that failed: fsspec says only in words which package is missing."""
    while isinstance(error.__cause__, ImportError):
        error = error.__cause__
    return error
