"""Sequences from record bytes: as this toolchain lays them out, and as another writer may."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_episodes import nested_episode, nested_spec

from gato_tokenize import EpisodeMetadata, EpisodeTokenizer, Record
from gato_tokenize.storage import sequence_bytes
from gato_tokenize.storage.example import decode_example, encode_varints
from gato_tokenize.storage.sequence_bytes import decode_sequence


@pytest.fixture(scope="module")
def record():
    return Record(EpisodeTokenizer(nested_spec()).encode(nested_episode(3, 1)), EpisodeMetadata("id", return_=1.5))


def message(tag, body):
    """A field of the wire format: its tag, the length of its body, the body."""
    return bytes([tag]) + encode_varints(np.array([len(body)])) + body


def foreign(data):
    """The same record as another writer may lay it out: keys in reverse order, each number an item of its own."""
    entries = []
    for key, value in reversed(decode_example(data).items()):
        if isinstance(value, list):
            feature = message(0x0A, b"".join(message(0x0A, item) for item in value))
        elif value.dtype == np.int64:
            numbers = (b"\x08" + encode_varints(np.array([number])) for number in value)
            feature = message(0x1A, b"".join(numbers))
        else:
            feature = message(0x12, b"".join(b"\x0d" + number.tobytes() for number in value))
        entries.append(message(0x0A, message(0x0A, key.encode()) + message(0x12, feature)))
    return message(0x0A, b"".join(entries))


def test_another_writer_s_record_is_read(record):
    data = foreign(record.to_bytes())
    assert data != record.to_bytes()
    assert decode_sequence(data) == record.sequence
    assert Record.from_bytes(data).sequence == record.sequence
    assert Record.from_bytes(data).metadata == record.metadata


def test_this_toolchain_s_own_bytes_are_read_by_the_walk_alone(record, monkeypatch):
    monkeypatch.delattr(sequence_bytes, "decode_example")
    assert decode_sequence(record.to_bytes()) == record.sequence
    assert Record.from_bytes(record.to_bytes()).metadata == record.metadata


def test_the_metadata_stay_unread(record):
    data = record.to_bytes()
    damaged = data.replace(b"episode_metadata/episode_id", b"episode_metadata/episode_ia")
    assert decode_sequence(damaged) == record.sequence
    with pytest.raises(ValueError, match="no feature 'episode_metadata/episode_id'"):
        Record.from_bytes(damaged)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_the_walk_gives_what_decode_example_gives_or_refuses(record, data):
    raw = bytearray(record.to_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    wanted = {field.key.encode(): field for field in sequence_bytes.FIELDS}
    try:
        mine = sequence_bytes._walk(bytes(raw), wanted)
        theirs = decode_example(bytes(raw))
    except (ValueError, IndexError):
        return
    for key, value in mine.items():
        one, two = (part if isinstance(part, list) else part.tobytes() for part in (value, theirs[key]))
        assert one == two, key
