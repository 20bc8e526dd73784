"""Files at addresses: what is known of them, reading them in parts, and requests that fail."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from s3_server import s3_server, upload
from web_server import Web, serving

from gato_tokenize.storage import address, remote_file
from gato_tokenize.storage.address import (
    ChangedError,
    Entry,
    Facts,
    NoAnswerError,
    entries_of,
    facts_of,
    facts_of_all,
    files_under,
    filesystem,
    is_folder,
)
from gato_tokenize.storage.remote_file import BLOCK_BYTES, BLOCKS, open_file

DATA = os.urandom(BLOCK_BYTES * 5 + 17)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "WAIT", 0.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "top/sub/deep").mkdir(parents=True)
    (tmp_path / "top/a.bin").write_bytes(DATA)
    (tmp_path / "top/empty").write_bytes(b"")
    (tmp_path / "top/sub/b.txt").write_bytes(b"b")
    (tmp_path / "top/sub/deep/c.txt").write_bytes(b"cc")
    return tmp_path / "top"


@pytest.fixture
def web(folder: Path) -> Iterator[Web]:
    with serving(folder) as found:
        yield found


@pytest.fixture(params=["web", "s3", "memory", "file"])
def top(request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of the folder, on each kind of file system."""
    if request.param == "web":
        with serving(folder) as web:
            yield web.url
    elif request.param == "s3":
        with s3_server(monkeypatch):
            yield upload(folder, "s3://bucket/top")
    elif request.param == "file":
        yield f"file://{folder}"
    else:
        memory, _ = filesystem("memory://")
        memory.put(str(folder), "/top", recursive=True)
        yield "memory://top"
        memory.rm("/top", recursive=True)


def test_what_lies_there(top: str) -> None:
    assert [(one.name, one.folder) for one in entries_of(top)] == [("a.bin", False), ("empty", False), ("sub", True)]
    assert entries_of(f"{top}/no") == []
    sizes = {"a.bin": len(DATA), "empty": 0, "sub/b.txt": 1, "sub/deep/c.txt": 2}
    below = files_under(top)
    assert {name: facts.bytes for name, facts in below.items()} == sizes and list(below) == sorted(sizes)
    assert below == dict(zip(sizes, facts_of_all(f"{top}/{name}" for name in sizes), strict=True))
    assert all(facts.stamp for facts in below.values())
    assert facts_of(f"{top}/sub") is None and facts_of(f"{top}/no") is None
    assert [is_folder(f"{top}{name}") for name in ("", "/sub", "/a.bin", "/no")] == [True, True, False, False]


def test_reading_is_that_of_a_local_file(top: str) -> None:
    with open_file(f"{top}/a.bin") as file:
        assert file.read() == DATA
        assert file.seek(-5, os.SEEK_END) == len(DATA) - 5 and file.read() == DATA[-5:]
        assert file.read(1) == b"" and file.seek(len(DATA) + 9) and file.read(1) == b""
        border = BLOCK_BYTES - 3
        assert file.seek(border) == border and file.read(6) == DATA[border : border + 6]
        file.seek(1)
        large = bytearray(3 * BLOCK_BYTES)
        assert file.readinto(large) == len(large) and large == DATA[1 : 1 + len(large)]
        with pytest.raises(OSError):
            file.seek(-1)
    with open_file(f"{top}/empty") as file:
        assert file.read() == b""
    with pytest.raises(FileNotFoundError, match="/no"):
        open_file(f"{top}/no")


def test_a_path_stays_a_path(folder: Path) -> None:
    with open_file(folder / "a.bin") as file:
        assert type(file).__name__ == "BufferedReader" and file.fileno() > 0 and file.read() == DATA


def test_an_address_that_was_a_path(top: str) -> None:
    if not top.startswith("file"):  # which has three slashes
        with open_file(Path(f"{top}/a.bin")) as file:
            assert file.read(9) == DATA[:9]


def test_a_part_costs_a_block_and_a_block_is_asked_for_once(web: Web) -> None:
    with open_file(f"{web.url}/a.bin") as file:
        for place in (3 * BLOCK_BYTES + 5, 3 * BLOCK_BYTES + 900_000, 3 * BLOCK_BYTES):
            file.seek(place)
            assert file.read(10) == DATA[place : place + 10]
    assert web.bytes_asked == BLOCK_BYTES


