"""zlib and zlib-ng give the same bytes, and refuse the same damage."""

import contextlib
import subprocess
import sys
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from zlib_ng import zlib_ng

from gato_tokenize.storage import inflate as module
from gato_tokenize.storage.inflate import FASTEST, inflate, inflate_parts

both = pytest.mark.parametrize("library", [zlib, zlib_ng])


@both
@given(raw=st.binary(max_size=3000), level=st.integers(0, 9), repeat=st.integers(1, 50))
def test_what_was_compressed_comes_back(library: Any, raw: bytes, level: int, repeat: int) -> None:
    raw *= repeat
    assert inflate(zlib.compress(raw, level), len(raw), library) == raw


@both
@given(
    raw=st.binary(max_size=3000), repeat=st.integers(1, 50), spans=st.lists(st.tuples(st.integers(0), st.integers(0)))
)
def test_parts_are_those_of_the_whole(library: Any, raw: bytes, repeat: int, spans: list[tuple[int, int]]) -> None:
    raw *= repeat
    slices = [sorted((start % (len(raw) + 1), stop % (len(raw) + 1))) for start, stop in spans]
    parts = [(start, np.full(stop - start, 7, np.uint8)) for start, stop in slices]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_FED", 16)
        inflate_parts(zlib.compress(raw, 0), len(raw), parts, library)
    assert [part.tobytes() for _, part in parts] == [raw[start:stop] for start, stop in slices]


@both
@given(
    raw=st.binary(min_size=1, max_size=300), at=st.integers(0, 10**6), flip=st.integers(1, 255), wrong=st.integers(1, 9)
)
def test_damage_is_a_value_error(library: Any, raw: bytes, at: int, flip: int, wrong: int) -> None:
    """A cut, another length, and a flipped byte, which is found unless the content is the same."""
    data = zlib.compress(raw)
    cut = data[: at % (len(data) - 4)]  # before the checksum at the end, which is not read for parts
    for bad, length in ((cut, len(raw)), (data, len(raw) + wrong), (data, max(len(raw) - wrong, 0))):
        for read in (inflate, lambda bad, length, library: inflate_parts(bad, length, [], library)):
            with pytest.raises(ValueError, match="zlib data|does not inflate to"):
                read(bad, length, library)
    flipped = bytearray(data)
    flipped[at % len(data)] ^= flip
    with contextlib.suppress(ValueError):
        assert inflate(bytes(flipped), len(raw), library) == raw


def test_a_bomb_is_not_inflated() -> None:
    with pytest.raises(ValueError, match="does not inflate to 10 bytes"):
        inflate(zlib.compress(bytes(10**8)), 10)
    with pytest.raises(ValueError, match="does not inflate to 10 bytes"):
        inflate_parts(zlib.compress(bytes(10**8)), 10, [(0, np.zeros(10, np.uint8))])


def test_the_package_reads_without_zlib_ng() -> None:
    """Where it is not installed, Python's own zlib reads."""
    assert FASTEST is zlib_ng
    program = (
        "import sys, zlib; sys.modules['zlib_ng'] = None\n"
        "from gato_tokenize.storage.inflate import FASTEST, inflate\n"
        "assert FASTEST is zlib and inflate(zlib.compress(b'abc'), 3) == b'abc'"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
