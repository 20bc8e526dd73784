"""TextSource: documents from files of text and of JSON lines, whole or damaged."""

import bz2
import errno
import gzip
import hashlib
import io
import json
import lzma
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from limited import read_source

from gato_tokenize import Episode
from pipelines.sources import open_source, pieces
from pipelines.sources.contract import SourceContract
from pipelines.sources.errors import Filtered, SourceError
from pipelines.sources.formats import files, lines
from pipelines.sources.reading import Reject, read_partition
from pipelines.sources.text import TextSource

zstandard = pytest.importorskip("zstandard")


ENDINGS = (".gz", ".zst", ".xz", ".bz2")


def pack(data: bytes, ending: str) -> bytes:
    if ending == ".gz":
        return gzip.compress(data, mtime=0)
    pack = {".zst": zstandard.ZstdCompressor().compress, ".xz": lzma.compress, ".bz2": bz2.compress}
    return pack[ending](data) if ending else data


def open_text(pattern: str, **options: str) -> TextSource:
    source = TextSource(pattern, options)
    source.source = "text:" + pattern
    return source


def texts(source: TextSource, limit: int | None = None) -> list[str]:
    """The documents. Any other result is an error of the test."""
    read = [result for _, result in read_source(source, limit)]
    assert all(isinstance(result, Episode) for result in read), read
    return [result.observations["text"][0] for result in read]


def messages(source: TextSource) -> list[str]:
    return [result.message for _, result in read_source(source) if isinstance(result, Reject)]


class TestByHand:
    def test_two_lines_of_json_are_two_documents(self, tmp_path: Path) -> None:
        path = tmp_path / "a.jsonl"
        path.write_bytes(b'{"text": "Hello."}\n{"text": "Ahoy!"}\n')
        source = open_text(str(path))
        (_, one), (_, two) = read_source(source)
        assert (one.observations, two.observations) == ({"text": ["Hello."]}, {"text": ["Ahoy!"]})
        assert one.metadata.episode_id == f"{path}#1" and two.metadata.episode_id == f"{path}#2"
        assert (two.metadata.domain, two.metadata.task) == ("text", "text")
        assert (two.metadata.source_uri, two.metadata.source_index) == (str(path), 2)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert source.inputs() == [{"uri": str(path), "bytes": 37, "sha256": digest}]

    def test_a_plain_file_is_one_document_byte_for_byte(self, tmp_path: Path) -> None:
        path = tmp_path / "a.txt"
        path.write_bytes("\ufeffone\r\n\n  two\u2028 \n".encode())
        ((_, episode),) = read_source(open_text(str(path)))
        assert episode.observations == {"text": ["\ufeffone\r\n\n  two\u2028 \n"]}
        assert (episode.metadata.episode_id, episode.metadata.source_index) == (str(path), 0)

    def test_by_line_only_newlines_end_a_document(self, tmp_path: Path) -> None:
        path = tmp_path / "a.txt"
        path.write_bytes("\ufeffone\r\n two\u2028\x0b\x85 \n\r\na\rb\nlast\r".encode())
        read = read_source(open_text(str(path), by="line"))
        got = [result.observations["text"][0] if isinstance(result, Episode) else str(result) for _, result in read]
        assert got == ["\ufeffone", " two\u2028\x0b\x85 ", "blank line", "a\rb", "last\r"]
        assert isinstance(read[2][1], Filtered)
        assert [candidate.source_index for candidate, _ in read] == [1, 2, 3, 4, 5]


class TestContract(SourceContract):
    def make(self, folder: Path) -> str:
        (folder / "a.jsonl").write_text('{"text": "one"}\n\n{"text": "two"}\n')
        (folder / "b.jsonl.gz").write_bytes(pack(b'{"text": "three"}\n{"text": "four"}', ".gz"))
        (folder / "c.txt").write_text("a file of\ntwo lines\n")
        return f"text:{folder}/*"


class TestContractByLine(SourceContract):
    def make(self, folder: Path) -> str:
        for name, text in (("b.txt", "three\n\nfour\n"), ("a.txt", "one\ntwo")):
            (folder / name).write_text(text)
        (folder / "c.txt.zst").write_bytes(pack(b"five\nsix\n", ".zst"))
        return f"text:{folder}/*.txt*?by=line&task=prose"


