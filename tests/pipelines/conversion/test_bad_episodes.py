"""Bad episodes: what is rejected, filtered, clipped or counted, and what stops a conversion."""

import base64
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conversions import HERE, convert, minari_file, png, rejects, tree, write_documents, write_lines, write_pictures
from PIL import Image

from gato_tokenize import Dataset
from pipelines.__main__ import main
from pipelines.conversion.reject_budget import RejectBudget
from pipelines.sources import open_source


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources are named by relative paths, so that plans are the same wherever the tests run."""
    monkeypatch.chdir(tmp_path)
    open_source.cache_clear()


def spoilt_text(change: str) -> str:
    lines = [b'{"text": "one"}', b'{"text": "two"}', b'{"text": "three"}']
    lines[1] = {"utf8": b'{"text": "\xff\xfe"}', "json": b'{"text": ', "field": b'{"txt": "two"}'}[change]
    Path("docs.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    return "text:docs.jsonl"


def spoilt_picture(change: str) -> str:
    source = write_pictures(3)
    data = png(1)
    Path("1.png").write_bytes({"cut": data[: len(data) // 2], "noise": b"no picture", "empty": b""}[change])
    return source


def rollout(fault: str) -> str:
    return f"rollouts:faulty_environments:Faulty/Count-v0?policy=random&episodes=3&time_limit=2&fault={fault}"


@pytest.mark.parametrize(
    ("make", "change", "stage", "message"),
    [
        (minari_file, "nan", "read", "observation: nan at index [2, 1]"),
        (minari_file, "inf", "read", "observation: inf at index [2, 1]"),
        (minari_file, "range", "read", "action: 3 at index [3] is outside [0, 3)"),
        (minari_file, "ragged", "read", "expected 4 entries, one a timestep, got 2"),
        (minari_file, "empty", "read", "empty"),
        (spoilt_text, "utf8", "read", "docs.jsonl"),
        (spoilt_text, "json", "read", "docs.jsonl"),
        (spoilt_text, "field", "read", "docs.jsonl"),
        (spoilt_picture, "cut", "tokenize", "observation/image: "),
        (spoilt_picture, "noise", "tokenize", "observation/image: "),
        (spoilt_picture, "empty", "read", "1.png"),
        (rollout, "loop", "read", "2"),
        (rollout, "nan", "read", "the reward of step 1 is nan, not a finite number"),
        (rollout, "raise", "read", "a lost key"),
        (rollout, "segfault", "read", ""),
    ],
)
def test_one_bad_episode_costs_itself_and_is_rejected(
    make: Any, change: str, stage: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    source = make(change)
    assert convert(source) == 3
    assert not Path("out/toy/1.0.0").exists()
    done = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*.done.json")}  # none, if it stopped early
    assert convert(source, "--max-rejects", "1") == 0
    (reject,) = rejects()
    assert reject["stage"] == stage and message in reject["message"] and reject["source"] == source
    assert reject["episode_id"] and reject["source_uri"] and reject["exception"]
    dataset = Dataset.open("out/toy/1.0.0")
    assert dataset.manifest["episodes"]["written"] == 2 and len(dataset) == 2
    assert list(dataset.manifest["episodes"]["rejected"].values()) == [1]
    for path, changed in done.items():
        assert Path(str(path).replace(path.parts[2], "1.0.0")).stat().st_mtime_ns == changed, "work was done again"
    assert main(["verify", "out/toy/1.0.0"]) == 0


def test_values_beyond_the_bounds_are_clipped_and_counted() -> None:
    h5py = pytest.importorskip("h5py")
    source = minari_file("none")
    with h5py.File("minari-none/data/main_data.hdf5", "r+") as file:
        file["episode_1/observations"][1] = [300.0, -256.5]
    assert convert(source) == 0
    stats = json.loads(Path("out/toy/1.0.0/stats.json").read_text())
    field = stats["train"]["toy/spoilt-v0"]["fields"]["observation"]
    assert (field["clipped"], field["max"], field["min"], field["values"]) == (2, 300.0, -256.5, 24)


def test_pictures_that_do_not_come_back_whole_are_counted() -> None:
    out = io.BytesIO()
    Image.fromarray(np.full((32, 32, 4), 9, np.uint8)).save(out, "PNG")
    lines = []
    for name, data in {"same": png(), "odd": png(size=(30, 48)), "alpha": out.getvalue()}.items():
        Path(f"{name}.png").write_bytes(data)
        lines.append(json.dumps({"image": f"{name}.png", "caption": name}) + "\n")
    Path("pairs.jsonl").write_text("".join(lines))
    assert convert("image-text:pairs.jsonl") == 0
    stats = json.loads(Path("out/toy/1.0.0/stats.json").read_text())
    field = stats["train"]["caption"]["fields"]["observation/image"]
    assert field == {"images": 3, "resized": 1, "alpha_dropped": 1}
    assert convert("image-text:pairs.jsonl?resize=48x32", out="out/toy/1.0.1") == 0
    stats = json.loads(Path("out/toy/1.0.1/stats.json").read_text())
    assert stats["train"]["caption"]["fields"]["observation/image"]["resized"] == 3


def test_what_looks_wrong_is_counted_and_kept() -> None:
    frames = {"black": 0, "grey": 128, "fine": None}
    for name, value in frames.items():
        pixels = np.full((16, 32, 3), value or 0, np.uint8)
        pixels[3, 5, 1] = pixels[3, 5, 1] if value is not None else 7
        Image.fromarray(pixels).save(f"{name}.png")
    lines = [json.dumps({"image": f"{name}.png", "caption": name}) + "\n" for name in frames]
    Path("pairs.jsonl").write_text("".join(lines))
    assert convert("image-text:pairs.jsonl", minari_file("none")) == 0
    stats = json.loads(Path("out/toy/1.0.0/stats.json").read_text())["train"]
    assert stats["caption"]["lints"] == {"black images": 1, "images of one colour value": 1}
    assert stats["toy/spoilt-v0"]["lints"] == {"episodes that neither terminated nor were truncated": 3}
    assert Dataset.open("out/toy/1.0.0").manifest["episodes"]["written"] == 6


def test_blank_lines_are_filtered_and_counted() -> None:
    Path("docs.txt").write_text("one\n\n   \ntwo\n")
    assert convert("text:docs.txt?by=line") == 0
    episodes = Dataset.open("out/toy/1.0.0").manifest["episodes"]
    assert episodes["read"] == 4 and episodes["written"] == 2 and sum(episodes["filtered"].values()) == 2


def test_double_ids_are_an_error_that_names_both(capsys: pytest.CaptureFixture[str]) -> None:
    Path("docs.jsonl").write_text("".join(json.dumps({"text": f"t {n}", "id": n % 4}) + "\n" for n in range(5)))
    assert convert("text:docs.jsonl?id=id") == 2
    error = capsys.readouterr().err
    assert "episode id '0' stands twice, from docs.jsonl (number 1) and docs.jsonl (number 5)" in error
    assert not Path("out/toy/1.0.0").exists()


def test_nothing_written_is_nothing_published(capsys: pytest.CaptureFixture[str]) -> None:
    Path("docs.jsonl").write_text('broken\n\n[{"text": "a"}]\n')
    for budget, code in (("0%", 3), ("100%", 2)):  # a share is judged at the end, a count as soon as it is exceeded
        assert convert("text:docs.jsonl", "--max-rejects", budget) == code
        error = capsys.readouterr().err
        (folder,) = Path("out/toy").glob(".1.0.0.partial-*")
        assert f"`gato-data rejects list {folder}` shows each" in error and f"remove the folder {folder}" in error
        assert "publishes the rest" not in error
    assert "not one of 3 episodes was written: 2 rejected (2 read: ValueError), 1 filtered (1 blank line)" in error
    assert "There is nothing to publish" in error
    assert main(["rejects", "list", str(folder)]) == main(["rejects", "list", "out/toy/1.0.0"]) == 0
    assert "expected a JSON object, got list" in capsys.readouterr().out


def test_nothing_but_blank_lines_is_nothing_published(capsys: pytest.CaptureFixture[str]) -> None:
    Path("docs.txt").write_text("\n \n")
    assert convert("text:docs.txt?by=line") == 2
    error = capsys.readouterr().err
    assert "not one of 2 episodes was written: 2 filtered (2 blank line)" in error and "rejects list" not in error


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a.jsonl.gz", "no episode was found in a.jsonl.gz"),
        ("a.jsonl", "has no episodes: its inputs have 0 bytes and hold none"),
    ],
)
def test_no_episode_at_all(name: str, found: str, capsys: pytest.CaptureFixture[str]) -> None:
    write_lines(name, []) if name.endswith(".gz") else Path(name).touch()
    assert convert(f"text:{name}") == 2
    assert found in capsys.readouterr().err


def test_a_budget_that_some_were_within_says_how_to_publish_them(capsys: pytest.CaptureFixture[str]) -> None:
    Path("docs.jsonl").write_text('broken\n{"text": "a"}\n')
    assert convert("text:docs.jsonl", "--max-rejects", "10%") == 3
    assert "the same command with --max-rejects 1 publishes the rest" in capsys.readouterr().err
    assert convert("text:docs.jsonl", "--max-rejects", "1") == 0


def test_an_error_that_is_no_data_s_fault_stops_and_keeps_the_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_documents()
    real = os.replace

    def full(src: Any, dst: Any) -> None:
        if "00002-of" in str(dst):
            raise OSError(28, "No space left on device", str(dst))
        real(src, dst)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        assert convert(source) == 1
    errors = capsys.readouterr().err
    assert "gato-data: OSError: [Errno 28] No space left on device" in errors and "Traceback" not in errors
    assert "What is done is kept" in errors
    assert not Path("out/toy/1.0.0").exists()
    assert not [name for name in tree() if ".tmp-" in name]
    assert convert(source) == 0


@pytest.mark.parametrize(
    ("text", "rejected", "read", "allowed"),
    [("0", 0, 9, True), ("0", 1, 9, False), ("2", 2, 9, True), ("10%", 1, 10, True), ("10%", 2, 10, False)],
)
def test_the_budget(text: str, rejected: int, read: int, allowed: bool) -> None:
    assert RejectBudget(text).allows(rejected, read) is allowed


def test_nothing_in_the_data_is_a_pickle_or_a_path_out() -> None:
    Path("secret.png").write_bytes(png())
    Path("in").mkdir()
    Path("in/pairs.jsonl").write_text(json.dumps({"image": "../secret.png", "caption": "x"}) + "\n")
    assert convert("image-text:in/pairs.jsonl") == 3
    assert base64.b64encode(png()) not in Path("out").joinpath(next(iter(tree()))).read_bytes()
