"""Hypothesis runs the targets of `fuzz_targets.py`; then come its findings, and pictures that claim to be huge."""

import dataclasses
import io
import struct
import subprocess
import sys
import textwrap
import time
import warnings
import zlib
from pathlib import Path

import fuzz_targets
import numpy as np
import pytest
from fuzz_targets import FORMATS, RECORDS, SUFFIXES, picture
from hypothesis import given, settings
from hypothesis import strategies as st

from gato_tokenize.modalities.image import ImageTokenizer
from gato_tokenize.storage.example import decode_example, encode_example
from gato_tokenize.storage.records import Record

SLOWEST = 5.0  # seconds for one input; more counts as a hang


def mutated(seeds: list[bytes]) -> st.SearchStrategy[bytes]:
    """Sound inputs with some bytes replaced, inserted or removed, perhaps truncated."""
    edit = st.tuples(st.integers(0, 2**16), st.integers(0, 3), st.binary(max_size=4))
    return st.builds(_edited, st.sampled_from(seeds), st.lists(edit, max_size=6), st.none() | st.integers(0, 2**16))


def _edited(data: bytes, edits: list[tuple[int, int, bytes]], cut: int | None) -> bytes:
    for place, gone, new in edits:
        place %= len(data) + 1
        data = data[:place] + new + data[place + gone :]
    return data if cut is None else data[: cut % (len(data) + 1)]


def run(target: str, data: bytes) -> None:
    start = time.process_time()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fuzz_targets.TARGETS[target](data)
    assert not caught, [str(warning.message) for warning in caught]
    assert time.process_time() - start < SLOWEST


@pytest.mark.parametrize("target", fuzz_targets.TARGETS)
def test_sound_inputs(target: str) -> None:
    for seed in fuzz_targets.seeds(target):
        run(target, seed)


@pytest.mark.parametrize("target", ["example", "record", "index", "tar", "image"])
def test_mutated_inputs(target: str) -> None:
    @settings(max_examples=400, deadline=None)
    @given(mutated(fuzz_targets.seeds(target)))
    def check(data: bytes) -> None:
        run(target, data)

    check()


@pytest.mark.parametrize("form", FORMATS)
def test_mutated_pictures_of_each_format(form: str) -> None:
    @settings(max_examples=250, deadline=None)
    @given(mutated([picture(form, seed=seed) for seed in (0, 1)]))
    def check(data: bytes) -> None:
        run("image", data)

    check()


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_bytes_after_a_picture_s_first_ones(data: bytes) -> None:
    for magic in (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\x00\x00\x00\x00WEBPVP8 ", b"GIF89a", b"BM"):
        run("image", magic + data)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_records_with_changed_fields(data: bytes) -> None:
    run("fields", data)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=20))
def test_changed_shards(data: bytes) -> None:
    run("shard", data)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_texts_of_any_bytes(suffix: str) -> None:
    @settings(max_examples=60, deadline=None)
    @given(st.binary(max_size=80) | mutated(fuzz_targets.seeds("text")))
    def check(data: bytes) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            fuzz_targets.check_text(data, (suffix,))

    check()


# ------------------------------------------------------------------------------------------------ what was found


@pytest.mark.parametrize("number", range(len(RECORDS)))
def test_a_record_whose_timesteps_end_before_its_tokens(number: int) -> None:
    """It was once read as a padded sequence, which cannot be written again and loses tokens when it is decoded."""
    values = dict(decode_example(RECORDS[number]))
    splits = np.asarray(values.get("step_splits", [0, len(values["tokens"])]))
    assert len(splits) > 1
    values["step_splits"] = np.append(splits[:-1], splits[-1] - 1)
    length = len(values["tokens"])
    with pytest.raises(ValueError, match=f"'step_splits' ends at {length - 1}, there are {length} tokens"):
        Record.from_bytes(encode_example(values))


