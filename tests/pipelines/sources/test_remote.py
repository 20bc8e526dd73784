"""Sources whose inputs lie at addresses: what is converted is what is converted from local copies."""

import contextlib
import gzip
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from coco_files import write_captions
from conversions import convert, small_model, tree
from limited import read_source
from npz_files import arrays_of, write_npz
from recording_files import robot, write_humble_bag, write_ros2_bag
from robomimic_files import write_demos
from rosbags.rosbag2 import CompressionFormat, CompressionMode
from s3_server import s3_server, upload
from source_inputs import INPUTS
from web_server import Web, serving

from gato_tokenize import Episode
from gato_tokenize.storage import address
from gato_tokenize.storage.tfrecord import read_frames
from pipelines.__main__ import main
from pipelines.conversion.plan import make_plan
from pipelines.sources import open_source
from pipelines.sources.errors import Filtered, SourceError
from pipelines.sources.reading import Reject

KINDS = ("web", "s3")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(address, "WAIT", 0.01)
    open_source.cache_clear()


CHANGED = ".txt .gz .jsonl .hdf5 .mcap .bag .db3 .npz .npy .parquet .arrow .json".split()  # where a test changes a byte
# Sources that compare a file with its plan, and those whose planning is slow, or is that of another one.
CHECKED = """text text-jsonl rlds d4rl aloha robomimic mcap rosbag npz npz-folders parquet parquet-saved
parquet-timesteps dqn-replay coco-questions""".split()
SLOW_TO_PLAN = """aloha robomimic minari lerobot-v2 zarr-zip text-by-line text-jsonl npz-folders parquet-saved
parquet-texts""".split()


def changed(path: Path) -> bytes:
    """Other bytes than those of a file, as many, and as sound as its planning needs them."""
    data = bytearray(path.read_bytes())
    if path.suffix == ".json":
        return data.replace(b": ", b":\t", 1)
    data[5 if path.suffix in (".parquet", ".gz") else -1] ^= 1
    return data


