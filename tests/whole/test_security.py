"""Data stays data: nothing in a source or a dataset is executed or imported, leaves its folder, or uses memory at will.

The limits of pictures and archive members, and links out of an HDF5 file, are tested with their modules.
"""

import ast
import gzip
import hashlib
import io
import json
import os
import pickle
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from conversions import convert, faults, png, rejects, tree, write_lines

from gato_tokenize import Dataset
from gato_tokenize.storage.dataset import DatasetTokenizer
from gato_tokenize.storage.manifest import manifest_bytes
from pipelines.__main__ import main
from pipelines.conversion.plan import Plan
from pipelines.inspection.verify import verify
from pipelines.sources import open_source
from pipelines.sources.errors import SourceError

ROOT = Path(__file__).parents[2]
DEEP = "[" * 100_000
RUNS_CODE = {"eval", "exec", "compile", "__import__"}
LOADS_OBJECTS = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "runpy", "code", "yaml"}


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    open_source.cache_clear()


@pytest.fixture
def evil(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that could be imported but must not be."""
    folder = tmp_path_factory.mktemp("path")
    (folder / "evil_module.py").write_text("class Run: pass\n")
    monkeypatch.syspath_prepend(folder)
    yield "evil_module"
    assert "evil_module" not in sys.modules


# ------------------------------------------------------------------------------------------- no code, no pickles


def calls_and_imports(path: Path) -> Any:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.lineno, node.func.id
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from ((node.lineno, name.split(".")[0]) for name in names)


def test_no_module_runs_code_or_unpickles() -> None:
    """Two files are excused: a child process answers by pickle, through a pipe that no data reaches; the contract test
    copies a source."""
    excused = {"pipelines/processes/child_process.py": {"pickle"}, "pipelines/sources/contract.py": {"pickle"}}
    wrong, seen = [], 0
    for package in ("gato_tokenize", "pipelines", "gato_model"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name, seen = path.relative_to(ROOT).as_posix(), seen + 1
            forbidden = (RUNS_CODE | LOADS_OBJECTS) - excused.get(name, set())
            wrong += [f"{name}:{line} {word}" for line, word in calls_and_imports(path) if word in forbidden]
    assert seen > 100
    assert wrong == []


class Bomb:
    def __reduce__(self) -> Any:
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize("name", ["a.pkl", "a.npy", "a.npz", "a.h5", "a.py", "a.jsonl.7z"])
def test_a_pickle_is_no_source(name: str) -> None:
    Path(name).write_bytes(pickle.dumps(Bomb()))
    for source in (f"text:{name}", f"image-text:{name}", f"minari:{name}", f"pickle:{name}"):
        assert convert(source) == 2
    assert not Path("exploded").exists() and not Path("out").exists()


@pytest.mark.parametrize("data", [pickle.dumps(Bomb()), b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '|O'}"])
def test_a_pickle_in_place_of_data_costs_its_episode(data: bytes) -> None:
    Path("a.png").write_bytes(data)
    Path("b.png").write_bytes(png())
    Path("pairs.jsonl").write_text("".join(json.dumps({"image": f"{n}.png", "caption": n}) + "\n" for n in "ab"))
    Path("docs").mkdir()
    Path("docs/a.txt").write_bytes(b"\xff" + data)
    Path("docs/b.txt").write_text("fine")
    assert convert("image-text:pairs.jsonl", "text:docs/*.txt", "--max-rejects", "2") == 0
    assert len(rejects()) == 2 and len(Dataset.open("out/toy/1.0.0")) == 2
    assert not Path("exploded").exists()


def test_what_a_dataset_says_of_its_environment_is_not_imported(evil: str) -> None:
    pytest.importorskip("h5py")
    from minari_files import by_hand

    spec = json.dumps({"id": "Evil-v0", "entry_point": f"{evil}:Run", "vector_entry_point": f"{evil}:Run"})
    said = {"env_spec": spec, "eval_env_spec": spec, "requirements": [evil], "code_permalink": evil}
    by_hand(Path("sound"), 2, **said)
    assert convert("minari:sound") == 0 and len(Dataset.open("out/toy/1.0.0")) == 2
    for kind in (f"{evil}:Run", f"{evil}.Run"):
        by_hand(Path(kind.replace(":", "-")), 1, action_space=json.dumps({"type": kind}))
        with pytest.raises(SourceError, match="no space of type"):
            open_source(f"minari:{kind.replace(':', '-')}").specs()


def test_modules_beside_the_data_are_not_imported() -> None:
    """Files beside and inside the data have the names that Python, this project and its libraries would look for."""
    Path("docs").mkdir()
    Path("docs/a.txt").write_text("fine")
    names = (
        "sitecustomize",
        "usercustomize",
        "conftest",
        "numpy",
        "pipelines",
        "read_text",
        "sentencepiece",
        "__init__",
    )
    for name in names:
        Path(f"docs/{name}.py").write_text("raise SystemExit(9)\n")
    assert convert("text:docs/*.txt") == 0
    folder = Path("out/toy/1.0.0")
    for name in names:
        (folder / f"{name}.py").write_text("raise SystemExit(9)\n")
    assert Dataset.open(folder).record(0).metadata.episode_id == "docs/a.txt"
    assert main(["inspect", str(folder)]) == 0
    assert set(faults(folder)) == {f"{name}.py" for name in names}


# -------------------------------------------------------------------------------------------- inside the folder


def test_names_in_an_archive_lead_nowhere() -> None:
    Path("in").mkdir()
    names = ["../up", "/tmp/absolute", "a/../../up", "..\\up", "~/home", "C:\\up", "sound"]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in names:
            for extension, data in (("png", png()), ("txt", b"words")):
                member = tarfile.TarInfo(f"{name}.{extension}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        for kind, target in ((tarfile.SYMTYPE, "/etc/passwd"), (tarfile.LNKTYPE, "../secret"), (tarfile.CHRTYPE, "")):
            member = tarfile.TarInfo("link.txt")
            member.type, member.linkname = kind, target
            archive.addfile(member)
    Path("in/a.tar").write_bytes(out.getvalue())
    before = tree(".")
    assert convert("image-text:in/*.tar") == 0
    assert {name for name in tree(".") if not name.startswith("out/toy/1.0.0/")} == set(before)
    dataset = Dataset.open("out/toy/1.0.0")
    assert [e.fields["observation/caption"] for e in dataset.episodes()] == [["words"]] * (
        len(names) - 1
    )  # "..\\up" is hidden
    assert not Path("/tmp/absolute.png").exists() and faults(dataset.path) == []


@pytest.mark.parametrize("name", ["../secret.png", "/etc/hostname", "a/../../secret.png", "link.png", "..\\secret.png"])
def test_a_line_s_picture_is_below_its_folder(name: str) -> None:
    Path("secret.png").write_bytes(png())
    Path("in/a").mkdir(parents=True)
    Path("in/link.png").symlink_to("../secret.png")
    Path("in/own.png").write_bytes(png(1))
    lines = [json.dumps({"image": image, "caption": "x"}) + "\n" for image in (name, "own.png")]
    Path("in/pairs.jsonl").write_text("".join(lines))
    assert convert("image-text:in/pairs.jsonl", "--max-rejects", "1") == 0
    (reject,) = rejects()
    assert "below the folder" in reject["message"] or "out of the folder" in reject["message"]


def made() -> Path:
    """A dataset of one document, which the tests forge."""
    write_lines("docs.jsonl.gz", [json.dumps({"text": "one"})])
    assert convert("text:docs.jsonl.gz") == 0
    return Path("out/toy/1.0.0")


def sign(folder: Path, manifest: Any) -> None:
    (folder / "manifest.json").write_bytes(manifest_bytes(manifest))


def test_a_manifest_that_names_files_elsewhere() -> None:
    """A file outside the folder counts as missing and is not read, even if the manifest has its right hash."""
    folder = made()
    Path("secret").write_text("x")
    manifest = json.loads((folder / "manifest.json").read_text())
    for name in ("../../../secret", str(Path("secret").resolve())):
        sign(folder, {**manifest, "files": {**manifest["files"], name: hashlib.sha256(b"x").hexdigest()}})
        assert [str(fault) for fault in verify(folder)] == [f"{name}: is missing"]


def test_a_list_that_names_shards_elsewhere() -> None:
    folder = made()
    path = folder / "episodes.jsonl.gz"
    with gzip.open(path, "rt") as file:
        lines = [json.loads(line) for line in file]
    for name in ("../../../secret-train.tfrecord-00000-of-00001", str(Path("secret").resolve()), "train\n"):
        with gzip.open(path, "wt") as file:
            file.writelines(json.dumps({**line, "shard": name}) + "\n" for line in lines)
        with pytest.raises(ValueError, match="damaged or forged: it names"):
            Dataset.open(folder).find_episode("0")
        assert main(["inspect", str(folder), "--episode", "0"]) == 2
        assert main(["report", str(folder), "--out", "page.html"]) == 1
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["splits"]["train"]["shards"][0]["file"] = name
        sign(folder, manifest)
        with pytest.raises(ValueError, match="damaged or forged: it names"):
            next(Dataset.open(folder).records())


def test_links_in_a_dataset_are_faults() -> None:
    folder = made()
    (folder / "more").symlink_to("/etc")
    (folder / "file").symlink_to("/etc/hostname")
    os.mkfifo(folder / "pipe")  # opening it would hang
    assert set(faults(folder)) == {"more", "file", "pipe"}


# ------------------------------------------------------------------------------------------------- JSON and sizes


@pytest.mark.parametrize("text", [DEEP, '{"text": ' + DEEP, '{"a":' * 100_000])
def test_json_nested_without_end_costs_its_line(text: str) -> None:
    Path("docs.jsonl").write_text(f'{{"text": "one"}}\n{text}\n{{"text": "three"}}\n')
    Path("pairs.jsonl").write_text(text + "\n")
    Path("b.png").write_bytes(png())
    Path("good.jsonl").write_text(json.dumps({"image": "b.png", "caption": "b"}) + "\n")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in (("a.png", png()), ("a.json", text.encode())):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    Path("a.tar").write_bytes(out.getvalue())
    sources = ["text:docs.jsonl", "image-text:pairs.jsonl", "image-text:good.jsonl", "image-text:a.tar"]
    assert convert(*sources, "--max-rejects", "3") == 0
    assert len(rejects()) == 3 and len(Dataset.open("out/toy/1.0.0")) == 3


@pytest.mark.parametrize("content", [DEEP, "[]", "null", "{}", '{"splits": 3}', "\0", ""])
def test_a_dataset_whose_json_is_nonsense(content: str) -> None:
    """Its hash reveals a spoilt file; if the manifest was forged for it, its reader refuses it."""
    folder = made()
    sound = {name: (folder / name).read_bytes() for name in ("manifest.json", "_run/plan.json", "tokenizer/spec.json")}
    for name in sound:
        (folder / name).write_text(content)
        assert name in [fault.file for fault in verify(folder)]
        manifest = json.loads(sound["manifest.json"])
        if name != "manifest.json":
            manifest["files"][name] = hashlib.sha256(content.encode()).hexdigest()
            sign(folder, manifest)
            assert list(verify(folder, deep=True)), name
        elif content.startswith("{"):
            sign(folder, json.loads(content))
            assert [fault.file for fault in verify(folder)][-1:] == ["manifest.json"]
        assert main(["verify", str(folder)]) == 1 or name == "tokenizer/spec.json"
        for path, data in sound.items():
            (folder / path).write_bytes(data)
    assert faults(folder) == []


def test_a_spec_of_an_unknown_type_is_refused() -> None:
    folder = made()
    spec = json.loads((folder / "tokenizer/spec.json").read_text())
    spec["tasks"]["text"]["observation"]["text"]["type"] = "builtins:eval"
    (folder / "tokenizer/spec.json").write_text(json.dumps(spec))
    with pytest.raises(ValueError, match="unknown field type 'builtins:eval'"):
        DatasetTokenizer.load(folder)


def test_a_plan_s_unknown_keys_are_refused() -> None:
    folder = made()
    plan = json.loads((folder / "_run/plan.json").read_text())
    with pytest.raises(TypeError, match="unexpected keyword argument 'run'"):
        Plan.from_json(json.dumps({**plan, "run": "x"}))


def test_a_compressed_bomb_is_one_reject() -> None:
    """A document has at most 64 MiB; 200 MB of zeros take only 200 kB on disk."""
    with gzip.open("bomb.txt.gz", "wb", compresslevel=9) as file:
        for _ in range(20):
            file.write(bytes(10_000_000))
    assert Path("bomb.txt.gz").stat().st_size < 300_000
    Path("fine.txt").write_text("fine")
    assert convert("text:*.txt*", "--max-rejects", "1") == 0
    assert "longer than" in rejects()[0]["message"]
