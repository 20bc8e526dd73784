"""TFRecord shards: by hand, TensorFlow as the oracle, every flipped byte, every truncation, the index, faults."""

import hashlib
import os
import pickle
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gato_tokenize.storage.tfrecord import (
    CorruptRecordError,
    Damage,
    frame,
    index_path,
    index_text,
    masked_crc32c,
    read_frame_at,
    read_frames,
    read_index,
    record_offsets,
    shard_writer,
)

RECORDS = [b"one", b"", b"a longer one", b"\x00" * 5]
OFFSETS = [0, 19, 35, 63]  # 16 bytes around each
SIZE = 84


@pytest.fixture(scope="module")
def tf():
    return pytest.importorskip("tensorflow")


@pytest.fixture
def shard(tmp_path):
    path = tmp_path / "toy-train.tfrecord-00000-of-00001"
    with shard_writer(path) as writer:
        for record in RECORDS:
            writer.write(record)
    return path


def record_at(offset):
    return max(number for number, start in enumerate(OFFSETS) if start <= offset)


def read(path):
    return [data for _, data in read_frames(path)]


def skipped(path):
    """What skip mode reads, and what it says is lost."""
    damaged = []
    return [data for _, data in read_frames(path, damaged)], damaged


# By hand.


def test_a_known_checksum():
    """CRC-32C of "123456789" is 0xe3069283 (the check value of every table of CRCs); the mask is TFRecord's."""
    crc = 0xE3069283
    rotated = (crc >> 15) + (crc % 2**15) * 2**17
    assert masked_crc32c(b"123456789") == (rotated + 0xA282EAD8) % 2**32 == 0xC78AB0E5
    assert masked_crc32c(b"") == 0xA282EAD8


def test_a_frame_by_hand():
    data = frame(b"ab")
    assert data[:8] == b"\x02" + bytes(7)
    assert data[8:12] == struct.pack("<I", masked_crc32c(data[:8]))
    assert data[12:14] == b"ab"
    assert data[14:] == struct.pack("<I", masked_crc32c(b"ab"))


def test_a_shard_and_its_index(shard):
    assert shard.stat().st_size == SIZE
    assert list(read_frames(shard)) == list(zip(OFFSETS, RECORDS, strict=True))
    assert index_path(shard) == shard.parent / "index" / f"{shard.name}.idx"
    assert index_path(shard).read_text() == "0 19\n19 16\n35 28\n63 21\n"
    assert read_index(index_path(shard)) == [(0, 19), (19, 16), (35, 28), (63, 21)]
    assert [read_frame_at(shard, offset) for offset in OFFSETS] == RECORDS


def test_what_the_writer_knows(tmp_path):
    with shard_writer(tmp_path / "shard") as writer:
        writer.write(b"one")
        writer.write(b"two!")
    assert list(writer.extents) == [(0, 19), (19, 20)] and writer.records == 2
    assert writer.bytes == 39
    assert writer.sha256 == hashlib.sha256((tmp_path / "shard").read_bytes()).hexdigest()


def test_an_empty_shard(tmp_path):
    with shard_writer(tmp_path / "shard"):
        pass
    assert read(tmp_path / "shard") == read_index(index_path(tmp_path / "shard")) == []


def test_damage_says_what_where_and_why():
    damage = Damage("a.tfrecord", 3, 140, "no reason", ends_shard=False)
    assert str(damage) == "a.tfrecord: record 3 at byte 140 is lost: no reason"
    rest = Damage("a.tfrecord", 3, 140, "no reason", ends_shard=True)
    assert str(rest) == "a.tfrecord: record 3 at byte 140 is lost, and with it the rest of the shard: no reason"
    assert str(Damage("a", -1, 9, "so", ends_shard=False)) == "a: the record at byte 9 is lost: so"


def test_the_error_crosses_processes():
    error = pickle.loads(pickle.dumps(CorruptRecordError(Damage("a", 1, 2, "why", ends_shard=True))))
    assert isinstance(error, ValueError)
    assert error.damage == Damage("a", 1, 2, "why", ends_shard=True)


# The oracle.


@settings(max_examples=15, deadline=None)
@given(records=st.lists(st.binary(max_size=300), max_size=5))
def test_tensorflow_in_both_directions(tf, tmp_path_factory, records):
    folder = tmp_path_factory.mktemp("shards")
    ours, theirs = folder / "ours", folder / "theirs"
    with shard_writer(ours) as writer:
        for record in records:
            writer.write(record)
    with tf.io.TFRecordWriter(str(theirs)) as writer:
        for record in records:
            writer.write(record)
    assert ours.read_bytes() == theirs.read_bytes()
    assert read(theirs) == records
    assert [record.numpy() for record in tf.data.TFRecordDataset(str(ours))] == records


# Damage.


