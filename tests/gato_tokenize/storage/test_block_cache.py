"""The cache of blocks: bounded, shared, and of no consequence where it fails."""

import os
import threading
from pathlib import Path

import pytest

from gato_tokenize.storage.block_cache import BlockCache, block_cache


def held(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_block_is_fetched_once_and_what_follows_is_kept(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path, 1 << 20)
    assert cache.block("a", 3, lambda: [b"three", b"four"]) == b"three"
    other = BlockCache(tmp_path, 1 << 20)  # of another process
    assert other.block("a", 3, lambda: pytest.fail("asked twice")) == b"three"
    assert other.block("a", 4, lambda: pytest.fail("asked twice")) == b"four"
    assert other.block("b", 3, lambda: [b"of b"]) == b"of b"
    assert other.has("b", 3) and not other.has("b", 4)


def test_it_keeps_to_its_bound_and_lets_the_oldest_go(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path, 100_000)
    for number in range(200):
        cache.block("a", number, lambda: [bytes(1000)])
        os.utime(max(held(tmp_path), key=lambda path: path.stat().st_mtime), (1000 + number, 1000 + number))
        cache.block("a", 0, lambda: [bytes(1000)])  # is used all the time
    assert sum(path.stat().st_size for path in held(tmp_path)) <= 100_000 * (1 + 2 / 16)
    assert cache.has("a", 199) and not cache.has("a", 20)


def test_a_damaged_block_is_fetched_again(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path, 1 << 20)
    cache.block("a", 0, lambda: [b"sound"])
    (path,) = held(tmp_path)
    for damaged in (path.read_bytes()[:-1], path.read_bytes() + b"x", b"", b"abc", b"\0" * 9):
        path.write_bytes(damaged)
        assert cache.block("a", 0, lambda: [b"sound"]) == b"sound"
        assert cache.block("a", 0, lambda: pytest.fail("kept")) == b"sound"


def test_threads_wait_for_the_one_that_fetches(tmp_path: Path) -> None:
    cache, count, gate = BlockCache(tmp_path, 1 << 20), list[int](), threading.Event()

    def fetch() -> list[bytes]:
        count.append(1)
        gate.wait(5)
        return [b"x"]

    threads = [threading.Thread(target=cache.block, args=("a", 0, fetch)) for _ in range(8)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join()
    assert len(count) == 1


def test_a_cache_that_cannot_be_written_costs_requests_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = BlockCache(tmp_path / "a", 1 << 20)
    (tmp_path / "a").rmdir()
    (tmp_path / "a").write_text("in the way")
    assert [cache.block("a", 0, lambda: [b"x"]) for _ in range(2)] == [b"x", b"x"]
    monkeypatch.setenv("GATO_CACHE", str(tmp_path / "a" / "below"))
    assert block_cache() is None


def test_the_environment_says_where_and_how_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATO_CACHE", str(tmp_path / "here"))
    monkeypatch.setenv("GATO_CACHE_SIZE", "5M")
    found = block_cache()
    assert found is not None and (found.folder, found.most) == (tmp_path / "here", 5 << 20)
    assert block_cache() is found and (tmp_path / "here").stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv("GATO_CACHE_SIZE", "0")
    assert block_cache() is None
    monkeypatch.setenv("GATO_CACHE_SIZE", "much")
    with pytest.raises(ValueError, match="GATO_CACHE_SIZE: a size is written like 2G"):
        block_cache()
    monkeypatch.delenv("GATO_CACHE_SIZE")
    monkeypatch.delenv("GATO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = block_cache()
    assert found is not None and found.folder == tmp_path / "cache/gato-toolchain/blocks" and found.most == 10 << 30
