"""Inputs that are truncated at any byte after they were planned, and cases that the formats' own tests leave out.

The tests of each source (TestTruncation) truncate .jsonl, .gz, .zst, .tar and .hdf5 files before planning. A plain text
that is truncated before planning is just a shorter text: nothing in it shows the loss.
"""

import gzip
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from archives import tar
from minari_files import by_hand
from PIL import Image

from gato_tokenize import Episode
from gato_tokenize.modalities.image import ImageTokenizer
from pipelines.sources import open_source
from pipelines.sources.errors import Filtered, SourceError
from pipelines.sources.reading import Reject, read_partition

TEXT = "one\nzwei drüben\nthree\n".encode()
LINES = b"".join(json.dumps({"text": f"row {n}"}).encode() + b"\n" for n in range(3))


def zst(data: bytes) -> bytes:
    return bytes(pytest.importorskip("zstandard").ZstdCompressor().compress(data))


def picture(form: str, **options: int) -> bytes:
    rows, columns = np.mgrid[:16, :32]
    out = io.BytesIO()
    Image.fromarray(np.stack([rows * 8, columns * 8, rows * columns % 256], axis=2).astype(np.uint8)).save(
        out, form, **options
    )
    return out.getvalue()


def file(name: str, data: bytes) -> Path:
    Path(name).write_bytes(data)
    return Path(name)


def pairs() -> Path:
    file("a.png", picture("PNG"))
    lines = [{"image": "a.png", "caption": "one"}, {"image": "a.png", "question": "what?", "answer": "that"}]
    return file("pairs.jsonl", b"".join(json.dumps(line).encode() + b"\n" for line in lines))


def archive() -> bytes:
    return tar([(f"{n}.{kind}", data) for n in range(2) for kind, data in (("png", picture("PNG")), ("txt", b"words"))])


def minari() -> Path:
    box = json.dumps({"type": "Box", "dtype": "float32", "shape": [2], "low": [-9.0] * 2, "high": [9.0] * 2})
    return by_hand(
        Path("set"), 2, observation_space=json.dumps({"type": "Dict", "subspaces": {"joint": json.loads(box)}})
    )


SOURCES: dict[str, tuple[str, Callable[[], Path]]] = {
    "text": ("text:a.txt", lambda: file("a.txt", TEXT)),
    "text by line": ("text:a.txt?by=line", lambda: file("a.txt", TEXT)),
    "json lines": ("text:a.jsonl", lambda: file("a.jsonl", LINES)),
    "text.gz": ("text:a.txt.gz", lambda: file("a.txt.gz", gzip.compress(TEXT, mtime=0))),
    "json lines.gz": ("text:a.jsonl.gz", lambda: file("a.jsonl.gz", gzip.compress(LINES, mtime=0))),
    "text.zst": ("text:a.txt.zst", lambda: file("a.txt.zst", zst(TEXT))),
    "json lines.zst": ("text:a.jsonl.zst", lambda: file("a.jsonl.zst", zst(LINES))),
    "pairs": ("image-text:pairs.jsonl", pairs),
    "tar": ("image-text:a.tar", lambda: file("a.tar", archive())),
    "tar.gz": ("image-text:a.tar.gz", lambda: file("a.tar.gz", gzip.compress(archive(), mtime=0))),
    "tar.zst": ("image-text:a.tar.zst", lambda: file("a.tar.zst", zst(archive()))),
}


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    open_source.cache_clear()


def read(name: str) -> list[Episode | Reject | Filtered]:
    source = open_source(name)
    return [result for part in source.partitions() for _, result in read_partition(source, part)]


@pytest.mark.parametrize("kind", SOURCES)
def test_cut_at_every_byte_after_it_was_planned(kind: str) -> None:
    """Nothing is read from a file that is not the planned one: its episodes could be incomplete."""
    name, make = SOURCES[kind]
    path = make()
    assert read(name) and all(isinstance(result, Episode) for result in read(name))
    source = open_source(name)
    partitions = source.partitions()
    for size in reversed(range(path.stat().st_size)):
        os.truncate(path, size)
        results = [result for part in partitions for _, result in read_partition(source, part)]
        assert results and all(isinstance(result, Reject) for result in results), size
        assert any("has changed since it was planned" in result.message for result in results), size


def whole_hdf5() -> Path:
    """The folder of two episodes, without the pictures that would make the HDF5 file large. What is deleted from an
    HDF5 file leaves its room behind, so the rest is copied into a new one."""
    h5py = pytest.importorskip("h5py")
    folder = minari()
    path = folder / "data/main_data.hdf5"
    whole = path.rename(folder / "whole.hdf5")
    with h5py.File(whole, "r+") as old, h5py.File(path, "w") as new:
        for name, episode in old.items():
            del episode["observations/camera"], episode["observations/word"]
            old.copy(name, new)
    whole.unlink()
    return folder


def test_an_hdf5_of_whole_episodes_cut_before_and_after_it_was_planned() -> None:
    """Truncate at every 37th byte and at each of the last 200. HDF5 stores its length in its first bytes and checks it
    when a file is opened, so all places are alike; the tests of the source truncate a smaller file at every byte."""
    folder = whole_hdf5()
    name, path = f"minari:{folder}", folder / "data/main_data.hdf5"
    assert [type(result) for result in read(name)] == [Episode, Episode]
    source = open_source(name)
    (part,) = source.partitions()
    length = path.stat().st_size
    for size in sorted({*range(0, length, 37), *range(length - 200, length)}, reverse=True):
        os.truncate(path, size)
        results = [result for _, result in read_partition(source, part)]
        assert [type(result) for result in results] == [Reject, Reject]
        assert all("has changed since it was planned" in result.message for result in results)
        open_source.cache_clear()
        with pytest.raises(SourceError, match="an HDF5 file that was cut short"):
            open_source(name).partitions()


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": 1}),
        ("WEBP", {}),
        ("WEBP", {"lossless": 1}),
        ("BMP", {}),
        ("GIF", {}),
    ],
)
def test_a_picture_cut_at_every_byte(form: str, options: dict[str, int]) -> None:
    """A truncated picture is refused, unless only marks after its last pixel are missing: then it is whole."""
    data, tokenizer = picture(form, **options), ImageTokenizer()
    expected = tokenizer.encode(data).pixels
    refused = 0
    for size in range(len(data)):
        try:
            found = tokenizer.encode(data[:size])
        except ValueError:
            refused += 1
        else:
            assert np.array_equal(found.pixels, expected), size
    assert len(data) - refused <= 32  # checksums and the end chunk of a PNG