@pytest.mark.parametrize("flip", [1, 0x80, 0xFF])
@pytest.mark.parametrize("indexed", [True, False])
def test_every_flipped_byte_is_found(shard, flip, indexed):
    """It costs its record only; but without an index a damaged length, or its checksum, costs what follows too."""
    if not indexed:
        index_path(shard).unlink()
    sound = shard.read_bytes()
    for at in range(SIZE):
        shard.write_bytes(sound[:at] + bytes([sound[at] ^ flip]) + sound[at + 1 :])
        record = record_at(at)
        ends = not indexed and at - OFFSETS[record] < 12
        before = []
        with pytest.raises(CorruptRecordError) as error:
            before.extend(data for _, data in read_frames(shard))
        assert before == RECORDS[:record]
        damage = error.value.damage
        assert damage == Damage(str(shard), record, OFFSETS[record], damage.reason, ends_shard=ends)
        assert f"{shard}: record {record} at byte {OFFSETS[record]} is lost" in str(error.value)
        what = "length" if at - OFFSETS[record] < 12 else "data"
        assert damage.reason == f"the checksum of its {what} does not match"
        assert skipped(shard) == (RECORDS[:record] + ([] if ends else RECORDS[record + 1 :]), [damage])


def test_several_damaged_records_are_all_named(shard):
    data = bytearray(shard.read_bytes())
    for at in (0, 40, 83):  # a length, a checksum of a length, a checksum of data
        data[at] ^= 1
    shard.write_bytes(data)
    left, damaged = skipped(shard)
    assert left == [b""]
    assert [(damage.record, damage.offset) for damage in damaged] == [(0, 0), (2, 35), (3, 63)]


@pytest.mark.parametrize("cut", range(SIZE))
def test_every_truncation(shard, cut):
    """With an index each is found; without, one between two records cannot be."""
    shard.write_bytes(shard.read_bytes()[:cut])
    whole = sum(end <= cut for end in [*OFFSETS[1:], SIZE])
    left, damaged = skipped(shard)
    assert left == RECORDS[:whole]
    assert [(d.record, d.offset, d.ends_shard) for d in damaged] == [(whole, OFFSETS[whole], True)]
    with pytest.raises(CorruptRecordError, match=f"record {whole} at byte {OFFSETS[whole]} .*the file ends"):
        read(shard)
    index_path(shard).unlink()
    assert skipped(shard) == (left, damaged if cut not in OFFSETS else [])


def test_bytes_after_the_last_record(shard):
    with open(shard, "ab") as file:
        file.write(b"more")
    left, damaged = skipped(shard)
    assert left == RECORDS
    assert [(d.record, d.offset, d.reason) for d in damaged] == [
        (4, SIZE, "the file ends inside its header, 8 bytes short")
    ]


def test_records_that_an_old_index_does_not_know_are_read(shard):
    with open(shard, "ab") as file:
        file.write(frame(b"new"))
    assert read(shard) == [*RECORDS, b"new"]


def test_a_damaged_length_of_many_gigabytes(tmp_path):
    """Its checksum holds, so somebody wrote it; no memory is asked for."""
    length = struct.pack("<Q", 2**40)
    (tmp_path / "shard").write_bytes(length + struct.pack("<I", masked_crc32c(length)) + b"data")
    with pytest.raises(CorruptRecordError, match=f"its length is given as {2**40} bytes, and no record has more than"):
        read(tmp_path / "shard")


def test_one_record_by_its_offset(shard):
    for offset, reason in ((1, "the checksum of its length"), (SIZE, "the file ends inside its header")):
        with pytest.raises(CorruptRecordError, match=f"the record at byte {offset} is lost: {reason}"):
            read_frame_at(shard, offset)


@pytest.mark.parametrize("cut", range(SIZE + 1))
def test_offsets_by_the_headers_alone(shard, cut):
    """A record whose data is cut or flipped still has a place; one whose header is cut ends them."""
    data = bytearray(shard.read_bytes()[:cut])
    shard.write_bytes(data)
    found, offsets = [], record_offsets(shard)
    whole = [offset for offset in OFFSETS if offset + 12 <= cut]
    if any(offset < cut < offset + 12 for offset in OFFSETS):
        with pytest.raises(CorruptRecordError, match=f"record {len(whole)} at byte .*inside its header"):
            found += offsets
    else:
        found += offsets
        assert found == whole


def test_offsets_end_at_a_damaged_length(shard):
    data = bytearray(shard.read_bytes())
    data[OFFSETS[1] + 15] ^= 1  # data
    data[OFFSETS[2]] ^= 1  # a length
    shard.write_bytes(data)
    offsets = record_offsets(shard)
    assert [next(offsets), next(offsets)] == OFFSETS[:2]
    with pytest.raises(CorruptRecordError, match="record 2 at byte 35 .*checksum of its length"):
        next(offsets)