@contextlib.contextmanager
def away(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Yield an address at which the files of a folder lie, as long as the path of the folder."""
    if kind == "web":
        with serving(folder.parent) as web:
            yield f"{web.url}/{folder.name}"
    else:
        with s3_server(monkeypatch):
            top = "s3://bucket/"
            yield upload(folder, top + "x" * (len(str(folder)) - len(top)))


def outcomes(source: str, top: str) -> list[str]:
    """What is read, whole, with `top` named alike everywhere."""
    open_source.cache_clear()
    found = []
    for candidate, outcome in read_source(open_source(source)):
        names = (candidate.episode_id, candidate.source_uri, candidate.source_index, candidate.split)
        found.append(f"{names} {outcome!r}".replace(top, "TOP"))
    return found


def records(out: str, top: str) -> dict[str, list[bytes]]:
    """{shard: its records}, with `top` named alike everywhere."""
    shards = [path for path in sorted(Path(out).rglob("*.tfrecord-*")) if path.suffix != ".idx"]
    return {path.name: [data.replace(top.encode(), b"T" * 80) for _, data in read_frames(path)] for path in shards}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", INPUTS)
def test_what_is_read_is_that_of_a_local_copy(
    name: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "inputs"
    source = INPUTS[name](folder)
    local = outcomes(source.format(folder), str(folder))
    assert len(local) >= 3 and not (name != "text-jsonl" and any("Reject" in one for one in local))
    with away(kind, folder, monkeypatch) as top:
        assert outcomes(source.format(top), top) == local
        opened = open_source(source.format(top))
        assert json.loads(json.dumps(opened.partitions())) == opened.partitions()
        assert all(set(given) >= {"uri", "bytes"} for given in opened.inputs())


@pytest.mark.parametrize("name", ["text-jsonl", "rlds", "robomimic"])
def test_shards_are_byte_identical(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for the address, which is as long as the local path, so that lengths in a record do not differ."""
    folder = tmp_path / "inputs"
    source = INPUTS[name](folder)
    options = [*small_model(), "--max-rejects", "1", "--workers", "2"]
    assert convert(source.format(folder), *options, out="local/toy/1.0.0") == 0
    with away("s3", folder, monkeypatch) as top:
        assert len(top) == len(str(folder))
        assert convert(source.format(top), *options, out="remote/toy/1.0.0") == 0
        assert convert(source.format(top), *options, out="again/toy/1.0.0") == 0
        assert convert(source.format(top), *options, out="remote/toy/1.0.0") == 0  # it is there already
    local = records("local", str(folder))
    assert local and records("remote", top) == local
    assert tree("again") == tree("remote")
    assert main(["verify", "remote/toy/1.0.0"]) == 0


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    with serving(tmp_path) as found:
        yield found


def read(source: str) -> list[Any]:
    open_source.cache_clear()
    return [outcome for _, outcome in read_source(open_source(source))]


@pytest.mark.parametrize("name", sorted(set(INPUTS) - {"text", "lerobot-v2", "aloha"}))
def test_dropped_connections_change_nothing(name: str, web: Web, tmp_path: Path) -> None:
    source = INPUTS[name](tmp_path / "inputs").format(f"{web.url}/inputs")
    whole = outcomes(source, "")
    asked = len(web.requests)
    web.fault = lambda number, request: {2: "half", 5: "drop", 9: 503}.get((number - asked) % 11)
    assert outcomes(source, "") == whole
    plan = open_source(source).partitions()
    web.fault = lambda number, request: None
    open_source.cache_clear()
    assert open_source(source).partitions() == plan


@pytest.mark.parametrize("name", sorted(set(INPUTS) - {"text-jsonl"}))
def test_what_cannot_be_reached_costs_its_episodes_and_says_so(name: str, web: Web, tmp_path: Path) -> None:
    source = INPUTS[name](tmp_path / "inputs").format(f"{web.url}/inputs")
    open_source.cache_clear()
    opened = open_source(source)
    opened.partitions()
    web.fault = lambda number, request: "drop"
    read_all = [outcome for _, outcome in read_source(opened)]
    found = [one for one in read_all if not isinstance(one, Filtered)]  # an image without a caption is not read
    assert found and all(isinstance(one, Reject) for one in found)
    for one in found:
        assert one.exception == "NoAnswerError" and "no answer after 5 tries" in one.message and web.url in one.message
    web.fault = lambda number, request: None
    assert all(isinstance(outcome, Episode | Filtered) for outcome in read(source))


@pytest.mark.parametrize("name", sorted(set(INPUTS) - set(SLOW_TO_PLAN)))
def test_what_cannot_be_planned_is_never_planned_smaller(name: str, web: Web, tmp_path: Path) -> None:
    """Whichever request fails for good, planning fails, too: a listing that failed is no empty folder."""
    source = INPUTS[name](tmp_path / "inputs").format(f"{web.url}/inputs")

    def plan() -> Any:
        open_source.cache_clear()
        opened = open_source(source)
        return opened.partitions(), opened.inputs(), {task: repr(spec) for task, spec in opened.specs().items()}

    whole = plan()
    paths = {request[:2] for request in web.requests if request[0] == "GET"}  # which makes up for a HEAD that fails
    for method, path in sorted(paths):
        web.fault = lambda number, request: "drop" if request[:2] == (method, path) else None  # noqa: B023
        with contextlib.suppress(OSError, SourceError):
            assert plan() == whole, (method, path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CHECKED)
def test_an_input_that_changed_under_its_plan(
    name: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "inputs"
    source = INPUTS[name](folder)
    with away(kind, folder, monkeypatch) as top:
        opened = open_source(source.format(top))
        opened.partitions()
        before = json.dumps(opened.inputs())
        for path in folder.rglob("*"):
            if path.suffix in CHANGED or "tfrecord" in path.name:
                path.write_bytes(changed(path))
        if kind == "s3":
            upload(folder, top)
        found = [outcome for _, outcome in read_source(opened)]
        assert found and all(isinstance(one, Reject) and "has changed since it was planned" in one.message
                             for one in found)  # fmt: skip
        open_source.cache_clear()
        assert json.dumps(open_source(source.format(top)).inputs()) != before


def test_annotations_here_and_their_pictures_elsewhere(web: Web, tmp_path: Path) -> None:
    path = write_captions(tmp_path / "set")
    whole = [repr(one) for one in read(f"coco:{path}")]
    shutil.move(tmp_path / "set/val2017", tmp_path / "elsewhere")
    assert [repr(one) for one in read(f"coco:{path}?images={web.url}/elsewhere")] == whole
    with pytest.raises(SourceError, match="there is no folder"):
        read(f"coco:{path}?images={web.url}/nowhere")


def test_every_kind_of_bag(web: Web, tmp_path: Path) -> None:
    """Also several databases that are open at the same time, and files that are unpacked."""
    folder = tmp_path / "bags"
    folder.mkdir()
    write_ros2_bag(folder / "mcap", robot(0.5), storage="mcap")
    write_ros2_bag(folder / "packed", robot(0.6), compression=(CompressionMode.FILE, CompressionFormat.ZSTD))
    write_humble_bag(folder / "humble", robot(0.7), files=3)
    shutil.copy(next((folder / "humble").glob("*_0.db3")), folder / "alone.db3")
    local = outcomes(f"rosbag:{folder}?action=/cmd_vel", str(folder))
    assert len(local) == 4 and not any("Reject" in one for one in local)
    web.fault = lambda number, request: {2: "half", 5: "drop", 9: 503}.get(number % 11)
    assert outcomes(f"rosbag:{web.url}/bags?action=/cmd_vel", f"{web.url}/bags") == local
    (folder / "alone.db3-wal").write_bytes(b"not empty")
    found = outcomes(f"rosbag:{web.url}/bags?action=/cmd_vel", f"{web.url}/bags")
    assert "its recorder did not close it" in found[0] and found[1:] == local[1:]


def test_planning_reads_no_payload(web: Web, tmp_path: Path) -> None:
    write_demos(tmp_path / "large.hdf5", demos=40)
    (tmp_path / "doc.txt").write_bytes(b"words " * 2_000_000)
    (tmp_path / "doc.jsonl.gz").write_bytes(gzip.compress(os.urandom(4_000_000), mtime=0))
    for source in (f"text:{web.url}/*.txt", f"text:{web.url}/*.jsonl.gz"):
        web.requests.clear()
        assert open_source(source).partitions()
        assert web.bytes_asked == 0
    write_npz(tmp_path / "large.npz", arrays_of(8000))
    for source in (f"robomimic:{web.url}/large.hdf5", f"npz:{web.url}/large.npz"):
        web.requests.clear()
        assert open_source(source).partitions()
        assert web.bytes_asked <= 3 * 2**20


class TestRefusals:
    def test_nothing_there(self, web: Web) -> None:
        for source, said in (
            (f"text:{web.url}/*.txt", "no file matches"),
            (f"rlds:{web.url}/no", "is no folder"),
            (f"aloha:{web.url}/no", "no file matches"),
        ):
            with pytest.raises(SourceError, match=said):
                open_source(source).partitions()

    def test_a_scheme_that_nothing_knows(self) -> None:
        with pytest.raises(SourceError, match="nosuch"):
            open_source("text:nosuch://bucket/*.txt")

    def test_two_stars_beside_letters(self, web: Web) -> None:
        with pytest.raises(SourceError, match=r"\*\* must stand alone"):
            open_source(f"text:{web.url}/a**.txt").partitions()

    def test_a_plain_address(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["convert", "s3://bucket/set", "--out", "out/toy/1.0.0"]) == 2
        assert "write NAME:s3://bucket/set, NAME one of rollouts, text" in capsys.readouterr().err

    def test_a_network_that_is_down_is_told_in_a_line(
        self, web: Web, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "a.txt").write_text("a", encoding="utf-8")
        web.fault = lambda number, request: "drop"
        assert main(["convert", f"text:{web.url}/a.txt", "--out", "out/toy/1.0.0"]) == 1
        said = capsys.readouterr().err
        assert "no answer after 5 tries" in said and web.url in said and "Traceback" not in said


@pytest.mark.parametrize("kind", KINDS)
def test_patterns_match_as_they_do_locally(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "inputs"
    for name in (
        "a.txt",
        "b.md",
        "d1/a.txt",
        "d1/x/a.txt",
        "d2/a.txt",
        ".h/a.txt",
        "d1/.a.txt",
        "d1/x/y/z.txt",
        "c[1].txt",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name, encoding="utf-8")
    patterns = (
        "*.txt",
        "**/*.txt",
        "d?/a.txt",
        "d[12]/*",
        "**/x/*.txt",
        "d1/**",
        "*/x/a.txt",
        ".h/*",
        "a.txt",
        "**/y/**",
    )
    with away(kind, folder, monkeypatch) as top:
        for pattern in patterns:

            def names(source: str, start: str) -> list[str]:
                return [given["uri"].removeprefix(start) for given in open_source(source).inputs()]

            there = names(f"text:{top}/{pattern}", top)
            if kind == "web":
                there = [name.replace("%5B", "[").replace("%5D", "]") for name in there]
            assert there == names(f"text:{folder}/{pattern}", str(folder)), pattern


def test_a_plan_names_the_stamp(web: Web, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a", encoding="utf-8")
    plan, _ = make_plan([f"text:{web.url}/a.txt"], tmp_path / "out/toy/1.0.0")
    (given,) = plan.inputs
    assert set(given) == {"source", "uri", "bytes", "stamp"} and json.dumps(given["stamp"]) in plan.to_json()
    web.etags = False
    open_source.cache_clear()
    plan, _ = make_plan([f"text:{web.url}/a.txt"], tmp_path / "out/toy/1.0.0")
    assert set(plan.inputs[0]) == {"source", "uri", "bytes", "sha256"}  # nothing else tells a change
