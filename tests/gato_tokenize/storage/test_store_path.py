"""Addresses that are joined as paths, and what they name in a store."""

import copy
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_store import proxied
from s3_server import s3_server

from gato_tokenize.storage.durable import durable_file
from gato_tokenize.storage.store_path import StorePath, files_below, place, size_of_file


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    monkeypatch.setenv("GATO_CACHE", str(tmp_path / "cache"))
    with s3_server(monkeypatch) as url:
        yield url


def test_it_joins_as_a_path_does() -> None:
    path = StorePath("s3://bucket/data/toy/1.0.0")
    assert (path.name, path.parent.name) == ("1.0.0", "toy")
    assert str(path / "index" / "a.idx") == "s3://bucket/data/toy/1.0.0/index/a.idx"
    assert str(path.with_name(".x")) == "s3://bucket/data/toy/.x" and path.scheme == "s3"
    assert f"{path}" == path.__fspath__() == path.as_posix() == "s3://bucket/data/toy/1.0.0"
    assert {path: 1}[StorePath("s3:/bucket/data/toy/1.0.0")] == 1, "a pathlib.Path leaves one slash"
    assert pickle.loads(pickle.dumps(path)) == copy.deepcopy(path) == path
    assert str(StorePath("http://host:80/a")) == "http://host:80/a"


@pytest.mark.parametrize("text", ["a:b", "./s3:/bucket", "C:/data", "out/a://b", "/data/toy/1.0.0", "toy:2.0"])
def test_what_is_no_address_is_local(text: str) -> None:
    assert place(text) == Path(text) and isinstance(place(text), Path)


def test_a_file_of_this_machine_is_local() -> None:
    assert place("file:///data/toy") == Path("/data/toy") == place("local:///data/toy")
    assert place(Path("s3://bucket/a")) == StorePath("s3://bucket/a") == place(StorePath("s3://bucket/a"))


@pytest.mark.parametrize("root", ["s3://bucket/a", "memory://a"])
def test_files_in_a_store(root: str, server: str) -> None:
    folder = StorePath(root) / "toy"
    assert not folder.exists() and list(folder.iterdir()) == [] and files_below(folder) == set()
    for name in ("one", "sub/two", ".hidden"):
        with durable_file(folder / name) as file:
            file.write(name.encode())
    assert files_below(folder) == {"one", "sub/two", ".hidden"}
    assert [path.name for path in folder.iterdir()] == [".hidden", "one", "sub"]
    assert (folder / "one").is_file() and not (folder / "one").is_dir()
    assert folder.is_dir() and (folder / "sub").is_dir() and not folder.is_file()
    assert (folder / "sub/two").read_bytes() == b"sub/two" and (folder / "one").read_text(encoding="utf-8") == "one"
    assert size_of_file(folder / "one") == 3 and (folder / "one").read_range(1, 2) == b"n"
    (folder / "one").unlink()
    (folder / "one").unlink(missing_ok=True)
    assert not (folder / "one").exists()
    for read in (lambda: folder / "one", lambda: folder):
        with pytest.raises(FileNotFoundError, match="toy"):
            read().read_bytes()


def test_a_file_appears_whole_or_not_at_all(server: str) -> None:
    path = StorePath("s3://bucket/toy/file")
    with pytest.raises(ZeroDivisionError), durable_file(path) as file:
        file.write(b"half")
        _ = 1 / 0
    assert not path.exists()
    with durable_file(path) as file:
        file.write(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"


def test_a_large_file_goes_up_in_parts(server: str) -> None:
    data = bytes(range(256)) * (20 << 12)  # 20 MiB
    with durable_file(StorePath("s3://bucket/large")) as file:
        file.write(data)
    assert StorePath("s3://bucket/large").read_bytes() == data


@pytest.mark.parametrize("fate", ["busy", "cut", "drop"])
def test_a_store_that_fails_now_and_then_is_asked_again(
    fate: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(number: int, method: str, path: str) -> str:
        return fate if number % 3 == 1 and (method, fate) != ("PUT", "cut") else ""

    with proxied(monkeypatch, server, fail) as proxy:
        folder = StorePath(f"s3://bucket/{fate}")
        for name in "abcdef":
            with durable_file(folder / name) as file:
                file.write(name.encode() * 100)
        assert files_below(folder) == set("abcdef")
        assert [(folder / name).read_bytes() for name in "abcdef"] == [name.encode() * 100 for name in "abcdef"]
        assert len(proxy.requests) > 20


def test_what_cannot_be_done_names_the_address(server: str) -> None:
    with pytest.raises(FileNotFoundError, match="s3://nowhere/a"):
        StorePath("s3://nowhere/a").read_bytes()
    with pytest.raises(OSError, match="s3://nowhere/a"), durable_file(StorePath("s3://nowhere/a")) as file:
        file.write(b"a")
    with pytest.raises(ValueError, match="nothere"):
        StorePath("nothere://bucket/a").read_bytes()