def test_the_cache_is_bounded(web: Web) -> None:
    size = BLOCK_BYTES * (BLOCKS + 8)
    (web.folder / "large.bin").write_bytes(bytes(size))
    with open_file(f"{web.url}/large.bin") as file:
        raw = file.raw  # type: ignore[attr-defined]
        for place in range(0, size, BLOCK_BYTES):
            file.seek(place)
            file.read(1)
        assert raw._block.cache_info().currsize == BLOCKS


def test_a_dropped_connection_is_tried_again(web: Web) -> None:
    web.fault = lambda number, request: {3: "drop", 7: "half"}.get(number % 10) or (503 if number % 10 == 9 else None)
    for _ in range(4):
        with open_file(f"{web.url}/a.bin") as file:
            assert file.read() == DATA
        assert set(files_under(web.url)) == {"a.bin", "empty", "sub/b.txt", "sub/deep/c.txt"}
        assert facts_of(f"{web.url}/no") is None
    assert len(web.requests) > 50


@pytest.mark.parametrize("fault", ["drop", "half", 503])
def test_no_answer_is_an_error_that_says_so(web: Web, fault: str | int) -> None:
    address_of_file = f"{web.url}/a.bin"
    file = open_file(address_of_file)
    web.fault = lambda number, request: fault
    with file, pytest.raises(NoAnswerError, match=rf"(?s)no answer after 5 tries: .*{address_of_file}") as caught:
        file.read()
    assert caught.value.errno  # what tells it from damaged data
    if fault != "half":
        for ask in (lambda: facts_of(address_of_file), lambda: files_under(web.url), lambda: is_folder(web.url)):
            with pytest.raises(NoAnswerError):  # not: nothing is there
                ask()


def test_what_will_not_pass_is_asked_for_once(web: Web) -> None:
    web.fault = lambda number, request: 403
    with pytest.raises(PermissionError, match=r"access is refused.*AWS_PROFILE"):
        facts_of(f"{web.url}/a.bin")
    assert len(web.requests) <= 2  # HEAD and GET


def test_a_server_without_parts(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    web.ranges = False
    with open_file(f"{web.url}/a.bin") as file:
        file.seek(2 * BLOCK_BYTES)
        assert file.read(10) == DATA[2 * BLOCK_BYTES : 2 * BLOCK_BYTES + 10]
    monkeypatch.setattr(remote_file, "MOST_WHOLE", 1000)
    with open_file(f"{web.url}/a.bin") as file, pytest.raises(OSError, match="copy it to a local disk"):
        file.read(1)
    web.lengths = False
    with pytest.raises(OSError, match="does not say how large it is: copy it to a local disk"):
        open_file(f"{web.url}/a.bin")


def test_a_file_that_changes_while_it_is_read(top: str, folder: Path) -> None:
    if not top.startswith(("http", "s3")):
        pytest.skip("its parts cannot be asked for by their stamp")
    with open_file(f"{top}/a.bin") as file:
        file.read(10)
        (folder / "a.bin").write_bytes(os.urandom(len(DATA)))
        if top.startswith("s3"):
            upload(folder, top)
        file.seek(4 * BLOCK_BYTES)
        with pytest.raises(ChangedError, match="has changed while it was read; plan again"):
            file.read(10)


def test_after_a_fork(top: str) -> None:
    assert facts_of(f"{top}/empty") is not None  # a thread runs now
    process = os.fork()
    if process == 0:
        found = -1
        try:
            with open_file(f"{top}/sub/deep/c.txt") as file:
                found = len(file.read())
        finally:
            os._exit(found)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 2


def test_an_unknown_scheme() -> None:
    with pytest.raises(ValueError, match="nosuch"):
        facts_of("nosuch://bucket/a")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ValueError, match=r"s3://bucket/a needs the package fsspec: pip install .*remote"):
        facts_of("s3://bucket/a")


def test_entries_and_facts_are_plain() -> None:
    assert Entry("a", False, Facts(1, "x")) == ("a", False, (1, "x", True))