class TestFiles:
    def test_are_listed_in_byte_order_and_folders_are_not(self, tmp_path: Path) -> None:
        for name in ("b.txt", "é.txt", "B.txt", "a.txt"):
            (tmp_path / name).write_text(name)
        (tmp_path / "z.txt").mkdir()
        os.mkfifo(tmp_path / "y.txt")  # opening it would hang
        assert texts(open_text(f"{tmp_path}/*.txt")) == ["B.txt", "a.txt", "b.txt", "é.txt"]

    def test_a_name_with_wildcards_in_it_is_found(self, tmp_path: Path) -> None:
        (tmp_path / "a[1].txt").write_text("x")
        assert texts(open_text(f"{tmp_path}/a[1].txt")) == ["x"]

    def test_two_stars_go_down(self, tmp_path: Path) -> None:
        (tmp_path / "in" / "er").mkdir(parents=True)
        for place in (".", "in", "in/er"):
            (tmp_path / place / "a.txt").write_text(place)
        assert sorted(texts(open_text(f"{tmp_path}/**/*.txt"))) == [".", "in", "in/er"]

    @pytest.mark.parametrize("pattern", ["nothing/*.txt", "nothing.txt", "", "a\0b"])
    def test_a_pattern_without_a_match_is_named(self, pattern: str) -> None:
        with pytest.raises(SourceError, match="no file matches"):
            open_text(pattern).partitions()

    def test_of_another_kind_are_refused_by_name(self, tmp_path: Path) -> None:
        (tmp_path / "a.json").write_text("{}")
        with pytest.raises(SourceError, match=r"a\.json is no text"):
            open_text(f"{tmp_path}/*").inputs()

    def test_a_name_that_is_not_utf8_is_refused(self, tmp_path: Path) -> None:
        with open(os.fsencode(tmp_path) + b"/\xff.txt", "wb"):
            pass
        with pytest.raises(SourceError, match="not UTF-8"):
            open_text(f"{tmp_path}/*").inputs()

    def test_are_read_once_at_planning(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("a.txt", "b.jsonl"):
            (tmp_path / name).write_text("{}\n")
        opens: list[str] = []
        hashed = files.hashed
        for module in ("pipelines.sources.text", "pipelines.sources.formats.lines"):
            monkeypatch.setattr(f"{module}.hashed", lambda path: (opens.append(path), hashed(path))[1])
        source = open_text(f"{tmp_path}/*")
        source.inputs(), source.partitions(), source.inputs(), source.partitions()
        assert len(opens) == 2


class TestOptions:
    @pytest.mark.parametrize("options", [{"by": "word"}, {"key": ""}, {"task": ""}, {"encoding": "latin-1"}])
    def test_nonsense_is_refused(self, options: dict[str, str]) -> None:
        with pytest.raises(SourceError, match=next(iter(options))):
            TextSource("a.txt", options)

    @pytest.mark.parametrize(("name", "option"), [("a.jsonl", "by"), ("a.txt", "key"), ("a.txt", "id")])
    def test_one_that_would_do_nothing_is_refused(self, tmp_path: Path, name: str, option: str) -> None:
        (tmp_path / name).write_text("{}")
        with pytest.raises(SourceError, match=f"option {option} has no effect"):
            open_text(f"{tmp_path}/{name}", **{option: "line"}).partitions()

    def test_key_and_task(self, tmp_path: Path) -> None:
        (tmp_path / "a.jsonl").write_text('{"text": "no", "body": "yes"}')
        source = open_text(f"{tmp_path}/a.jsonl", key="body", task="web")
        assert texts(source) == ["yes"]
        assert list(source.specs()) == ["web"] and read_source(source)[0][1].metadata.task == "web"

    @pytest.mark.parametrize("strip", ["true", "false"])
    def test_strip(self, tmp_path: Path, strip: str) -> None:
        document = "\ufeff one\r\ntwo \ufeff\r\n\n"
        (tmp_path / "a.txt").write_bytes(document.encode())
        (tmp_path / "b.jsonl").write_text(json.dumps({"text": document}))
        (tmp_path / "c.txt").write_bytes("\ufeff\n".encode())
        source = open_text(f"{tmp_path}/*", strip=strip)
        read = [result for _, result in read_source(source)]
        got = [result.observations["text"][0] if isinstance(result, Episode) else result.message for result in read]
        if strip == "true":
            assert got == [" one\r\ntwo \ufeff"] * 2 + [f"{tmp_path}/c.txt: empty document"]
        else:
            assert got == [document, document, "\ufeff\n"]

    def test_id(self, tmp_path: Path) -> None:
        path = tmp_path / "a.jsonl"
        rows = ['{"text": "a", "id": "x"}', '{"text": "b", "id": 7}', '{"text": "c"}', '{"text": "d", "id": true}']
        path.write_text("\n".join([*rows, '{"text": "e", "id": ""}', "{", '{"text": "f", "id": "\\ud800"}']))
        read = read_source(open_text(str(path), id="id"))
        assert [candidate.episode_id for candidate, _ in read] == ["x", "7", *(f"{path}#{n}" for n in range(3, 8))]
        assert [type(result) for _, result in read] == [Episode] * 2 + [Reject] * 5
        assert read[0][1].metadata.episode_id == "x"


class TestFaults:
    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            (b'{"text": "a\xff"}', r"line 2, byte 12: not UTF-8"),
            (b'{"text": "a" x}', r"line 2, column 14: Expecting ','"),
            (b'{"text": "a', r"line 2, column 10: Unterminated string"),
            (b'["text"]', "line 2: expected a JSON object, got list"),
            (b'{"body": "a"}', r"line 2: no key 'text'; it has \['body'\]"),
            (b'{"text": ["a"]}', "line 2: 'text' must be a string, not list"),
            (b'{"text": ""}', "line 2: empty document"),
            (b'{"text": "\\ud800"}', "line 2: 'text' holds half a surrogate pair at 0"),
            (b'{"text": ' + b"[" * 100_000, "line 2: JSON nested too deeply"),
            (b'{"text": ' + b"1" * 5_000 + b"}", "line 2: Exceeds the limit"),
            (b'{"text": "a\0', "line 2, column 12: Invalid control character"),
        ],
    )
    @pytest.mark.parametrize("ending", ["", *ENDINGS])
    def test_a_bad_line_costs_itself(self, tmp_path: Path, line: bytes, expected: str, ending: str) -> None:
        path = tmp_path / f"a.jsonl{ending}"
        path.write_bytes(pack(b'{"text": "one"}\n' + line + b'\n{"text": "three"}\n', ending))
        (_, one), (candidate, two), (_, three) = read_source(open_text(str(path)))
        assert isinstance(one, Episode) and isinstance(three, Episode) and three.metadata.source_index == 3
        assert isinstance(two, Reject) and candidate.source_index == two.source_index == 2
        with pytest.raises(ValueError, match=expected):
            raise ValueError(two.message)
        assert two.message.startswith(str(path))

    def test_plain_text_that_is_not_utf8_costs_its_file_or_its_line(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_bytes(b"one\nt\xffwo\nthree")
        (tmp_path / "b.txt").write_bytes(b"four")
        assert messages(open_text(f"{tmp_path}/*")) == [f"{tmp_path}/a.txt, byte 6: not UTF-8 (invalid start byte)"]
        by_line = open_text(f"{tmp_path}/*", by="line")
        assert messages(by_line) == [f"{tmp_path}/a.txt, line 2, byte 2: not UTF-8 (invalid start byte)"]
        assert len(read_source(by_line)) == 4

    def test_an_empty_file_is_an_empty_document_but_holds_no_lines(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_bytes(b"")
        assert messages(open_text(f"{tmp_path}/a.txt")) == [f"{tmp_path}/a.txt: empty document"]
        assert read_source(open_text(f"{tmp_path}/a.txt", by="line")) == []

    def test_a_mark_before_the_first_object_is_no_text(self, tmp_path: Path) -> None:
        (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "one"}\n\xef\xbb\xbf{"text": "two"}\n')
        (_, one), (_, two) = read_source(open_text(f"{tmp_path}/a.jsonl"))
        assert one.observations == {"text": ["one"]} and "BOM" in two.message

    @pytest.mark.parametrize("ending", ["", *ENDINGS])
    def test_a_line_beyond_the_limit_costs_itself(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
    ) -> None:
        monkeypatch.setattr(lines, "MAX_DOCUMENT_BYTES", 10)
        rows = [b"x" * 10, b"y" * 11, b"z" * 10 + b"\r", b"w" * 100, b"v" * 11 + b"\r", b"end"]
        path = tmp_path / f"a.txt{ending}"
        path.write_bytes(pack(b"\n".join(rows), ending))
        read = [result for _, result in read_source(open_text(str(path), by="line"))]
        assert [isinstance(result, Episode) for result in read] == [True, False, True, False, False, True]
        assert read[1].message == f"{path}, line 2: longer than 10 bytes, the most that a document may have: split it"
        assert read[-1].metadata.source_index == 6
        assert "longer than 10" in messages(open_text(str(path)))[0]

    def test_a_bomb_is_streamed_past(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lines, "MAX_DOCUMENT_BYTES", 2**20)
        for ending in ENDINGS:
            (tmp_path / f"a.txt{ending}").write_bytes(pack(b"one\n" + bytes(2**26) + b"\nthree\n", ending))
            assert (tmp_path / f"a.txt{ending}").stat().st_size < 2**17
            read = [result for _, result in read_source(open_text(f"{tmp_path}/a.txt{ending}", by="line"))]
            assert [type(result) for result in read] == [Episode, Reject, Episode]

    @pytest.mark.parametrize("ending", ["", ".gz"])
    @pytest.mark.parametrize("by", ["file", "line"])
    def test_a_file_of_another_size_than_planned_is_an_error(self, tmp_path: Path, ending: str, by: str) -> None:
        path = tmp_path / f"a.txt{ending}"
        path.write_bytes(pack(b"one\ntwo\n", ending))
        source = open_text(str(path), by=by)
        (part,) = source.partitions()
        path.write_bytes(pack(b"one\ntwo\nthree\n", ending))
        ((_, reject),) = read_partition(source, part)
        assert "has changed since it was planned" in reject.message
        path.unlink()
        ((_, reject),) = read_partition(source, part)
        assert reject.exception == "FileNotFoundError" and str(path) in reject.message

    def test_lines_that_moved_in_a_file_of_the_same_size_are_an_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pieces, "PIECE_BYTES", 2 * (4 + pieces.RECORD_BYTES))
        monkeypatch.setattr(files.HashedFile.read, "__defaults__", (4,))
        path = tmp_path / "a.txt"
        path.write_bytes(b"one\ntwo\nthr\nfou\n")
        source = open_text(str(path), by="line")
        one, two = source.partitions()
        path.write_bytes(b"one\ntwo thr\nfou\n")
        *_, (_, reject) = read_partition(source, one)
        assert "no line ends at byte 8" in reject.message


class TestTruncation:
    """Files truncated at every byte: whole documents are read, the rest is an error, and nothing hangs."""

    ROWS = [{"text": "one", "n": 1}, {"text": "zwei"}, {"text": "drüben"}]
    DATA = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)

    @pytest.mark.parametrize("ending", ENDINGS)
    @pytest.mark.parametrize("make", [lambda data, end: pack(data, end), lambda data, end: pack(data, end) * 2])
    def test_of_a_compressed_file(self, tmp_path: Path, ending: str, make: Callable[[bytes, str], bytes]) -> None:
        path = tmp_path / f"a.jsonl{ending}"
        whole = make(self.DATA, ending)
        borders = (len(pack(self.DATA, ending)), len(whole))  # the end of a member looks like the end of the file
        for size in range(len(whole) + 1):
            path.write_bytes(whole[:size])
            read = [result for _, result in read_source(open_text(str(path)))]
            got = [result.observations["text"][0] for result in read if isinstance(result, Episode)]
            assert got == ["one", "zwei", "drüben", "one", "zwei", "drüben"][: len(got)]
            if size in borders:
                assert len(read) == len(got) == len(whole[:size]) // borders[0] * 3
            else:
                assert isinstance(read[-1], Reject) and str(path) in read[-1].message
                assert "damaged or cut short" in read[-1].message and len(read) == len(got) + 1

    @pytest.mark.parametrize("ending", ENDINGS)
    def test_of_a_compressed_document(self, tmp_path: Path, ending: str) -> None:
        path = tmp_path / f"a.txt{ending}"
        (tmp_path / "b.txt").write_text("after")
        whole = pack(b"a document of some length", ending)
        for size in range(len(whole)):
            path.write_bytes(whole[:size])
            (_, lost), (_, kept) = read_source(open_text(f"{tmp_path}/*"))
            assert isinstance(lost, Reject) and isinstance(kept, Episode)

    def test_of_a_plain_file(self, tmp_path: Path) -> None:
        path = tmp_path / "a.jsonl"
        ends = [i for i in range(len(self.DATA)) if self.DATA[i : i + 1] == b"\n"]
        for size in range(len(self.DATA) + 1):
            path.write_bytes(self.DATA[:size])
            read = [result for _, result in read_source(open_text(str(path)))]
            good = sum(isinstance(result, Episode) for result in read)
            assert good == sum(end <= size for end in ends)
            assert len(read) - good == (size > 0 and not any(size in (end, end + 1) for end in ends))

    @pytest.mark.parametrize("ending", ENDINGS)
    def test_any_flipped_byte_gives_an_error_or_the_same_lines(self, tmp_path: Path, ending: str) -> None:
        path = tmp_path / f"a.jsonl{ending}"
        whole = zstandard.ZstdCompressor(write_checksum=True).compress(self.DATA) if ending == ".zst" else b""
        whole = whole or pack(self.DATA, ending)
        for place in range(len(whole)):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
            read = read_source(open_text(str(path)))
            good = [r.observations["text"][0] for _, r in read if isinstance(r, Episode)]
            assert good == ["one", "zwei", "drüben"] or any(isinstance(r, Reject) for _, r in read)

    def test_what_follows_compressed_data_is_an_error(self, tmp_path: Path) -> None:
        for ending in ENDINGS:
            path = tmp_path / f"a.jsonl{ending}"
            path.write_bytes(pack(self.DATA, ending) + b"garbage")
            *good, (_, last) = read_source(open_text(str(path)))
            assert len(good) == 3 and "damaged" in last.message

    def test_zeros_between_xz_streams_are_no_data(self, tmp_path: Path) -> None:
        (tmp_path / "a.jsonl.xz").write_bytes((pack(self.DATA, ".xz") + bytes(8)) * 2)
        assert texts(open_text(f"{tmp_path}/a.jsonl.xz")) == ["one", "zwei", "drüben"] * 2

    def test_a_skippable_zstd_frame_is_skipped(self, tmp_path: Path) -> None:
        skippable = bytes.fromhex("502a4d18") + (4).to_bytes(4, "little") + b"seek"
        (tmp_path / "a.jsonl.zst").write_bytes(skippable + pack(self.DATA, ".zst") + skippable)
        assert texts(open_text(f"{tmp_path}/a.jsonl.zst")) == ["one", "zwei", "drüben"]


