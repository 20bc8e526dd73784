"""Plans: partitions that stay to the byte between releases, and what a limit cuts off them."""

import dataclasses
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from archives import tar
from conversions import convert, rejects
from limited import read_source

from gato_tokenize import Dataset, Episode, EpisodeSpec
from pipelines.__main__ import main
from pipelines.conversion.limit import limited_works
from pipelines.conversion.plan import make_plan
from pipelines.conversion.work import Work
from pipelines.sources import SOURCES as SOURCE_CLASSES
from pipelines.sources import open_source, pieces
from pipelines.sources.reading import Reject, read_partition
from pipelines.sources.source import Candidate, Source

SOURCES = {
    "files": ["text:docs/*.txt"],
    "packed": ["text:docs/*.txt*"],
    "by line": ["text:lines.txt?by=line", "text:rows.jsonl?task=rows"],
    "packed lines": ["text:docs/*0*.txt?by=line", "text:docs/*.gz?by=line&task=packed"],
    "pairs": ["image-text:pairs.jsonl?resize=32x32"],
    "samples": ["image-text:samples.tar?task=tar", "image-text:pairs.jsonl"],
}
# By PIECE_BYTES: the number of partitions and the plan's sha256.
PLANS: dict[int, dict[str, tuple[int, str]]] = {
    4 * 2**20: {
        "files": (1, "e80c5b60871cf13ff2158354ed0816a643bbc0faa9e2d45828d09bbe074e9f2c"),
        "packed": (1, "f45a8a7fef5c831414fa79ddafc7fc99bd328de80ef41c3006eb1a61bcd5fdaa"),
        "by line": (4, "61870ef80128cfcedf83494e58da9c303ddf130ad1f514df05ac2814d6a75c5e"),
        "packed lines": (2, "1cf4d510d3c3a579ee2596f785e5b54348b3094929bac5d4fb5528072e9392cf"),
        "pairs": (2, "2b76dadb92db481f57bc727c5f6726fa78557866efe425f55604845fbb745154"),
        "samples": (3, "4ee715059e8e5d7452eb5b1dcdb4dede78fb48373dbc1e1ee0b490ea4bc8eb1f"),
    },
    20_000: {
        "files": (8, "ed48c08be44398d32ce9236e838cb3774708004d2905ad77fb4b2de296331dfc"),
        "packed": (9, "5263947bbae3318792dcfded1ed79a4bf53e60d0269842ef811b262fc9abade8"),
        "by line": (9, "7dd1c5e1925685266f3726a0d17a2130124379621a73c23eaf6e8ea045965080"),
        "packed lines": (8, "cc01298a3765c1deb1993f0f12c8724d04db8c19a4e6fcf533e29c5f02da1587"),
        "pairs": (9, "818d2c305006400c5a28f422044f369262926ceaa07abf2e3761b05939c29fc9"),
        "samples": (18, "54fcd36245c2df36b0eb43e4ace324d8821ebaa31ae6e9cbca6103b1e098c6bd"),
    },
    400_000: {
        "files": (2, "1245bf2302b3265f4b43ce3ee148cd5483b29ac4cadbf9cdd2865edfe4700eb7"),
        "packed": (2, "1378747e00d028fb966f1a8004280658c028aa4451ff8c29a407756571224afa"),
        "by line": (9, "7dd1c5e1925685266f3726a0d17a2130124379621a73c23eaf6e8ea045965080"),
        "packed lines": (3, "100ba784336def87b1e1944ff23db691e69c0cc187bc1cb7f25acbb38a2834d6"),
        "pairs": (9, "d298253689715041c9a664a34aa155190b051a7e4878e45d2bdada05e682a598"),
        "samples": (14, "2a9831768bc30195581ebffd8570169b8a93e0fe06f14f67db9ac4e112f0995e"),
    },
}
PACKED = "1f8b0800000000000203cbcf4be52a29cfe72ac9284a4de50200b6d5e6250e000000"  # gzip of "one\ntwo\nthree\n"


def write_inputs() -> None:
    Path("docs").mkdir()
    for number in range(12):
        Path(f"docs/{number:02d}.txt").write_text(f"document {number} " * 4_000 * (number % 3))
    Path("docs/packed.txt.gz").write_bytes(bytes.fromhex(PACKED))
    Path("lines.txt").write_text("".join(f"line {number} of many\n" for number in range(60_000)) + "the last")
    Path("rows.jsonl").write_text("".join(f'{{"text": "{number}"}}\n' for number in range(50_000)))
    Path("pictures").mkdir()
    for number in range(7):
        Path(f"pictures/{number}.png").write_bytes(b"\x89PNG" * (20_000 * number))
    rows = [f'{{"image": "pictures/{n % 8}.png", "caption": "{n}"}}\n' for n in range(23)]
    Path("pairs.jsonl").write_text("".join(rows))
    members = [(f"{n}.{kind}", b"x" * (n * 9_000)) for n in range(17) for kind in ("png", "txt")]
    Path("samples.tar").write_bytes(tar(members))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_inputs()
    return folder


