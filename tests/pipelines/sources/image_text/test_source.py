"""ImageTextSource: pictures with texts from JSON lines and webdataset archives, whole or damaged."""

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from archives import tar
from limited import read_source
from PIL import Image

from gato_tokenize import Episode, EpisodeSpec, ImageSpec
from pipelines.sources import open_source, pieces
from pipelines.sources.contract import SourceContract
from pipelines.sources.errors import Filtered, SourceError
from pipelines.sources.formats import tar_samples
from pipelines.sources.image_text import image_lines
from pipelines.sources.image_text.source import ImageTextSource
from pipelines.sources.reading import Reject, read_partition


def png(seed: int = 0, height: int = 16, width: int = 16) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def compressed(data: bytes, ending: str) -> bytes:
    if ending.endswith(".zst"):
        return bytes(pytest.importorskip("zstandard").ZstdCompressor().compress(data))
    return {".xz": lzma, ".bz2": bz2}.get(Path(ending).suffix, gzip).compress(data)


def open_pairs(pattern: Path | str, **options: str) -> ImageTextSource:
    source = ImageTextSource(str(pattern), options)
    source.source = f"image-text:{pattern}"
    return source


def values(source: ImageTextSource) -> list[Any]:
    """The observation of each episode, the message of each reject."""
    read = [result for _, result in read_source(source)]
    return [r.observations if isinstance(r, Episode) else getattr(r, "message", str(r)) for r in read]


def write_lines(folder: Path, *rows: Any) -> Path:
    path = folder / "pairs.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


