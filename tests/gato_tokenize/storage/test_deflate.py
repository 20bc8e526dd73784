"""What zlib and zlib-ng compress is read back, and damage is refused."""

import contextlib
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gato_tokenize.storage import deflate as module
from gato_tokenize.storage.deflate import deflate, inflate, inflate_parts


@given(raw=st.binary(max_size=3000), level=st.integers(0, 9), repeat=st.integers(1, 50))
def test_what_was_compressed_comes_back(raw: bytes, level: int, repeat: int) -> None:
    raw *= repeat
    assert inflate(zlib.compress(raw, level), len(raw)) == raw
    assert inflate(deflate(raw), len(raw)) == zlib.decompress(deflate(raw)) == raw


@given(
    raw=st.binary(max_size=3000), repeat=st.integers(1, 50), spans=st.lists(st.tuples(st.integers(0), st.integers(0)))
)
def test_parts_are_those_of_the_whole(raw: bytes, repeat: int, spans: list[tuple[int, int]]) -> None:
    raw *= repeat
    slices = [sorted((start % (len(raw) + 1), stop % (len(raw) + 1))) for start, stop in spans]
    parts = [(start, np.full(stop - start, 7, np.uint8)) for start, stop in slices]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_FED", 16)
        inflate_parts(zlib.compress(raw, 0), len(raw), parts)
    assert [part.tobytes() for _, part in parts] == [raw[start:stop] for start, stop in slices]


@given(
    raw=st.binary(min_size=1, max_size=300), at=st.integers(0, 10**6), flip=st.integers(1, 255), wrong=st.integers(1, 9)
)
def test_damage_is_a_value_error(raw: bytes, at: int, flip: int, wrong: int) -> None:
    """A cut, another length, and a flipped byte, which is found unless the content is the same."""
    data = zlib.compress(raw)
    cut = data[: at % (len(data) - 4)]  # before the checksum at the end, which is not read for parts
    for bad, length in ((cut, len(raw)), (data, len(raw) + wrong), (data, max(len(raw) - wrong, 0))):
        for read in (inflate, lambda bad, length: inflate_parts(bad, length, [])):
            with pytest.raises(ValueError, match="zlib data|does not inflate to"):
                read(bad, length)
    flipped = bytearray(data)
    flipped[at % len(data)] ^= flip
    with contextlib.suppress(ValueError):
        assert inflate(bytes(flipped), len(raw)) == raw


def test_a_bomb_is_not_inflated() -> None:
    with pytest.raises(ValueError, match="does not inflate to 10 bytes"):
        inflate(zlib.compress(bytes(10**8)), 10)
    with pytest.raises(ValueError, match="does not inflate to 10 bytes"):
        inflate_parts(zlib.compress(bytes(10**8)), 10, [(0, np.zeros(10, np.uint8))])


def test_the_same_data_gives_the_same_bytes() -> None:
    """Whatever was compressed before it, so that a partition that is written again has the same bytes."""
    generator = np.random.default_rng(0)
    frames = [(generator.integers(0, 9, 40_000) ** 2).astype(np.uint8).tobytes() for _ in range(8)]
    alone = [deflate(frame) for frame in frames]
    assert [deflate(frame) for frame in reversed(frames)] == alone[::-1]
    assert len(alone[0]) < len(frames[0]) / 2