@pytest.fixture
def in_the_inputs(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(inputs)
    open_source.cache_clear()
    yield
    open_source.cache_clear()


@pytest.mark.usefixtures("in_the_inputs")
@pytest.mark.parametrize(("size", "name"), [(size, name) for size in PLANS for name in SOURCES])
def test_a_plan_keeps_its_hash(size: int, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE_BYTES", size)
    plan, _ = make_plan(SOURCES[name], Path("out/toy/1.0.0"), generator="test")
    assert (len(plan.partitions), plan.sha256) == PLANS[size][name]


def test_the_size_of_a_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("docs.txt").write_text(("x" * 923 + "\n") * 64 * 1024)  # 1 KiB a line with its record: 64 MiB

    shown = {}
    for option in ("", "4M", "7M", "20M"):
        assert convert("text:docs.txt?by=line", "--dry-run", *(["--shard-size", option] if option else [])) == 0
        shown[option] = int(capsys.readouterr().out.split(": ")[1].split()[0])
    assert shown == {"": 8, "4M": 16, "7M": 8, "20M": 8}
    for option, message in (("3M", "--shard-size must be at least 4M, not 3145728 bytes"), ("big", "written like 2G")):
        assert convert("text:docs.txt?by=line", "--shard-size", option) == 2
        assert message in capsys.readouterr().err


@pytest.mark.usefixtures("in_the_inputs")
def test_a_partition_that_an_earlier_release_cut_is_read_as_then() -> None:
    for name, key in (("text:lines.txt?by=line", "lines"), ("image-text:samples.tar", "samples")):
        source = open_source(name)
        piece = source.partitions()[0]["pieces"][0]
        cut = {"pieces": [{**piece, "lines": 2}]} if key == "lines" else {**piece, "samples": 2}
        assert len(list(read_partition(source, cut))) == 2


class Numbered(Source):
    """Candidates in partitions of the sizes `counts`, which they say if `known`; number `breaks` cannot be found."""

    def __init__(self, counts: tuple[int, ...], known: bool, breaks: int = -1) -> None:
        self.counts, self.known, self.breaks, self.found, self.source = counts, known, breaks, 0, "numbered:"

    def specs(self) -> dict[str, EpisodeSpec]:
        return {"toy": EpisodeSpec.document()}

    def inputs(self) -> list[dict[str, Any]]:
        return [{"uri": "numbered", "versions": {}}]

    def partitions(self) -> list[dict[str, Any]]:
        firsts = [0, *itertools.accumulate(self.counts)]
        size = "count" if self.known else "size"
        return [{"first": first, size: count} for first, count in zip(firsts, self.counts, strict=False)]

    def candidates(self, partition: dict[str, Any]) -> Iterator[Candidate]:
        for number in range(partition["first"], partition["first"] + partition.get("count", partition.get("size"))):
            if number == self.breaks:
                raise OSError("cut short")
            self.found += 1
            yield Candidate(str(number), "numbered", number, self._load)

    def _load(self) -> Episode:
        return Episode(self.specs()["toy"], {"text": ["words"]})


def test_by_hand() -> None:
    source = Numbered((3, 3, 3), known=True)
    first, second, _ = limited_works(source, None)
    assert first == Work("numbered:", {"first": 0, "count": 3})
    assert limited_works(source, 4) == [first, dataclasses.replace(second, limit=1)]
    assert limited_works(source, 6) == [first, second]  # nothing of them is left out
    assert limited_works(source, 0) == []
    assert limited_works(source, 9) == limited_works(source, 100) == limited_works(source, None)
    assert source.found == 0  # a partition that says its count is not counted


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("counts", [(3, 1, 4), (0, 2, 0, 5), (8,)])
def test_a_limit_gives_the_first_candidates(counts: tuple[int, ...], known: bool) -> None:
    for limit in (None, *range(12)):
        read = read_source(Numbered(counts, known), limit)
        assert [candidate.source_index for candidate, _ in read] == list(range(sum(counts)))[:limit]


def test_no_more_is_counted_than_is_needed() -> None:
    source = Numbered((1000, 1000, 1000), known=False)
    assert [work.limit for work in limited_works(source, 1005)] == [None, 5]
    assert source.found == 1005


def test_a_partition_that_breaks_counts_as_far_as_it_goes() -> None:
    source = Numbered((4, 4), known=False, breaks=2)
    assert [work.limit for work in limited_works(source, 5)] == [None, 3]
    results = [result for _, result in read_source(source, 5)]
    assert [isinstance(result, Reject) for result in results] == [False, False, True, False, False, False]
    assert not any(isinstance(result, Reject) for _, result in read_source(source, 2))


def test_a_retry_keeps_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked for again, and what follows a place where the reading ended, lies within the limit."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(SOURCE_CLASSES, "faulty", "faulty_source:FaultySource")
    for at, knows, rejected in (("read", 0, ["toy/2"]), ("next", 1, ["after toy/1"])):
        open_source.cache_clear()
        out = f"out/{at}/1.0.0"
        assert (
            convert(f"faulty:20?bad=2&fault=raise&at={at}&knows={knows}", "--limit", "5", "--max-rejects", "1", out=out)
            == 0
        )
        plan = json.loads(Path(out, "_run/plan.json").read_text())
        assert [work["limit"] for work in plan["partitions"]] == [5]
        assert [reject["episode_id"] for reject in rejects(out)] == rejected
        Path("mended").touch()
        open_source.cache_clear()
        assert main(["rejects", "retry", out, "--out", f"out/{at}/1.0.1"]) == 0
        records = Dataset.open(f"out/{at}/1.0.1").records()
        assert sorted(record.metadata.episode_id for record in records) == [f"toy/{number}" for number in range(5)]
        Path("mended").unlink()
