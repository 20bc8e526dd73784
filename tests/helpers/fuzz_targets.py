"""The targets of fuzzing. Each takes any bytes and raises an exception, AssertionError or another, if the code under
test breaks a promise. `test_fuzz.py` feeds them by Hypothesis, `fuzz_atheris.py` by a coverage-guided fuzzer.
"""

import contextlib
import io
import os
import struct
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gato_tokenize import ContinuousSpec, Episode, EpisodeMetadata, EpisodeSpec, EpisodeTokenizer, ImageSpec
from gato_tokenize.modalities.image import ImageTokenizer
from gato_tokenize.storage.example import decode_example, encode_example
from gato_tokenize.storage.records import Record
from gato_tokenize.storage.schema import FIELDS
from gato_tokenize.storage.segments import content_hash, segments
from gato_tokenize.storage.shards import read_records
from gato_tokenize.storage.tfrecord import Damage, frame, index_path, index_text, read_index
from pipelines.sources.errors import Filtered
from pipelines.sources.formats import tar_samples
from pipelines.sources.reading import Reject, read_partition
from pipelines.sources.text import TextSource

MAX_PIXELS = 2**20  # of a picture here: a few bytes may claim more, and time is short
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP")
SUFFIXES = (".txt", ".md", ".jsonl", ".txt.gz", ".jsonl.gz", ".txt.zst", ".jsonl.zst")


def check_example(data: bytes) -> None:
    """Wire bytes are refused by ValueError, or mean one set of features, which stays the same if written and read."""
    try:
        features = decode_example(data)
    except ValueError:
        return
    again = decode_example(encode_example(features))
    assert list(again) == sorted(features, key=str.encode)
    for key, value in features.items():
        assert np.asarray(again[key]).tobytes() == np.asarray(value).tobytes(), key


def check_record(data: bytes) -> None:
    """A record is refused by ValueError, or can be written and read back unchanged."""
    try:
        record = Record.from_bytes(data)
    except ValueError:
        return
    sequence = record.sequence
    assert len(sequence) == sequence.step_splits[-1]
    again = Record.from_bytes(record.to_bytes())
    assert repr(again.metadata) == repr(record.metadata)  # a return of NaN is not equal to itself
    assert content_hash(again.sequence) == content_hash(sequence)
    assert sequence.steps(0, sequence.num_steps).num_steps == sequence.num_steps


def check_fields(data: bytes) -> None:
    """`check_record` for a sound record whose fields are changed one by one: bytes choose field, place and value."""
    values = dict(decode_example(RECORDS[len(data) % len(RECORDS)]))
    for at in range(0, len(data) - 3, 4):
        number, place, kind, value = data[at : at + 4]
        field = FIELDS[number % len(FIELDS)]
        absent: Any = [] if field.dtype == "bytes" else np.zeros(0, field.dtype)
        values[field.key] = _changed(values.get(field.key, absent), place, kind, value)
    check_record(encode_example(values))


def _changed(value: Any, place: int, kind: int, byte: int) -> Any:
    items = list(value)
    if kind % 4 == 0 or not items:  # one more
        items.insert(place % (len(items) + 1), type(items[0])(byte) if items else byte)
    elif kind % 4 == 1:  # one less
        del items[place % len(items)]
    elif isinstance(items[0], bytes):
        edited = bytearray(items[0])
        edited[place % len(edited) if edited else 0 : place % len(edited) + 1 if edited else 0] = bytes([byte])
        items[0] = bytes(edited)
    else:
        items[place % len(items)] = (byte - 128) << (kind >> 2) % 56
    if isinstance(value, np.ndarray):
        return np.array(items, value.dtype)
    return [item if isinstance(item, bytes) else bytes([item]) for item in items]


def check_shard(data: bytes) -> None:
    """A sound shard is truncated (by the first two bytes) and changed (by three bytes each: place, xor). Only sound
    records are read, the others are named, and with an index only damaged ones are lost."""
    framed = [frame(record) for record in RECORDS]
    sound = b"".join(framed)
    cut = len(sound) - struct.unpack("<H", data[:2].ljust(2, b"\0"))[0] % 64
    shard = bytearray(sound[:cut])
    touched = set()
    ends = np.cumsum([len(piece) for piece in framed])
    for at in range(2, len(data) - 2, 3):
        place, mask = struct.unpack("<HB", data[at : at + 3])
        place %= len(shard)
        shard[place] ^= mask
        touched.add(int(np.searchsorted(ends, place, side="right")))
    touched |= {number for number, end in enumerate(ends) if end > cut}
    extents = [(int(end) - len(piece), len(piece)) for piece, end in zip(framed, ends, strict=True)]
    with folder() as place_:
        path = place_ / "toy-train.tfrecord-00000-of-00001"
        path.write_bytes(shard)
        index_path(path).parent.mkdir(exist_ok=True)
        for indexed in (True, False):
            if indexed:
                index_path(path).write_text(index_text(extents))
            else:
                index_path(path).unlink()
            damaged: list[Damage] = []
            found = [record.to_bytes() for record in read_records(path, "skip", damaged)]
            assert all(data in RECORDS for data in found)
            same = bytes(shard) == sound
            assert same == (not damaged) or (not indexed and cut in ends), damaged
            if indexed:
                untouched = [record for number, record in enumerate(RECORDS) if number not in touched]
                assert [data for data in found if data in untouched] == untouched


def check_index(data: bytes) -> None:
    """An index is refused by ValueError, or is exactly the text of the extents that it gives."""
    with folder() as place:
        (place / "a.idx").write_bytes(data)
        with contextlib.suppress(ValueError):
            extents = read_index(place / "a.idx")
            assert [offset for offset, _ in extents] == [sum(n for _, n in extents[:i]) for i in range(len(extents))]


