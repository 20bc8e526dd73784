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
SMALL = {"MAX_LINES": 20_000, "MAX_SAMPLES": 5}
# By the size of a piece: the number of partitions and the plan's sha256, as the release before `pieces.py` made them.
PLANS: dict[int, dict[str, tuple[int, str]]] = {
    64 * 2**20: {
        "files": (1, "c32b9baad8c15818eac4509591919ccb210de014a13a1a6c5455fdee09f6b3bb"),
        "packed": (1, "8446815e69b13541e35f4a666e1a61db6e1b82e34433f45ca8ece0cfc7398798"),
        "by line": (2, "46693ae9701b2a7e1978fc4c6fe6f31a226ded33e5bcb3eb838d8655d024caf1"),
        "packed lines": (2, "6ee3d5f2acd9058cf936ed6dd7f33031548e7da49192179f60a8664694771ea1"),
        "pairs": (1, "8fc3396da56ba9e3e654462fc5f16203991eed1dc55bbeb8af4b47dec384b351"),
        "samples": (2, "1e34ed759bc0bcb9b06e31e2ec23cd2d23f11171496080eb372f488487417a4b"),
    },
    100_000: {
        "files": (8, "ab96b90e85f9f1aa885b6428d9aa384ff8ba9e30380d4221cf2d6a1bf837d3de"),
        "packed": (8, "596783cdf1c057cd77af8b211d0b295ce96ee42c128035c1eb371cf098aef084"),
        "by line": (9, "7e586bc858ae49ab8ef400256ec8e718585014bd58863a08dd8b15994dbac043"),
        "packed lines": (8, "9c6e509dd85298b406e663377516f34ca0bae9fb96d36dd1953e2ff3dfc7c531"),
        "pairs": (15, "d89f4d1232de50e62b3553b9a71c06a8703a4d4a2a8f3e7fcab6fe3afa3981a6"),
        "samples": (28, "0652164c014f9557cfae09771775e5c0c8a856db29096db27b64962089f56698"),
    },
    10**9: {
        "files": (3, "af217e6eb3b3ebbd7e5b877c381ac07cdef7f73e9f85533996e1a275a2133116"),
        "packed": (3, "95512158e14194867d90c605b2f6838edeafe9c0c38db8e26d9324ef961b7d11"),
        "by line": (5, "5604e14a718906ed7954d0a45772fa1d456bc705964e86cbc845b6f5acd216a7"),
        "packed lines": (3, "3879dd6f5ca300ef52b3675ff3546717675dfa4a06de098f372dc8771a012613"),
        "pairs": (5, "c52473e0e7486a82a6a450cd74905b5b226e198ae94a39115da47056444c3396"),
        "samples": (9, "54e42aa977343bce86f1eee11ede18c78fd9995398b14db5c211ab7dafb5f5f0"),
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
    for constant, value in {"PIECE_BYTES": size, **(SMALL if size != 64 * 2**20 else {})}.items():
        monkeypatch.setattr(pieces, constant, value)
    plan, _ = make_plan(SOURCES[name], Path("out/toy/1.0.0"), generator="test", schema_version=1)
    assert (len(plan.partitions), plan.sha256) == PLANS[size][name]


@pytest.mark.usefixtures("in_the_inputs")
def test_a_partition_that_an_earlier_release_cut_is_read_as_then() -> None:
    for name, key in (("text:lines.txt?by=line", "lines"), ("image-text:samples.tar", "samples")):
        source = open_source(name)
        (partition,) = source.partitions()
        if key == "lines":
            (piece,) = partition["pieces"]
            cut = {"pieces": [{**piece, "lines": 2}]}
        else:
            cut = {**partition, "samples": 2}
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