class TestByHand:
    def test_a_line_with_a_caption_and_one_with_a_question(self, tmp_path: Path) -> None:
        (tmp_path / "cats").mkdir()
        (tmp_path / "cats" / "1.png").write_bytes(png())
        path = write_lines(
            tmp_path,
            {"image": "cats/1.png", "caption": "A cat."},
            {"image": "cats/1.png", "question": "Who?", "answer": "cat", "id": 7},
        )
        source = open_pairs(path)
        (_, one), (_, two) = read_source(source)
        assert one.observations == {"image": [png()], "caption": ["A cat."]}
        assert two.observations == {"image": [png()], "question": ["Who?"], "answer": ["cat"]}
        assert (one.metadata.task, two.metadata.task) == ("caption", "vqa")
        assert (one.metadata.episode_id, two.metadata.episode_id) == (f"{path}#1", "7")
        assert (two.metadata.source_uri, two.metadata.source_index) == (str(path), 2)
        assert one.metadata.domain == "vision-language"
        assert list(one.fields) == ["observation/image", "observation/caption"]
        lines, images = source.inputs()
        assert lines["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert images["uri"] == f"{path}#images" and images["bytes"] == 2 * len(png())

    def test_an_archive_with_a_caption_and_a_question(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tar"
        asked = json.dumps({"question": "Who?", "answer": "cat", "id": "q1"}).encode()
        path.write_bytes(tar([("x/1.png", png()), ("x/1.txt", b"A cat.\n"), ("x/2.json", asked), ("x/2.JPG", png(1))]))
        source = open_pairs(path)
        (_, one), (_, two) = read_source(source)
        assert one.observations == {"image": [png()], "caption": ["A cat.\n"]}
        assert two.observations == {"image": [png(1)], "question": ["Who?"], "answer": ["cat"]}
        assert (one.metadata.episode_id, two.metadata.episode_id) == (f"{path}#1", "q1")
        assert (two.metadata.source_uri, two.metadata.source_index) == (f"{path}/x/2", 2)
        data = path.read_bytes()
        assert source.inputs() == [{"uri": str(path), "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}]


def legal(folder: Path) -> None:
    for i in range(3):
        (folder / f"{i}.png").write_bytes(png(i))
    asked = {"image": "2.png", "question": "what?", "answer": "that"}
    write_lines(folder, *({"image": f"{i}.png", "caption": f"caption {i}"} for i in range(2)), "", asked)


class TestContractOfLines(SourceContract):
    def make(self, folder: Path) -> str:
        legal(folder)
        return f"image-text:{folder}/*.jsonl"


class TestContractOfArchives(SourceContract):
    def make(self, folder: Path) -> str:
        for name in ("a", "b"):
            members = [
                (f"{i}.{kind}", png(i) if kind == "png" else b"words") for i in range(3) for kind in ("png", "txt")
            ]
            (folder / f"{name}.tar").write_bytes(tar(members))
        (folder / "c.tar.gz").write_bytes(gzip.compress(tar(members), mtime=0))
        return f"image-text:{folder}/*.tar*?resize=32x48&task=toy"


class TestOptions:
    @pytest.mark.parametrize("resize", ["32", "32x", "x32", "0x16", "31x32", "32x32x3", "-16x16", "999999x16"])
    def test_a_bad_resize_is_refused(self, resize: str) -> None:
        with pytest.raises(SourceError, match="option resize"):
            open_pairs("pairs.jsonl", resize=resize)

    def test_resize_is_height_by_width(self) -> None:
        image = ImageSpec(resize=(32, 64))
        specs = open_pairs("pairs.jsonl", resize="32x64").specs()
        assert specs == {"caption": EpisodeSpec.caption(image), "vqa": EpisodeSpec.question_answer(image)}

    def test_task_names_both_kinds(self, tmp_path: Path) -> None:
        legal(tmp_path)
        source = open_pairs(tmp_path / "pairs.jsonl", task="coco")
        assert list(source.specs()) == ["coco-caption", "coco-vqa"]
        read = [result for _, result in read_source(source) if isinstance(result, Episode)]
        assert [episode.metadata.task for episode in read] == ["coco-caption", "coco-caption", "coco-vqa"]

    def test_strip(self, tmp_path: Path) -> None:
        asked = {"image": "0.png", "question": "\ufeffwhat?\n", "answer": " that \r\n"}
        (tmp_path / "0.png").write_bytes(png())
        write_lines(tmp_path, {"image": "0.png", "caption": "\ufeffa\ncat\r\n"}, asked)
        notes = json.dumps({"caption": "a cat"}).encode()
        members = [("1.png", png()), ("1.txt", "\ufeffa cat\r\n".encode()), ("1.json", notes), ("2.png", png())]
        (tmp_path / "a.tar").write_bytes(tar([*members, ("2.txt", "\ufeff\r\n".encode())]))
        one, two = values(open_pairs(tmp_path / "pairs.jsonl", strip="true"))
        assert one["caption"] == ["a\ncat"] and (two["question"], two["answer"]) == (["what?"], [" that "])
        one, two = values(open_pairs(tmp_path / "pairs.jsonl"))
        assert one["caption"] == ["\ufeffa\ncat\r\n"] and two["answer"] == [" that \r\n"]
        one, message = values(open_pairs(tmp_path / "a.tar", strip="true"))
        assert one["caption"] == ["a cat"] and message.endswith("2: the caption is empty")
        message, two = values(open_pairs(tmp_path / "a.tar"))
        assert "the caption in its .json is not the one in its .txt" in message and two["caption"] == ["\ufeff\r\n"]

    @pytest.mark.parametrize("name", ["a.json", "a.jsonl.gz", "a.zip"])
    def test_other_files_are_refused_by_name(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(SourceError, match=name):
            open_pairs(tmp_path / name).partitions()

    def test_no_file_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="no file matches"):
            open_pairs(tmp_path / "shards-*.tar").inputs()


class TestFaultsOfLines:
    @pytest.mark.parametrize(
        ("row", "expected"),
        [
            ({"image": "none.png", "caption": "a"}, "the image 'none.png' cannot be read: No such file"),
            ({"image": "folder", "caption": "a"}, "the image 'folder' is no file"),
            ({"image": "pipe", "caption": "a"}, "the image 'pipe' is no file"),
            ({"image": "", "caption": "a"}, "the image '' is no file"),
            ({"image": "empty.png", "caption": "a"}, "the image 'empty.png' is an empty file"),
            ({"image": "big.png", "caption": "a"}, "the image 'big.png' has 1000000 bytes, more than 200000"),
            ({"image": "a\0b", "caption": "a"}, "must be a path below the folder"),
            ({"image": "x" * 5000, "caption": "a"}, "cannot be read: File name too long"),
            ({"image": "\ud800", "caption": "a"}, "'image' holds half a surrogate pair"),
            ({"image": 3, "caption": "a"}, "'image' must be a string, not int"),
            ({"caption": "a"}, "no key 'image'"),
            ({"image": "0.png"}, "has neither a caption nor a question and its answer"),
            ({"image": "0.png", "caption": ""}, "the caption is empty"),
            ({"image": "0.png", "caption": " \n"}, "the caption is empty"),
            ({"image": "0.png", "caption": ["a", "b"]}, "'caption' must be a string, not list"),
            ({"image": "0.png", "question": "a"}, "no key 'answer'"),
            ({"image": "0.png", "answer": "a"}, "no key 'question'"),
            ({"image": "0.png", "question": "a", "answer": ""}, "the answer is empty"),
            ({"image": "0.png", "caption": "a", "answer": "a"}, "has both a caption and answer"),
            ({"image": "0.png", "caption": "a", "id": ""}, "'id' is empty"),
            ({"image": "0.png", "caption": "a", "id": [1]}, "'id' must be a string, not list"),
            ("{", "column 2: Expecting property name"),
            ("[" * 100_000, "JSON nested too deeply"),
            ("3", "expected a JSON object, got int"),
        ],
    )
    def test_each_costs_its_line(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: Any, expected: str
    ) -> None:
        monkeypatch.setattr(image_lines, "MAX_IMAGE_BYTES", 200_000)
        (tmp_path / "0.png").write_bytes(png())
        (tmp_path / "folder").mkdir()
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "empty.png").write_bytes(b"")
        (tmp_path / "big.png").write_bytes(bytes(10**6))
        good = {"image": "0.png", "caption": "good", "id": None}
        path = write_lines(tmp_path, good, row, good)
        one, two, three = values(open_pairs(path))
        assert one == three == {"image": [png()], "caption": ["good"]}
        assert two.startswith(f"{path}, line 2") and expected in two and len(two) < 2_000

    @pytest.mark.parametrize(
        "name", ["../secret.png", "/etc/hostname", "link.png", "out/secret.png", "a/../0.png", "..\\x"]
    )
    def test_no_path_leaves_the_folder(self, tmp_path: Path, name: str) -> None:
        folder = tmp_path / "pairs"
        (folder / "a").mkdir(parents=True)
        (tmp_path / "secret.png").write_bytes(png(1))
        (folder / "0.png").write_bytes(png())
        (folder / "link.png").symlink_to("../secret.png")
        (folder / "out").symlink_to(tmp_path)
        (message,) = values(open_pairs(write_lines(folder, {"image": name, "caption": "a"})))
        assert "below the folder" in message or "is a link out of" in message

    def test_links_inside_the_folder_and_to_it_are_followed(self, tmp_path: Path) -> None:
        folder = tmp_path / "pairs"
        folder.mkdir()
        (folder / "0.png").write_bytes(png())
        (folder / "link.png").symlink_to("0.png")
        write_lines(folder, {"image": "link.png", "caption": "a"})
        (tmp_path / "other").symlink_to(folder)
        assert values(open_pairs(tmp_path / "other" / "pairs.jsonl")) == [{"image": [png()], "caption": ["a"]}]

    def test_a_folder_relative_to_here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        legal(tmp_path)
        read = read_source(open_pairs("pairs.jsonl"))
        assert [candidate.episode_id for candidate, _ in read] == [f"pairs.jsonl#{n}" for n in (1, 2, 3, 4)]
        assert isinstance(read[2][1], Filtered) and isinstance(read[3][1], Episode)

    def test_another_size_of_the_lines_or_the_pictures_is_seen(self, tmp_path: Path) -> None:
        legal(tmp_path)
        path = tmp_path / "pairs.jsonl"
        source = open_pairs(path)
        planned, (part,) = source.inputs(), source.partitions()
        (tmp_path / "0.png").write_bytes(png(0, 32))
        assert open_pairs(path).inputs()[1] != planned[1]
        path.write_text(path.read_text() + "{}\n")
        ((_, reject),) = read_partition(source, part)
        assert "has changed since it was planned" in reject.message

    def test_truncation_at_every_byte(self, tmp_path: Path) -> None:
        legal(tmp_path)
        path = tmp_path / "pairs.jsonl"
        whole = path.read_bytes()
        complete = values(open_pairs(path))
        for size in range(len(whole)):
            path.write_bytes(whole[:size])
            *before, last = [*values(open_pairs(path))] or [None]
            assert before == complete[: len(before)]
            assert last is None or isinstance(last, str) or last == complete[len(before)]


WORDS = ["one", "zwei", "drüben", "four"]
MEMBERS = [
    (f"{i}.{kind}", png(i) if kind == "png" else text.encode())
    for i, text in enumerate(WORDS)
    for kind in ("png", "txt")
]
WHOLE = [{"image": [png(i)], "caption": [text]} for i, text in enumerate(WORDS)]


class TestWebdatasetsNames:
    def test_the_key_ends_at_the_first_dot_of_the_file_name(self, tmp_path: Path) -> None:
        names = ["v1.0/a.b/c.d.seg.png", "v1.0/a.b/c.png", "v1.0/a.b/c.txt", "./d.png", "./d.txt", "e/d.png", "e/d.txt"]
        path = tmp_path / "a.tar"
        path.write_bytes(tar([(name, png() if name.endswith("png") else b"words") for name in names]))
        read = read_source(open_pairs(path))
        assert [candidate.source_uri for candidate, _ in read] == [
            f"{path}/{key}" for key in ("v1.0/a.b/c", "./d", "e/d")
        ]
        assert all(isinstance(result, Episode) for _, result in read)

    def test_what_does_not_count(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tar"
        with tarfile.open(path, "w") as archive:
            for name, kind in (("x.d", tarfile.DIRTYPE), ("0.jpg", tarfile.SYMTYPE), ("0.webp", tarfile.LNKTYPE)):
                header = tarfile.TarInfo(name)
                header.type, header.linkname = kind, "/etc/hostname"
                archive.addfile(header)
            for name in (
                "README",
                "._0.png",
                ".hidden",
                "__index__/a.json",
                "0.png",
                "0.cls",
                "0.txt",
            ):
                header = tarfile.TarInfo(name)
                header.size = 5
                archive.addfile(header, io.BytesIO(b"12345"))
        assert values(open_pairs(path)) == [{"image": [b"12345"], "caption": ["12345"]}]

    @pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    def test_long_names_of_every_format(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: int) -> None:
        folder = "/".join(["folder" * 5] * (3 if format == tarfile.USTAR_FORMAT else 9))
        path = tmp_path / "a.tar"
        path.write_bytes(tar([(f"{folder}/{name}", data) for name, data in MEMBERS], format))
        assert values(open_pairs(path)) == WHOLE
        monkeypatch.setattr(pieces, "PIECE_BYTES", 1)
        assert len(open_pairs(path).partitions()) == 4
        assert values(open_pairs(path)) == WHOLE

    def test_a_name_that_is_not_utf8(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tar"
        path.write_bytes(tar([(f"\udcff{name}", data) for name, data in MEMBERS], tarfile.GNU_FORMAT))
        read = read_source(open_pairs(path))
        assert read[0][0].source_uri == f"{path}/\\xff0" and isinstance(read[0][1], Episode)

    def test_a_json_beside_a_caption_is_its_metadata(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tar"
        notes = json.dumps({"id": "x", "caption": "a cat", "width": 3, "question": None}).encode()
        path.write_bytes(tar([("1.png", png()), ("1.txt", b"a cat"), ("1.json", notes)]))
        ((candidate, episode),) = read_source(open_pairs(path))
        assert candidate.episode_id == "x" and episode.observations["caption"] == ["a cat"]


class TestFailedDownloads:
    """img2dataset keeps the .json of a download that failed, with its status."""

    @staticmethod
    def outcomes(tmp_path: Path, **changes: Any) -> list[Any]:
        said = {"caption": "A cat.", "status": "success", "error_message": None, "url": "https://example.com/1.png"}
        failed = json.dumps({**said, "status": "failed_to_download", "error_message": "HTTP Error 404", **changes})
        members = [("0.png", png()), ("0.txt", b"A cat."), ("0.json", json.dumps(said).encode())]
        (tmp_path / "00000.tar").write_bytes(tar([*members, ("1.txt", b"A cat."), ("1.json", failed.encode())]))
        return [result for _, result in read_source(open_pairs(tmp_path / "00000.tar"))]

    def test_they_are_filtered_by_their_status(self, tmp_path: Path) -> None:
        one, two = self.outcomes(tmp_path)
        assert isinstance(one, Episode) and isinstance(two, Filtered)
        assert str(two) == "no picture, and its status in the .json is 'failed_to_download'"

    @pytest.mark.parametrize("status", ["success", None, 404])
    def test_a_picture_that_is_missing_for_no_such_reason_is_a_reject(self, tmp_path: Path, status: Any) -> None:
        two = self.outcomes(tmp_path, status=status)[1]
        assert isinstance(two, Reject) and "expected one image" in two.message

    def test_the_status_of_a_sample_with_a_picture_counts_for_nothing(self, tmp_path: Path) -> None:
        record = json.dumps({"caption": "A cat.", "status": "approved"}).encode()
        (tmp_path / "a.tar").write_bytes(tar([("0.png", png()), ("0.json", record)]))
        assert [type(result) for _, result in read_source(open_pairs(tmp_path / "a.tar"))] == [Episode]


class TestFaultsOfArchives:
    @pytest.mark.parametrize(
        ("members", "expected"),
        [
            (
                {"png": png()},
                "x: no .txt or .json has this name: its members are x.png; the key of a sample ends at the first",
            ),
            ({"cls": b"3"}, "x: no .txt or .json has this name: its members are x.cls; the key"),
            ({"txt": b"a"}, "x: expected one image (.jpg, .jpeg, .png, .webp) beside the text, found none"),
            ({"png": png(), "jpg": png(), "txt": b"a"}, "x: expected one image (.jpg, .jpeg, .png, .webp) beside"),
            ({"png": b"", "txt": b"a"}, "x.png is an empty file"),
            ({"png": bytes(200_000), "txt": b"a"}, "x.png: more than 100000 bytes"),
            ({"png": png(), "txt": bytes(200_000)}, "x.txt: more than 100000 bytes"),
            ({"png": png(), "txt": b""}, "x: the caption is empty"),
            ({"png": png(), "txt": b"a\xff"}, "x.txt, byte 2: not UTF-8"),
            ({"png": png(), "json": b"{\n x}"}, "x.json, line 2 column 2: Expecting property name"),
            ({"png": png(), "json": b"[]"}, "x.json: expected a JSON object, got list"),
            ({"png": png(), "json": b"[" * 90_000}, "x.json: JSON nested too deeply"),
            ({"png": png(), "json": b"{}"}, "x: has neither a caption nor a question"),
            ({"png": png(), "json": b'{"question": "a"}'}, "x: no key 'answer'"),
            ({"png": png(), "txt": b"a", "json": b'{"question": "a"}'}, "x: has both a caption and question"),
            ({"png": png(), "txt": b"a", "json": b'{"caption": "b"}'}, "x: the caption in its .json is not the one"),
            ({"png": png(), "txt": b"a", "PNG": png()}, "x: two members .png have this name"),
        ],
    )
    def test_each_costs_its_sample(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, members: dict[str, bytes], expected: str
    ) -> None:
        monkeypatch.setattr(tar_samples, "MAX_MEMBER_BYTES", 100_000)
        path = tmp_path / "a.tar"
        path.write_bytes(tar([*MEMBERS[:2], *((f"x.{kind}", data) for kind, data in members.items()), *MEMBERS[2:4]]))
        one, two, three = values(open_pairs(path))
        assert [one, three] == WHOLE[:2] and two.startswith(f"{path}/{expected}")

    def test_keys_that_end_too_early_are_explained(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tar"
        names = [f"in/photo.{year}.{kind}" for year in range(2024, 2030) for kind in ("png", "txt")]
        path.write_bytes(tar([*((name, png() if name.endswith("png") else b"words") for name in names[:3]), *MEMBERS]))
        message, *good = values(open_pairs(path))
        assert good == WHOLE and message == (
            f"{path}/in/photo: no .txt or .json has this name: its members are in/photo.2024.png, in/photo.2024.txt, "
            "in/photo.2025.png; the key of a sample ends at the first dot of the file name: name them so that it "
            "differs from sample to sample"
        )
        path.write_bytes(tar([(name, b"") for name in names]))
        (message,) = values(open_pairs(path))
        assert "in/photo.2027.txt, ...; the key" in message and "2028" not in message

    def test_a_key_of_two_words_is_legal(self, tmp_path: Path) -> None:
        path = tmp_path / "v1.0.tar"
        names = ["v1.0/photo-2024.png", "v1.0/photo-2024.txt", "v1.0/photo-2025.png", "v1.0/photo-2025.txt"]
        path.write_bytes(tar([(name, png() if name.endswith("png") else b"words") for name in names]))
        assert values(open_pairs(path)) == [{"image": [png()], "caption": ["words"]}] * 2

    def test_members_that_are_no_neighbours_are_no_sample(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tar"
        path.write_bytes(tar([MEMBERS[0], MEMBERS[2], MEMBERS[1], MEMBERS[3]]))
        read = read_source(open_pairs(path))
        assert [type(result) for _, result in read] == [Reject] * 4
        assert len({candidate.episode_id for candidate, _ in read}) == 4

    def test_an_archive_without_a_sample(self, tmp_path: Path) -> None:
        (tmp_path / "a.tar").write_bytes(tar([]))
        assert read_source(open_pairs(tmp_path / "a.tar")) == []


class TestTruncation:
    """Archives truncated at every byte: whole samples are read, the rest is one error."""

    @pytest.mark.parametrize("ending", [".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2"])
    def test_of_an_archive(self, tmp_path: Path, ending: str) -> None:
        small = [(name, data[:40]) for name, data in MEMBERS[:4]]
        expected = [{"image": [small[i][1]], "caption": [small[i + 1][1].decode()]} for i in (0, 2)]
        whole = tar(small)
        if ending == ".tar":
            whole = whole[: 4 * 1024 + 1024]  # members of two blocks, and the two blocks of zeros that end it
        else:
            whole = compressed(whole, ending)
        path = tmp_path / f"a{ending}"
        for size in range(len(whole) + 1):
            path.write_bytes(whole[:size])
            source = open_pairs(path)
            read = values(source)
            good = [value for value in read if not isinstance(value, str)]
            assert good == expected[: len(good)]
            complete = size == len(whole) or (ending == ".tar" and size >= 4 * 1024 + 512)
            assert len(read) == len(good) + (not complete) and (not complete or len(good) == 2), size
            if not complete:
                assert str(path) in read[-1]
            assert [value for value in read[:1]] == [
                r.observations if isinstance(r, Episode) else r.message for _, r in read_source(source, 1)[:1]
            ]

    def test_of_an_archive_in_pieces(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pieces, "PIECE_BYTES", 1)
        path = tmp_path / "a.tar"
        whole = tar(MEMBERS)
        for size in range(0, len(whole) + 1, 256):
            path.write_bytes(whole[:size])
            read = values(open_pairs(path))
            good = [value for value in read if not isinstance(value, str)]
            assert good == WHOLE[: len(good)] and len(read) <= len(good) + 1
            assert len(good) == 4 or len(read) == len(good) + 1

    def test_any_damaged_header_byte_hides_no_sample(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tar"
        whole = tar([(name, data[:40]) for name, data in MEMBERS[:4]])
        path.write_bytes(whole)
        complete = values(open_pairs(path))
        for place in range(1024, 1536):  # of the second member
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x15]) + whole[place + 1 :])
            read = values(open_pairs(path))
            assert len(read) == 1 and "damaged" in read[0] or read == complete, place

    @pytest.mark.parametrize("kind", [b"0", b"L", b"K", b"x", b"g", b"X", b"S", b"5", b"Z"])
    @pytest.mark.parametrize("size", [-1, -512, -(2**62), 2**21, 2**40, 2**62])
    def test_a_header_that_claims_any_size_neither_hangs_nor_fills_the_memory(
        self, tmp_path: Path, kind: bytes, size: int
    ) -> None:
        header = tarfile.TarInfo("evil.txt")
        header.type, header.size = kind, size
        evil = header.tobuf(tarfile.GNU_FORMAT)
        for place, data in enumerate((evil, evil + tar(MEMBERS), tar(MEMBERS)[: 8 * 1024] + evil)):
            path = tmp_path / f"{place}.tar"
            path.write_bytes(data)
            read = values(open_pairs(path))
            assert isinstance(read[-1], str) or size == 2**21 or (kind == b"5" and read == WHOLE)  # no size

    def test_a_name_beyond_the_limit_is_no_damage(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tar"
        for length, enough in ((2**20 - 1, True), (2**20, False)):  # with the zero that ends it
            long = [("x" * (length - 1) + ".", png())]
            path.write_bytes(tar([*MEMBERS[:2], *long, *MEMBERS[2:4]], tarfile.GNU_FORMAT))
            read = values(open_pairs(path))
            if enough:
                assert WHOLE[1] in read
            else:
                assert "at most 1048576 are read: write the archive again" in read[-1] and "damaged" not in read[-1]

    def test_a_zstd_window_beyond_the_limit_is_no_damage(self, tmp_path: Path) -> None:
        zstandard = pytest.importorskip("zstandard")
        path = tmp_path / "a.tar.zst"
        frame = zstandard.ZstdCompressor(
            compression_params=zstandard.ZstdCompressionParameters(window_log=31)
        ).compressobj()
        path.write_bytes(frame.compress(tar(MEMBERS)) + frame.flush())
        (message,) = values(open_pairs(path))
        assert message.count(str(path)) == 2  # the partition and the file
        assert "it needs a window of 2 GiB" in message and "damaged" not in message

    def test_a_longer_size_in_an_extended_header(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tar"
        for size in ("-512", "1e3", "99999999999999999999", "x"):
            header = tarfile.TarInfo("evil.png")
            header.pax_headers = {"size": size}
            data = header.tobuf(tarfile.PAX_FORMAT) + tar(MEMBERS)
            path.write_bytes(data)
            assert isinstance(values(open_pairs(path))[-1], str) or size in ("x", "1e3")

    def test_data_after_the_end_is_an_error(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tar"
        path.write_bytes(tar(MEMBERS[:2]) + tar(MEMBERS[2:4]))
        one, last = values(open_pairs(path))
        assert one == WHOLE[0] and "data after the end" in last

    def test_another_size_or_fewer_samples_than_planned(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "a.tar"
        path.write_bytes(tar(MEMBERS))
        (whole,) = open_pairs(path).partitions()[0]["pieces"]
        one, two = {"pieces": [{**whole, "samples": 3}]}, {"pieces": [{**whole, "first": 4}]}
        source = open_pairs(path)
        path.write_bytes(tar(MEMBERS[:4]).ljust(whole["bytes"], b"\0"))
        *good, (_, reject) = read_partition(source, one)
        assert len(good) == 2 and "changed since it was planned: it ends after sample 2" in reject.message
        path.write_bytes(tar(MEMBERS) * 2)
        for part in (one, two):
            ((_, reject),) = read_partition(source, part)
            assert "has changed since it was planned" in reject.message


class TestPartitions:
    def test_an_archive_is_cut_between_samples(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "a.tar"
        members = [
            (f"{i:02}.{kind}", png(i) if kind == "png" else b"words") for i in range(11) for kind in ("png", "txt")
        ]
        path.write_bytes(tar(members))
        uncut = [(c.episode_id, r.observations) for c, r in read_source(open_pairs(path))]
        monkeypatch.setattr(pieces, "PIECE_BYTES", 5_000)
        source = open_pairs(path)
        assert len(source.partitions()) > 3 and len(uncut) == 11
        assert [(c.episode_id, r.observations) for c, r in read_source(source)] == uncut
        for limit in range(13):
            assert [(c.episode_id, r.observations) for c, r in read_source(source, limit)] == uncut[:limit]

    def test_lines_are_cut_by_the_weight_of_their_pictures(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for i in range(9):
            (tmp_path / f"{i}.png").write_bytes(png(i))
        path = write_lines(tmp_path, *({"image": f"{i}.png", "caption": f"{i}"} for i in range(9)), "broken")
        uncut = [c.episode_id for c, _ in read_source(open_pairs(path))]
        monkeypatch.setattr(pieces, "PIECE_BYTES", 2_500)
        source = open_pairs(path)
        assert len(source.partitions()) > 3 and len(uncut) == 10
        for limit in (None, *range(12)):
            assert [c.episode_id for c, _ in read_source(source, limit)] == uncut[:limit]

    def test_small_files_of_lines_share_a_partition_and_archives_do_not(self, tmp_path: Path) -> None:
        for name in ("a", "b", "z"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "0.png").write_bytes(png())
            write_lines(tmp_path / name, {"image": "0.png", "caption": name})
        for name in ("m", "n"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "a.tar").write_bytes(tar(MEMBERS))
        source = open_pairs(tmp_path / "*/*[lr]")
        assert [len(part["pieces"]) for part in source.partitions()] == [2, 1, 1, 1]
        assert len(values(source)) == 11

    def test_a_limit_counts_over_compressed_archives(self, tmp_path: Path) -> None:
        (tmp_path / "a.tar.gz").write_bytes(gzip.compress(tar(MEMBERS)))
        (tmp_path / "b.tar").write_bytes(tar(MEMBERS))
        source = open_pairs(tmp_path / "*")
        for limit in range(10):
            assert len(read_source(source, limit)) == min(limit, 8)


def test_the_pictures_of_easy_vqa(tmp_path: Path) -> None:
    easy_vqa = pytest.importorskip("easy_vqa", reason="easy-vqa is not installed")
    questions, answers, numbers = easy_vqa.get_test_questions()
    paths = easy_vqa.get_test_image_paths()
    rows = []
    for question, answer, number in list(zip(questions, answers, numbers, strict=True))[:20]:
        (tmp_path / f"{number}.png").write_bytes(Path(paths[number]).read_bytes())
        rows.append({"image": f"{number}.png", "question": question, "answer": answer})
    source = open_source(f"image-text:{write_lines(tmp_path, *rows)}?task=easy")
    read = [result for part in source.partitions() for _, result in read_partition(source, part)]
    assert [episode.observations["question"][0] for episode in read] == questions[:20]
    assert {episode.metadata.task for episode in read} == {"easy-vqa"}
