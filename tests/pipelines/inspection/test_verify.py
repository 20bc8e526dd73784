"""`verify` finds damage anywhere; `inspect` shows what a dataset holds."""

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from conversions import convert, faults, slow_source, write_documents, write_pictures
from PIL import Image

from gato_tokenize import Dataset
from gato_tokenize.storage.manifest import manifest_bytes
from gato_tokenize.storage.tfrecord import read_index
from pipelines.__main__ import main
from pipelines.inspection.verify import verify


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with two splits, several shards, rejects, pictures and rollouts."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        documents, pictures = write_documents(), write_pictures()
        Path("3.png").write_bytes(b"no picture")
        words = (documents, pictures, slow_source(4) + "&image=rgb", "--validation-fraction", "0.3")
        assert convert(*words, "--max-rejects", "1") == 0
    return folder / "out/toy/1.0.0"


@pytest.fixture
def dataset(made: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(made, tmp_path / "toy" / "1.0.0"))


def shards(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("toy-train*") if path.stat().st_size)


def test_a_sound_dataset_has_no_fault(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert faults(dataset) == []
    assert main(["verify", str(dataset)]) == 0
    assert "sound" in capsys.readouterr().out


def flip(folder: Path, generator: random.Random) -> Path:
    """Change one byte of one file, files chosen alike however small they are."""
    path = generator.choice(sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size))
    data = bytearray(path.read_bytes())
    data[generator.randrange(len(data))] ^= generator.randrange(1, 256)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("edits", [150, pytest.param(1000, marks=pytest.mark.slow)])
def test_every_changed_byte_is_found(made: Path, dataset: Path, edits: int) -> None:
    generator = random.Random(edits)
    for number in range(edits):
        path = flip(dataset, generator)
        name = path.relative_to(dataset).as_posix()
        assert name in [fault.file for fault in verify(dataset)], f"edit {number}"
        shutil.copyfile(made / name, path)
    assert faults(dataset) == []


def test_a_missing_an_extra_and_a_renamed_file(dataset: Path) -> None:
    shards(dataset)[0].rename(dataset / "toy-train.tfrecord-00009-of-00010")
    (dataset / "index" / "note.txt").write_text("x")
    next(dataset.glob("rejects/*")).unlink()
    names = faults(dataset)
    assert "toy-train.tfrecord-00009-of-00010" in names and "index/note.txt" in names
    assert any(name.startswith("rejects/") for name in names)
    assert any(name.startswith("toy-train.tfrecord-00000-of-") for name in names)


def test_two_shards_swapped(dataset: Path) -> None:
    one, two = shards(dataset)[:2]
    one.rename(dataset / "aside")
    two.rename(one)
    (dataset / "aside").rename(two)
    assert {one.name, two.name} <= set(faults(dataset))


def test_a_shard_cut_at_a_record_s_border(dataset: Path) -> None:
    path = shards(dataset)[0]
    offset, _ = read_index(dataset / "index" / f"{path.name}.idx")[-1]
    path.write_bytes(path.read_bytes()[:offset])
    assert [fault.file for fault in verify(dataset)] == [path.name]
    problems = [str(fault) for fault in verify(dataset, deep=True) if fault.file == path.name]
    assert any("sha256" in problem for problem in problems) and any(
        "its index knows" in problem for problem in problems
    )


def test_a_link_is_no_file_of_a_dataset(dataset: Path) -> None:
    path = shards(dataset)[0]
    path.rename(dataset.parent / "elsewhere")
    path.symlink_to(dataset.parent / "elsewhere")
    assert path.name in faults(dataset)


def lie(dataset: Path, split: str = "train", **changes: int) -> str:
    """Add to numbers of a shard in the manifest, and sign it again; returns the shard's name."""
    manifest = json.loads((dataset / "manifest.json").read_text())
    shard = manifest["splits"][split]["shards"][0]
    for name, more in changes.items():
        shard[name] += more
    (dataset / "manifest.json").write_bytes(manifest_bytes(manifest))
    return str(shard["file"])