@settings(max_examples=60, deadline=None)
@given(records=st.lists(st.binary(max_size=9), min_size=1, max_size=6), data=st.data())
def test_skipping_loses_nothing_undamaged(tmp_path_factory, records, data):
    """Any bytes changed anywhere: with an index, every untouched record is read and every other one named."""
    shard = tmp_path_factory.mktemp("shards") / "shard"
    with shard_writer(shard) as writer:
        for record in records:
            writer.write(record)
    content = bytearray(shard.read_bytes())
    flips = data.draw(st.dictionaries(st.integers(0, len(content) - 1), st.integers(1, 255), max_size=5))
    for at, flip in flips.items():
        content[at] ^= flip
    shard.write_bytes(content)
    touched = {n for n, (start, size) in enumerate(writer.extents) if any(start <= at < start + size for at in flips)}
    left, damaged = skipped(shard)
    assert left == [record for number, record in enumerate(records) if number not in touched]
    assert {damage.record for damage in damaged} == touched
    assert len(damaged) == len(touched)


# The index.


def test_the_index_in_words():
    assert index_text([(0, 19), (19, 16)]) == "0 19\n19 16\n"
    assert index_text([]) == ""


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"0 19\n19\n", 2),
        (b"0 19 \n", 1),
        (b"0  19\n", 1),
        (b"0,19\n", 1),
        (b"0 -19\n", 1),
        (b"0 19\n\n", 2),
        (b"0 19\n20 5\n", 2),  # a gap
        (b"3 19\n", 1),
        (b"0 19\n19 1", 2),  # cut
        (b"0 19\r\n", 1),
        (b"\xff 19\n", 1),
        ("0 \u0663\n".encode(), 1),  # a digit, but not one of ours
        (b"0 " + b"9" * 5000 + b"\n", 1),
    ],
)
def test_an_index_that_is_none_is_named_by_line(shard, text, line):
    index = index_path(shard)
    index.write_bytes(text)
    with pytest.raises(ValueError, match=f"^{index}:{line}: expected `[0-9]+ length` and a line end, got"):
        read_index(index)
    with pytest.raises(ValueError, match=f"^{index}:{line}: expected"):
        read(shard)


def test_every_flipped_byte_of_an_index_is_found_or_harmless(shard):
    """A digit of the last length may change unseen (`verify` compares the file whole); no record is lost by it."""
    index = index_path(shard)
    sound = index.read_bytes()
    for at in range(len(sound)):
        for flip in (1, 2, 0x80):
            index.write_bytes(sound[:at] + bytes([sound[at] ^ flip]) + sound[at + 1 :])
            try:
                assert read(shard) == RECORDS
                assert at >= len(sound) - 3
            except ValueError as error:
                assert str(index) in str(error)


# Faults.


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


class BoomError(Exception):
    pass


def test_an_exception_inside_leaves_nothing(tmp_path):
    with pytest.raises(BoomError), shard_writer(tmp_path / "shard") as writer:
        writer.write(b"one")
        assert not (tmp_path / "shard").exists()
        raise BoomError
    assert names(tmp_path) == []


def test_an_exception_inside_leaves_the_old_shard(shard):
    with pytest.raises(BoomError), shard_writer(shard) as writer:
        writer.write(b"new")
        raise BoomError
    assert names(shard.parent) == ["index", f"index/{shard.name}.idx", shard.name]
    assert read(shard) == RECORDS


def test_a_new_shard_replaces_the_old_one_and_its_index(shard):
    with shard_writer(shard) as writer:
        writer.write(b"new")
    assert read(shard) == [b"new"]
    assert read_index(index_path(shard)) == [(0, 19)]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_full_disk_at_any_sync_leaves_nothing(tmp_path, monkeypatch, number):
    """1: the shard; 2: its index; 3: the index's folder, when the index has its name already."""
    calls = []

    def fsync(descriptor):
        calls.append(descriptor)
        if len(calls) == number:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="No space left"), shard_writer(tmp_path / "shard") as writer:
        writer.write(b"one")
    left = {1: [], 2: ["index"], 3: ["index", "index/shard.idx"]}
    assert names(tmp_path) == left[number]  # never a shard without its index


@pytest.mark.parametrize(("number", "left"), [(1, ["index"]), (2, ["index", "index/shard.idx"])])
def test_a_fault_at_either_rename_leaves_no_shard(tmp_path, monkeypatch, number, left):
    calls, replace = [], os.replace

    def failing(source, target):
        calls.append(target)
        if len(calls) == number:
            raise OSError(5, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match="Input/output"), shard_writer(tmp_path / "shard") as writer:
        writer.write(b"one")
    assert names(tmp_path) == left
    monkeypatch.undo()
    with shard_writer(tmp_path / "shard") as writer:
        writer.write(b"two!")
    assert read(tmp_path / "shard") == [b"two!"]


def test_two_writers_at_once(tmp_path):
    """Each has its own temporary files; the later end wins, whole."""
    path = tmp_path / "shard"
    with shard_writer(path) as one:
        one.write(b"one")
        with shard_writer(path) as two:
            two.write(b"two!")
        assert read(path) == [b"two!"]
    assert read(path) == [b"one"]
    assert names(tmp_path) == ["index", "index/shard.idx", "shard"]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError), shard_writer(tmp_path / "none" / "shard"):
        pass
    assert names(tmp_path) == []
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "shard")