# --------------------------------------------------------------------------------- pictures that would fill the memory


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, more: bytes = b"", pixels: bytes = b"") -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + more + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def bombs() -> dict[str, bytes]:
    """Small files that would take much memory, by the picture's claimed size, by texts or by a colour profile."""
    packed = zlib.compress(bytes(2**28), 1)
    gif, bmp, webp = (bytearray(picture(form)) for form in ("GIF", "BMP", "WEBP"))
    gif[6:10] = struct.pack("<HH", 65535, 65535)
    bmp[18:26] = struct.pack("<ii", 65535, 65535)
    webp[26:30] = struct.pack("<HH", 16383, 16383)
    jpeg = bytearray(picture("JPEG"))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", 65500, 65500)
    return {
        "png": png(2**31 - 1, 2**31 - 1),
        "png-wide": png(2**26, 1),
        "png-pixels": png(16, 16, pixels=b"\0" * 2**26),
        "png-text": png(16, 16, chunk(b"zTXt", b"k\0\0" + packed)),
        "png-itext": png(16, 16, chunk(b"iTXt", b"k\0\1\0\0\0" + packed)),
        "png-profile": png(16, 16, chunk(b"iCCP", b"k\0\0" + packed)),
        **{"gif": bytes(gif), "bmp": bytes(bmp), "webp": bytes(webp), "jpeg": bytes(jpeg)},
    }


def test_a_small_file_takes_little_memory(tmp_path: Path) -> None:
    """Each is refused or decoded within 200 MB of memory; the class's own limit is 256 MB of pixels."""
    files = bombs()
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        assert len(data) < 2**21
    script = """
        import resource, sys
        from pathlib import Path
        from gato_tokenize.modalities.image import ImageTokenizer
        resource.setrlimit(resource.RLIMIT_DATA, (200 * 10**6, 200 * 10**6))
        for path in sorted(Path(sys.argv[1]).iterdir()):
            try:
                ImageTokenizer().encode(path.read_bytes())
                print(path.name, "decoded")
            except ValueError as error:
                print(path.name, error)
    """
    words = [sys.executable, "-W", "error", "-c", textwrap.dedent(script), str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and not done.stderr, done.stderr
    answers = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert set(answers) == set(files)
    assert answers["webp"].startswith("cannot open")  # libwebp reserves the memory before it gives the size
    large = ("png", "png-wide", "gif", "bmp", "jpeg")
    assert all("pixels, more than max_pixels" in answers[name] for name in large), answers
    assert not any("MemoryError" in reason for reason in answers.values()), answers


@pytest.mark.parametrize("form", FORMATS)
def test_memory_of_a_picture_is_bounded_by_its_pixels(form: str) -> None:
    """Decoding takes at most 24 bytes a pixel besides the file: 2 GB for the largest legal picture, 16 MB here."""
    out = io.BytesIO()
    from PIL import Image

    Image.new("RGB", (2000, 2000)).save(out, form)
    script = """
        import sys
        from pathlib import Path
        from gato_tokenize.modalities.image import ImageTokenizer

        def peak():  # getrusage would begin with the parent's
            return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

        tokenizer, data = ImageTokenizer(), sys.stdin.buffer.read()
        tokenizer.encode(bytes.fromhex(sys.argv[1]))  # what is loaded once
        before = peak()
        tokenizer.encode(data)
        print(peak() - before)
    """
    words = [sys.executable, "-c", textwrap.dedent(script), picture(form).hex()]
    done = subprocess.run(words, input=out.getvalue(), capture_output=True, timeout=60, check=True)
    assert 2000 * 2000 * 3 < int(done.stdout) * 1024 < 2000 * 2000 * 24


def test_the_targets_find_what_is_planted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The targets find a reader that loses a field and a decoder that raises a wrong error."""
    real = Record.from_bytes.__func__  # type: ignore[attr-defined]

    def forgetful(cls: type[Record], data: bytes) -> Record:
        record = real(cls, data)
        return dataclasses.replace(record, sequence=record.sequence.steps(0, record.sequence.num_steps - 1))

    def raising(self: ImageTokenizer, data: bytes) -> None:
        raise OSError("broken")

    def silently(*_: object) -> list[object]:
        return []

    monkeypatch.setattr(ImageTokenizer, "encode_file", raising)
    with pytest.raises(OSError, match="broken"):
        run("image", picture("PNG"))
    monkeypatch.setattr(fuzz_targets, "read_records", silently)
    with pytest.raises(AssertionError):
        run("shard", b"")
    monkeypatch.setattr(Record, "from_bytes", classmethod(forgetful))
    with pytest.raises((AssertionError, ValueError)):
        monkeypatch.setattr(Record, "to_bytes", lambda record: RECORDS[1])
        run("record", RECORDS[0])