def check_image(data: bytes) -> None:
    """A picture is refused by ValueError, or gives as many patches as its grid has; a file passes through only if a
    plain decoder sees the same pixels."""
    tokenizer = ImageTokenizer(max_pixels=MAX_PIXELS)
    try:
        patches, plain = tokenizer.encode_file(data)
    except ValueError:
        return
    assert patches.pixels.shape == (patches.grid[0] * patches.grid[1], 16, 16, 3)
    if plain:
        assert data.startswith((b"\x89PNG", b"\xff\xd8\xff"))
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data)) as image:  # Pillow's own ones
            assert np.array_equal(np.asarray(image.convert("RGB")), tokenizer.decode(patches))
    with contextlib.suppress(ValueError):
        ImageTokenizer(16, 32, max_pixels=MAX_PIXELS).encode(data)


def check_text(data: bytes, suffixes: tuple[str, ...] = SUFFIXES) -> None:
    """A file of any bytes is read without an exception: each document is an episode, a reject or filtered."""
    with folder() as place:
        for suffix in suffixes:
            path = place / f"a{suffix}"
            path.write_bytes(data)
            lines = {"by": "line"} if ".txt" in suffix or ".md" in suffix else {}
            for options in ({}, lines, {"id": "id"} if "jsonl" in suffix else {}):
                source = TextSource(str(path), options)
                source.source = "text"
                for part in source.partitions():
                    for candidate, result in read_partition(source, part):
                        assert isinstance(result, Episode | Reject | Filtered)
                        assert candidate.episode_id.encode()
                        if isinstance(result, Episode):
                            assert result.fields["observation/text"][0].encode()
                if ".gz" not in suffix and ".zst" not in suffix:
                    assert source.partitions() or not data
            path.unlink()


def check_tar(data: bytes) -> None:
    """An archive is refused by ValueError, or its samples have the wanted members, none larger than the file."""
    with contextlib.suppress(ValueError):
        for sample in tar_samples.samples(io.BytesIO(data), ("png", "txt", "json")):
            assert sample.key
            assert sum(len(member or b"") for member in sample.members.values()) <= len(data)


TARGETS = {
    "example": check_example,
    "record": check_record,
    "fields": check_fields,
    "shard": check_shard,
    "index": check_index,
    "image": check_image,
    "text": check_text,
    "tar": check_tar,
}


@contextlib.contextmanager
def folder() -> Any:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as name:
        yield Path(name)


def picture(form: str, mode: str = "RGB", size: tuple[int, int] = (16, 32), seed: int = 0) -> bytes:
    """A small picture as a file, with an EXIF orientation if the format has one."""
    out = io.BytesIO()
    height, width = size
    pixels = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    image = Image.fromarray(pixels.repeat(4, 0).repeat(4, 1)).convert(mode)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(out, form, **({"exif": exif} if form in ("PNG", "JPEG", "WEBP") and seed % 2 else {}))
    return out.getvalue()


def records() -> list[bytes]:
    """A vector with an image in patches, one with a PNG passed through, a document-like one without images."""
    numbers = EpisodeSpec({"camera": ImageSpec(), "joint": ContinuousSpec(2)}, ContinuousSpec(1))
    pixels = np.arange(2 * 16 * 32 * 3).astype(np.uint8).reshape(2, 16, 32, 3)
    seen = {"camera": pixels, "joint": np.zeros((2, 2), np.float32)}
    metadata = EpisodeMetadata("a/1", "toy", "task", source_uri="made here")
    plain = EpisodeSpec({"joint": ContinuousSpec(2)}, ContinuousSpec(1))
    one = np.ones((3, 1), np.float32)
    episodes = [
        Episode(numbers, seen, one[:2], metadata),
        Episode(plain, {"joint": np.ones((3, 2), np.float32)}, one, metadata),
        Episode(EpisodeSpec({"image": ImageSpec()}), {"image": [picture("PNG")]}, metadata=metadata),
    ]
    made = []
    for episode in episodes:
        sequence = EpisodeTokenizer(episode.spec).encode(episode)
        made += [record.to_bytes() for record in segments(Record(sequence, metadata))]
    return made


RECORDS = records()


def seeds(target: str) -> list[bytes]:
    """Sound inputs to start from."""
    if target == "image":
        modes = {
            "PNG": ("RGB", "L", "P", "RGBA", "1", "I;16", "LA"),
            "JPEG": ("RGB", "L", "CMYK"),
            "BMP": ("RGB", "P", "L"),
        }
        return [
            picture(form, mode, seed=seed) for form in FORMATS for mode in modes.get(form, ("RGB",)) for seed in (0, 1)
        ]
    if target in ("record", "example"):
        return RECORDS
    if target == "index":
        return [b"0 19\n19 16\n", b"0 1\n"]
    if target == "text":
        return texts()
    if target == "tar":
        return [archive()]
    return [b"\0" * 8, bytes(range(40))]


def texts() -> list[bytes]:
    import gzip

    import zstandard

    plain = ['{"text": "one", "id": "a"}\n{"text": "zwei ü", "id": 2}\n'.encode(), b"\xef\xbb\xbfone\r\n\r\n  \ntwo"]
    return plain + [gzip.compress(text) for text in plain] + [zstandard.compress(text) for text in plain]


def archive() -> bytes:
    import tarfile

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in (
            ("a/1.txt", b"one"),
            ("a/1.png", picture("PNG")),
            ("b.json", b"{}"),
            ("n" * 120 + ".txt", b"long"),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()
