"""Files that are whole or absent."""

import os
import stat

import pytest

from gato_tokenize.storage.durable import TEMPORARY, durable_file


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_the_block_ends(tmp_path):
    with durable_file(tmp_path / "a.json") as file:
        file.write(b"{}")
        assert len(names(tmp_path)) == 1
        assert names(tmp_path)[0].startswith(f".a.json{TEMPORARY}")
    assert names(tmp_path) == ["a.json"]
    assert (tmp_path / "a.json").read_bytes() == b"{}"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit])
def test_nothing_remains_of_a_failure(tmp_path, error):
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(error), durable_file(tmp_path / "a") as file:
        file.write(b"new")
        raise error
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_nothing_remains_where_the_disk_fails(tmp_path, monkeypatch, name):
    def failing(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, name, failing)
    with pytest.raises(OSError, match="No space left"), durable_file(tmp_path / "a") as file:
        file.write(b"new")
    assert names(tmp_path) == []


def test_it_is_synced_before_it_has_its_name_and_the_folder_after(tmp_path, monkeypatch):
    events, fsync, replace = [], os.fsync, os.replace

    def spy(descriptor):
        events.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    monkeypatch.setattr(os, "replace", lambda a, b: (events.append("rename"), replace(a, b)))
    with durable_file(str(tmp_path / "a")) as file:
        file.write(b"new")
    assert events == ["file", "rename", "folder"]


def test_two_writers_at_once(tmp_path):
    with durable_file(tmp_path / "a") as one, durable_file(tmp_path / "a") as two:
        one.write(b"one")
        two.write(b"two")
    assert (tmp_path / "a").read_bytes() == b"one"  # the outer block ends last
    assert names(tmp_path) == ["a"]