def test_a_manifest_that_lies_consistently_is_caught_by_the_records(dataset: Path) -> None:
    name = lie(dataset, tokens=1)
    assert list(verify(dataset)) == []
    assert faults(dataset) == [name]


@pytest.mark.parametrize("changes", [{"records": 1}, {"bytes": -1}])
def test_a_manifest_that_lies_of_what_its_index_lists(dataset: Path, changes: dict[str, int]) -> None:
    name = lie(dataset, **changes)
    (fault,) = verify(dataset)
    assert fault.file == f"index/{name}.idx" and "the manifest says" in fault.problem


def test_an_index_that_is_none(dataset: Path) -> None:
    path = dataset / "index" / f"{shards(dataset)[0].name}.idx"
    path.write_text("x\n")
    assert [fault.file for fault in verify(dataset)] == [f"index/{path.name}"] * 2  # its hash, and its first line


def test_json_and_exit_codes(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(dataset), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"dataset": str(dataset), "sound": True, "faults": []}
    (dataset / "stats.json").write_text("{}")
    assert main(["verify", str(dataset), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["faults"][0]["file"] == "stats.json"
    assert main(["verify", str(dataset.parent)]) == 2
    assert "is no complete dataset" in capsys.readouterr().err


def test_only_deep_parses_the_records(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(data: bytes) -> None:
        raise ValueError("looked at")

    monkeypatch.setattr("pipelines.inspection.verify.Record.from_bytes", broken)
    assert main(["verify", str(dataset)]) == 0
    assert main(["verify", str(dataset), "--deep"]) == 1
    assert "record 0: looked at" in capsys.readouterr().out


def test_a_dataset_with_another_tokenizer_is_not_opened(dataset: Path) -> None:
    spec = json.loads((dataset / "tokenizer/spec.json").read_text())
    spec["local_positions"] = 9
    (dataset / "tokenizer/spec.json").write_text(json.dumps(spec, indent=1) + "\n")
    with pytest.raises(ValueError, match="is not the tokenizer that this dataset was made with"):
        Dataset.open(dataset)


# ------------------------------------------------------------------------------------------------------- inspect


def test_inspect_shows_tasks_fields_and_counts(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(made)]) == 0
    out = capsys.readouterr().out
    for word in (
        "69 episodes written, 1 rejected",
        "BabyAI-GoToLocal-v0-rgb",
        "observation/mission",
        "caption",
        "text",
    ):
        assert word in out
    assert main(["inspect", str(made), "--schema"]) == 0
    assert "episode_metadata/episode_id" in capsys.readouterr().out


def test_inspect_decodes_an_episode_and_saves_its_frames(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "BabyAI-GoToLocal-v0-rgb/seed=0/expert"
    words = ["inspect", str(made), "--episode", name, "--steps", "1"]
    assert main([*words, "--frames", str(tmp_path / "a.gif"), "--field", "observation/image"]) == 0
    out = capsys.readouterr().out
    assert (
        "BabyAIBot" in out and "observation/mission  'go to" in out and "timestep 0" in out and "timestep 1" not in out
    )
    dataset = Dataset.open(made)
    episode = next(e for split in dataset.splits for e in dataset.episodes(split) if e.metadata.episode_id == name)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.size == (64, 64) and getattr(image, "n_frames", 1) == episode.num_steps
    assert main([*words, "--frames", str(tmp_path / "f.png")]) == 0
    with Image.open(tmp_path / "f.png") as image:
        assert np.array_equal(np.asarray(image), episode.fields["observation/image"][0])
    assert main([*words, "--frames", str(tmp_path / "all")]) == 0
    assert len(list((tmp_path / "all").glob("*.png"))) == episode.num_steps
    assert main([*words, "--no-colour"]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--episode", "none"], "no episode 'none'"),
        (["--frames", "x.gif"], "--frames needs --episode"),
        (["--episode", "0", "--frames", "x.gif"], "no image field in this episode"),
    ],
)
def test_inspect_refuses_with_a_message(
    made: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(made), *words]) == 2
    assert message in capsys.readouterr().err


def test_inspect_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(tmp_path)]) == 2
    assert "is no complete dataset" in capsys.readouterr().err