class TestLimitsAreNoDamage:
    """Sound data beyond a limit is rejected by the name of the limit, with the way to go on."""

    DATA = b'{"text": "one"}\n'

    @pytest.mark.parametrize("before", [b"", zstandard.ZstdCompressor().compress(DATA)])
    def test_a_zstd_window(self, tmp_path: Path, before: bytes) -> None:
        path = tmp_path / "a.jsonl.zst"
        for log, window in ((27, ""), (28, "256 MiB"), (31, "2 GiB")):
            parameters = zstandard.ZstdCompressionParameters(window_log=log)
            frame = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
            path.write_bytes(before + frame.compress(self.DATA) + frame.flush())
            results = [result for _, result in read_source(open_text(str(path)))]
            if window:
                reject = results[-1]
                assert reject.exception == "LimitError" and "damaged" not in reject.message
                assert f"{path}: it needs a window of {window} to be decompressed" in reject.message
                assert "write it again, as by `zstd -dc --long=31" in reject.message
            else:
                assert all(isinstance(result, Episode) for result in results)

    def test_an_xz_window(self, tmp_path: Path) -> None:
        path = tmp_path / "a.jsonl.xz"
        for size, enough in ((2**27, True), (2**28, False)):
            filters = [{"id": lzma.FILTER_LZMA2, "dict_size": size, "mode": lzma.MODE_FAST, "mf": lzma.MF_HC3}]
            path.write_bytes(lzma.compress(self.DATA, filters=filters))
            if enough:
                assert texts(open_text(str(path))) == ["one"]
            else:
                (message,) = messages(open_text(str(path)))
                assert "it needs a window of more than 128 MiB" in message and "damaged" not in message

    def test_a_disk_that_cannot_be_read_is_no_damage(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        class Broken(io.FileIO):
            def read(self, size: int | None = -1, /) -> bytes:
                raise OSError(errno.EIO, "Input/output error")

        for ending in ENDINGS:
            path = tmp_path / f"a.txt{ending}"
            path.write_bytes(b"12345")
            source = open_text(str(path))
            (partition,) = source.partitions()
            with monkeypatch.context() as patch:
                patch.setattr(files, "open_file", Broken)
                ((_, reject),) = read_partition(source, partition)
            assert isinstance(reject, Reject) and reject.message == f"[Errno 5] Input/output error: '{path}'"


class TestPartitions:
    @pytest.fixture(autouse=True)
    def small_chunks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(files.HashedFile.read, "__defaults__", (7,))

    @pytest.mark.parametrize("last", [b"", b"\n", b"\n\n"])
    def test_a_large_file_is_cut_at_line_borders(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: bytes
    ) -> None:
        path = tmp_path / "a.txt"
        rows = [b"line %d" % i + b"." * (i * 7 % 23) for i in range(40)]
        path.write_bytes(b"\n".join(rows) + last)
        uncut = [candidate.episode_id for candidate, _ in read_source(open_text(str(path), by="line"))]
        monkeypatch.setattr(pieces, "PIECE_BYTES", 50)
        source = open_text(str(path), by="line")
        parts = source.partitions()
        ranges = [piece for part in parts for piece in part["pieces"]]
        assert 5 < len(parts) == len(ranges) <= pieces.HANDFUL + 2
        assert ranges[0]["start"] == 0 and ranges[-1]["stop"] == path.stat().st_size
        assert all(one["stop"] == two["start"] for one, two in zip(ranges, ranges[1:], strict=False))
        assert [candidate.episode_id for candidate, _ in read_source(source)] == uncut
        good = [
            result.observations["text"][0].encode() for _, result in read_source(source) if isinstance(result, Episode)
        ]
        assert good == rows
        for limit in range(45):
            assert [candidate.episode_id for candidate, _ in read_source(source, limit)] == uncut[:limit]

    def test_many_small_files_share_a_partition(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for i in range(30):
            (tmp_path / f"{i:02}.txt").write_text(f"{i} a\n{i} b\n")
        for by, each in (("file", 1), ("line", 2)):
            assert len(open_text(f"{tmp_path}/*", by=by).partitions()) == 1
            with monkeypatch.context() as patch:
                patch.setattr(pieces, "PIECE_BYTES", 8 * (10 + each * pieces.RECORD_BYTES))
                source = open_text(f"{tmp_path}/*", by=by)
                assert [len(part["pieces"]) for part in source.partitions()] == [8, 8, 8, 6]
                assert len(texts(source)) == 30 * each
                source.shard_bytes = 5 * (10 + each * pieces.RECORD_BYTES)
                assert [len(part["pieces"]) for part in source.partitions()] == [5] * 6

    def test_a_limit_counts_over_compressed_files_too(self, tmp_path: Path) -> None:
        for name, ending in (("a", ".gz"), ("b", ""), ("c", ".zst")):
            data = "".join(f"{name}{i}\n" for i in range(3)).encode()
            (tmp_path / f"{name}.txt{ending}").write_bytes(pack(data, ending))
        source = open_text(f"{tmp_path}/*", by="line")
        assert len(source.partitions()) == 3
        whole = ["a0", "a1", "a2", "b0", "b1", "b2", "c0", "c1", "c2"]
        for limit in range(11):
            assert texts(source, limit) == whole[:limit]

    def test_a_limit_does_not_stumble_over_a_damaged_file(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt.zst").write_bytes(pack(b"a0\na1\n", ".zst")[:-1])
        (tmp_path / "b.txt").write_text("b0\nb1\n")
        read = read_source(open_text(f"{tmp_path}/*", by="line"), 2)
        assert any(isinstance(result, Reject) for _, result in read)
        assert sum(isinstance(result, Episode) for _, result in read) <= 2


@pytest.mark.parametrize("ending", ["", *ENDINGS])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(documents=st.lists(st.text(st.characters(codec="utf-8"), min_size=1), max_size=8), ascii=st.booleans())
def test_any_documents_survive_json_lines(tmp_path: Path, ending: str, documents: list[str], ascii: bool) -> None:
    rows = [json.dumps({"text": text}, ensure_ascii=ascii).encode() + b"\n" for text in documents]
    path = tmp_path / f"a.jsonl{ending}"
    path.write_bytes(pack(b"".join(rows), ending))
    assert texts(open_text(str(path))) == documents


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(documents=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n")), max_size=8))
def test_any_lines_survive_a_plain_file(tmp_path: Path, documents: list[str]) -> None:
    kept = [text.removesuffix("\r") + "." for text in documents]
    (tmp_path / "a.txt").write_bytes("".join(text + "\n" for text in kept).encode())
    assert texts(open_text(f"{tmp_path}/a.txt", by="line")) == kept


def test_the_source_string_opens_it(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    assert isinstance(open_source(f"text:{tmp_path}/a.txt?by=line"), TextSource)
