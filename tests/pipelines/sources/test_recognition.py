"""A plain path is read by the source that recognises what lies there, from names and metadata alone."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gato_tokenize.installing import how_to_install
from pipelines.__main__ import main
from pipelines.sources import SOURCES, open_source, source_class
from pipelines.sources import recognition as recognition_module
from pipelines.sources.errors import SourceError
from pipelines.sources.recognition import named_source
from pipelines.sources.source import Source
from tests.helpers.aloha_files import write_episode
from tests.helpers.aloha_files import write_folder as write_aloha
from tests.helpers.conversions import minari_file, png, small_model, tree, write_documents, write_pictures
from tests.helpers.d4rl_files import write_flat
from tests.helpers.lerobot_files import write_v2, write_v3
from tests.helpers.rlds_files import by_hand
from tests.helpers.robomimic_files import write_demos
from tests.helpers.zarr_files import write_replay, zipped

h5py = pytest.importorskip("h5py")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    open_source.cache_clear()
    return tmp_path


def refused(path: str) -> str:
    with pytest.raises(SourceError) as error:
        named_source(path)
    return str(error.value)


def test_each_format_by_hand() -> None:
    by_hand(Path("toy/1.0.0"))
    write_v3(Path("pusht"))
    minari_file("none")
    write_demos(Path("low_dim.hdf5"))
    write_aloha(Path("transfer"))
    write_flat(Path("hopper.h5"))
    zipped(write_replay(Path("umi.zarr")))
    named = {
        "toy": "rlds:toy",
        "toy/1.0.0": "rlds:toy/1.0.0",
        "pusht/": "lerobot:pusht/",
        "minari-none": "minari:minari-none",
        "minari-none/data": "minari:minari-none/data",
        "minari-none/data/main_data.hdf5": "minari:minari-none/data/main_data.hdf5",
        "./low_dim.hdf5?flip=vertical": "robomimic:./low_dim.hdf5?flip=vertical",
        "low_dim*.hdf5": "robomimic:low_dim*.hdf5",
        "transfer": "aloha:transfer",
        "hopper.h5": "d4rl:hopper.h5",
        "umi.zarr": "zarr:umi.zarr",
        "umi.zarr.zip": "zarr:umi.zarr.zip",
    }
    assert {path: named_source(path) for path in named} == named


def test_texts_and_pictures_are_told_by_their_endings_and_first_lines() -> None:
    Path("notes/old").mkdir(parents=True)
    for name in ("notes/a.md", "notes/b.md", "notes/LICENSE", "poem.txt.xz"):
        Path(name).write_text("words")
    assert named_source("notes") == "text:notes/*.md"
    Path("notes/old/c.md").write_text("words")
    assert named_source("notes?by=line") == "text:notes/**/*.md?by=line"
    assert named_source("poem.txt.xz") == "text:poem.txt.xz"
    documents, pictures = write_documents(), write_pictures()
    assert named_source(documents.partition(":")[2]) == documents
    assert named_source("pairs.jsonl") == pictures == "image-text:pairs.jsonl"
    Path("pairs").mkdir()
    for name in ("pairs.jsonl", "0.png"):
        shutil.move(name, "pairs")
    Path("notes/1.png").write_bytes(png())
    assert "text: a text or JSON lines" in refused("notes")  # texts beside pictures are no folder of texts
    assert named_source("pairs?resize=32x32") == "image-text:pairs/*.jsonl?resize=32x32"


def test_several_kinds_of_text_alone_are_one_pattern_and_beside_other_files_none() -> None:
    Path("notes").mkdir()
    for name in ("a.md", "b.txt"):
        Path("notes", name).write_text("words")
    assert named_source("notes") == "text:notes/*"
    Path("notes/LICENSE").write_text("words")
    assert "notes holds texts of several kinds and other files: give a pattern" in refused("notes")


def test_a_folder_whose_name_has_wildcards_and_options_in_it() -> None:
    folder = Path("a[1]?by=line")
    folder.mkdir()
    (folder / "a.txt").write_text("words")
    source = named_source(str(folder))
    assert source == "text:a[[]1][?]by=line/*.txt"
    assert len(open_source(source).partitions()) == 1
    assert named_source(f"{folder}?by=line") == source + "?by=line"


def test_a_dataset_with_a_mark_of_its_own_wins_over_the_endings_of_its_files() -> None:
    """LeRobot v2 lists its episodes in JSON lines; somebody keeps an archive beside features.json."""
    write_v2(Path("toy"))
    for path in Path("toy").glob("data/**/*.parquet"):
        path.unlink()
    shutil.rmtree("toy/videos")
    assert named_source("toy") == "lerobot:toy"
    by_hand(Path("set/1.0.0"))
    Path("set/1.0.0/original.tar").write_bytes(b"")
    assert named_source("set/1.0.0") == "rlds:set/1.0.0"


def test_the_lists_of_img2dataset_are_not_its_data() -> None:
    Path("shards").mkdir()
    for name in ("00000.tar", "00000.parquet", "00000_stats.json", "00001.tar", "00001.parquet"):
        Path("shards", name).write_bytes(b"")
    assert named_source("shards") == "image-text:shards/*.tar"
    Path("shards/more.parquet").write_bytes(b"")
    assert "shards can be read by 2 sources: write image-text:shards/*.tar (" in refused("shards")


def test_a_folder_that_may_not_be_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("private").mkdir()

    def refuse(path: str) -> list[str]:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("pipelines.sources.on_disk.os.listdir", refuse)
    assert "private cannot be looked at: [Errno 13] Permission denied: 'private'" in refused("private")


def test_two_sources_that_read_it_are_named_and_refused() -> None:
    write_flat(Path("both.hdf5"))
    with h5py.File("both.hdf5", "a") as file:
        file.move("observations", "kept")
        file["observations/qpos"] = np.zeros((10, 2))
        file["action"] = np.zeros((10, 2))
    said = refused("both.hdf5")
    assert "both.hdf5 can be read by 2 sources: write d4rl:both.hdf5 (an HDF5 file with the array `actions`" in said
    assert " or aloha:both.hdf5 (" in said


def test_what_nothing_recognises_is_told_with_what_was_found_and_looked_for() -> None:
    Path("x/deep").mkdir(parents=True)
    for number in range(9):
        Path(f"x/{number}.mat").write_bytes(b"")
    said = refused("x")
    assert said.startswith(
        "no source recognises x: it holds 0.mat, 1.mat, 2.mat, 3.mat, 4.mat, 5.mat, 6.mat, 7.mat, 2 more. Looked for:\n"
    )
    for name in SOURCES:
        looks_for = source_class(name).looks_for
        assert (f"\n  {name}: {looks_for}\n" in said) == bool(looks_for)
    assert "write NAME:x;" in said and "docs/adding-a-source.md" in said
    assert "it is a file of 0 bytes" in refused("x/0.mat")
    assert "it is an empty folder" in refused("x/deep")


def test_the_datasets_in_a_folder_are_named() -> None:
    by_hand(Path("oxe/rlds/toy/1.0.0"))
    write_replay(Path("oxe/umi.zarr"))
    assert "Give what lies in it instead: zarr:oxe/umi.zarr, rlds:oxe/rlds/toy\n" in refused("oxe")


def test_what_cannot_be_looked_at_is_told() -> None:
    whole = write_demos(Path("a.hdf5")).read_bytes()
    Path("cut.hdf5").write_bytes(whole[:500])
    assert "cut.hdf5 cannot be read: " in refused("cut.hdf5")
    Path("cut.zip").write_bytes(b"PK")
    assert "; but cut.zip cannot be read: File is not a zip file" in refused("cut.zip")
    Path("some").mkdir()
    Path("some/0.hdf5").write_bytes(whole[:500])
    Path("some/1.hdf5").write_bytes(whole)
    assert named_source("some") == "robomimic:some"  # a damaged file costs itself alone


def test_a_missing_package_is_told_only_where_it_may_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    found = recognition_module.source_class

    def without_zarr(name: str) -> type[Source]:
        if name == "zarr":
            raise SourceError(f"source 'zarr' needs the package zarr: {how_to_install('zarr')} installs it")
        return found(name)

    monkeypatch.setattr(recognition_module, "source_class", without_zarr)
    write_replay(Path("umi.zarr"))
    assert f"\n  zarr: source 'zarr' needs the package zarr: {how_to_install('zarr')}" in refused("umi.zarr")
    by_hand(Path("toy/1.0.0"))
    assert named_source("toy") == "rlds:toy"


def test_a_changed_file_is_looked_at_again() -> None:
    write_flat(Path("a.hdf5"))
    assert named_source("a.hdf5") == "d4rl:a.hdf5"
    write_episode(Path("a.hdf5"))
    os.utime("a.hdf5", ns=(1, 1))
    assert named_source("a.hdf5") == "aloha:a.hdf5"


def test_links_that_lead_in_circles_end() -> None:
    Path("notes/in").mkdir(parents=True)
    Path("notes/a.txt").write_text("words")
    Path("notes/in/again").symlink_to("../../notes")
    assert named_source("notes") == "text:notes/*.txt"


@pytest.mark.parametrize("name", ["text:a.txt", "rollouts:CartPole-v1", "my_npz:NpzSource:*.npz", "nowhere", "a:b"])
def test_what_is_no_path_is_left_to_open_source(name: str) -> None:
    assert named_source(name) == name


def test_an_address_and_a_pattern_without_files() -> None:
    assert "s3://bucket/toy is an address" in refused("s3://bucket/toy")
    assert "no file matches 'no*.txt'" in refused("no*.txt")
    with pytest.raises(SourceError, match="or the path of a file or folder, but nothing lies at that one"):
        open_source("nowhere/set")


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_path_and_its_source_make_the_same_plan_and_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    Path("notes").mkdir()
    for number in range(3):
        Path(f"notes/{number}.txt").write_text(f"go to ball {number}")
    model = small_model()
    for given, out in (("notes?strip=true", "one/toy/1.0.0"), ("text:notes/*.txt?strip=true", "two/toy/1.0.0")):
        printed(capsys, "convert", given, *model, "--out", out)
    assert tree("one") == tree("two")
    planned = printed(capsys, "convert", "notes", "--out", "three/toy/1.0.0", "--dry-run")
    assert "notes is read as text:notes/*.txt" in planned["notes"]
    assert "note: notes is read as text:notes/*.txt" in said(capsys, "plan", "notes")
    assert main(["plan", "one/toy/1.0.0"]) == 2
    assert re.search("1.0.0 is a dataset that was converted already: `gato-data merge`", capsys.readouterr().err)


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(words) == 0
    return capsys.readouterr().out


def test_nothing_but_names_and_beginnings_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe in the place of each data file would hold up whoever opens it."""
    by_hand(Path("toy/1.0.0"))
    write_v3(Path("pusht"))
    for path in [
        *Path().glob("toy/**/*.tfrecord*"),
        *Path().glob("pusht/**/*.mp4"),
        *Path().glob("pusht/data/**/*.p*"),
    ]:
        path.unlink()
        os.mkfifo(path)
    Path("pictures").mkdir()
    os.mkfifo("pictures/0.tar")
    assert named_source("toy") == "rlds:toy" and named_source("pusht") == "lerobot:pusht"
    Path("pictures/1.tar").write_bytes(png())
    assert named_source("pictures") == "image-text:pictures/*.tar"
