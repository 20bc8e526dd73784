"""Edges of TFRecord files that the other tests do not reach: changes of the code that no other test noticed."""

import dataclasses
import os
import struct
from pathlib import Path

import pytest

from gato_tokenize.storage.tfrecord import (
    CorruptRecordError,
    Damage,
    masked_crc32c,
    read_frame_at,
    read_frames,
    shard_writer,
)


@pytest.mark.parametrize(
    ("length", "reason"),
    [(2**31 - 1, f"the file ends {2**31 + 3} bytes before its end"), (2**31, "no record has more than 2147483647")],
)
def test_the_longest_record(length: int, reason: str, tmp_path: Path) -> None:
    number = struct.pack("<Q", length)
    (tmp_path / "shard").write_bytes(number + struct.pack("<I", masked_crc32c(number)))
    found: list[Damage] = []
    assert list(read_frames(tmp_path / "shard", found)) == []
    assert [(damage.record, damage.offset, damage.ends_shard) for damage in found] == [(0, 0, True)]
    assert reason in found[0].reason


def test_all_of_a_shard_is_on_the_disk_before_its_index_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes, fsync = [], os.fsync

    def spy(descriptor: int) -> None:
        sizes.append((os.fstat(descriptor).st_size, (tmp_path / "index" / "shard.idx").exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    with shard_writer(tmp_path / "shard") as writer:
        writer.write(b"a record")
    assert sizes[0] == (24, False)


def test_damage_is_a_value() -> None:
    damage = Damage("shard", 0, 0, "a reason", ends_shard=True)
    with pytest.raises(dataclasses.FrozenInstanceError):
        damage.record = 1  # type: ignore[misc]
    assert len({damage, dataclasses.replace(damage)}) == 1


def test_damage_at_an_offset_alone_has_no_number(tmp_path: Path) -> None:
    (tmp_path / "shard").write_bytes(b"no record")
    with pytest.raises(CorruptRecordError) as error:
        read_frame_at(tmp_path / "shard", 0)
    assert error.value.damage.record == -1
