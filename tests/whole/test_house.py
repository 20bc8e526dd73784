"""The rules of the house, each fault reported as file:line: who may import whom, what a folder is called and says."""

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST_LINES = 300

# Rooms from the ground up: a folder or a module directly below a package. A room imports itself and lower floors,
# never its own floor or a higher one. Where two rooms of a floor need the same thing, it moves down a floor.
FLOORS = {
    "gato_tokenize": (
        {"version", "arrays", "byte_size", "defaults", "output", "installing"},
        {"markdown", "vocabulary", "field_spec"},
        {"modalities", "spec", "sequence", "roles"},
        {"boxes", "array_spaces"},
        {"steps", "notebook"},
        {"spaces", "layout", "fields", "episode", "environments", "view"},
        {"tokenizer"},
        {"storage"},
        {"config_file"},
        {"command_line"},
        {"commands"},
        {"__init__", "__main__"},
    ),
    "pipelines": (
        {"processes", "stats"},
        {"sources"},
        {"conversion"},
        {"running", "inspection", "beam_steps"},
        {"editing"},
        {"commands"},
        {"__init__", "__main__"},
    ),
    "gato_model": (
        {"config", "shipped"},
        {"data", "network"},
        {"training", "evaluation"},
        {"acting"},
        {"commands"},
        {"__init__", "__main__"},
    ),
}
MODULES = sorted(path for package in FLOORS for path in (ROOT / package).rglob("*.py"))

# Packages of this house that a package may import, from anywhere in it.
NEIGHBOURS = {
    "gato_tokenize": {"gato_tokenize"},
    "pipelines": {"gato_tokenize", "pipelines"},
    "gato_model": {"gato_tokenize", "gato_model"},
}
# Libraries by path, the longest beginning first. None: any but FORBIDDEN.
LIBRARIES: dict[str, set[str] | None] = {
    "gato_tokenize/": {"numpy", "PIL", "sentencepiece", "google_crc32c", "zlib_ng"},
    "gato_tokenize/config_file.py": {"tomli_w"},
    "gato_tokenize/output.py": {"rich"},
    "gato_tokenize/storage/address.py": {"fsspec", "aiohttp"},
    "gato_tokenize/environments/": {"numpy", "gymnasium", "minigrid"},
    "pipelines/": {"numpy", "PIL"},
    "pipelines/sources/": None,  # each reads with the library of its own format
    "pipelines/running/": {"apache_beam", "rich"},
    "pipelines/beam_steps.py": {"apache_beam"},
    "pipelines/inspection/": {"numpy", "PIL", "rich"},
    "pipelines/inspection/charts.py": {"numpy", "matplotlib"},
    "pipelines/inspection/report_page.py": {"numpy", "jinja2"},
    "gato_model/": None,
    "gato_model/data/": {"numpy", "tensorflow"},
    "gato_model/config.py": set(),
}
FORBIDDEN = {
    "pipelines": {"tensorflow", "keras", "torch", "jax"},
    "gato_model": {"apache_beam", "torch", "jax"},
}


def imports(text):
    """(line, dotted name) of every import, those inside functions too; `from a import b` may mean the module a.b."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def floor(package, room):
    """The floor of a room, from 0. A room that stands on none is a fault of the table above."""
    return next((number for number, rooms in enumerate(FLOORS[package]) if room in rooms), None)


def room_of(name, module):
    """The room below its package that a file or an imported name belongs to; `__init__` for the package's face."""
    parts = name.split(".") if module else Path(name).with_suffix("").parts
    known = set().union(*FLOORS[parts[0]])
    return parts[1] if len(parts) > 1 and parts[1] in known else "__init__"


def trespasses(name, text):
    """What the file `name`, of the content `text`, imports and may not: "file:line imports what"."""
    package = name.split("/")[0]
    allowed = max((beginning for beginning in LIBRARIES if name.startswith(beginning)), key=len)
    room, wrong = room_of(name, module=False), []
    for line, dotted in imports(text):
        top = dotted.split(".")[0]
        if top in FLOORS:
            fine = top in NEIGHBOURS[package]
            if fine and top == package:
                other = room_of(dotted, module=True)
                fine = other == room or floor(package, other) < floor(package, room)
        elif top in sys.stdlib_module_names:
            fine = True
        else:  # a library, or "" of a relative import
            libraries = LIBRARIES[allowed]
            fine = bool(top) and (top in libraries if libraries is not None else True)
            fine = fine and top not in FORBIDDEN.get(package, set())
        if not fine:
            wrong.append(f"{name}:{line} imports {dotted}")
    return wrong


def test_nobody_imports_what_they_may_not():
    assert len(MODULES) > 100
    wrong = []
    for path in MODULES:
        name = path.relative_to(ROOT).as_posix()
        if name != "pipelines/sources/contract.py":  # a test that sources inherit
            wrong += trespasses(name, path.read_text())
    assert wrong == []


def circle(texts):
    """The modules of a circle of imports among {dotted name: content}, [] if there is none."""
    known = {}
    for name, text in texts.items():
        found = {dotted if dotted in texts else dotted.rpartition(".")[0] for _, dotted in imports(text)}
        known[name] = found & set(texts) - {name}
    try:
        TopologicalSorter(known).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_no_modules_import_each_other_in_a_circle():
    """Nor for a type alone."""
    dotted = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in MODULES
    }
    assert circle({name: path.read_text() for name, path in dotted.items()}) == []


def test_a_circle_is_found():
    line = {"a": "from p import b", "p": "", "p.b": "import p.c", "p.c": "import os"}
    assert circle(line) == []
    assert set(circle({**line, "p.c": "if TYPE_CHECKING:\n    from p.b import name"})) == {"p.b", "p.c"}


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("pipelines/sources/text.py", "from pipelines.conversion.plan import Plan"),
        ("pipelines/sources/minari/source.py", "import tensorflow"),
        ("pipelines/conversion/convert.py", "import apache_beam as beam"),
        ("pipelines/conversion/plan.py", "from pipelines.running.limits import Limits"),
        ("pipelines/running/limits.py", "from pipelines.inspection import verify"),
        ("pipelines/stats/fit.py", "from pipelines.processes.forked import forked"),
        ("pipelines/inspection/verify.py", "from gato_model import load"),
        ("pipelines/commands/verify.py", "from . import convert"),
        ("pipelines/sources/text.py", "from pipelines import convert"),
        ("gato_tokenize/layout.py", "from gato_tokenize.storage.records import Record"),
        ("gato_tokenize/layout.py", "from gato_tokenize import Record"),
        ("gato_tokenize/sequence.py", "from gato_tokenize.spec import EpisodeSpec"),
        ("gato_tokenize/storage/dataset.py", "import gymnasium"),
        ("gato_model/data/batches.py", "from gato_model.network.model import Gato"),
        ("gato_model/data/batches.py", "import keras"),
        ("gato_model/evaluation/scores.py", "from gato_model.acting.policy import GatoPolicy"),
        ("gato_model/training/run.py", "from pipelines.conversion.plan import Plan"),
    ],
)
def test_a_planted_import_is_found(name, line):
    text = f"import os\n\n\ndef later():\n    {line}\n"
    assert [found.split(" ")[0] for found in trespasses(name, text)] == [f"{name}:5"]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("pipelines/sources/minari/source.py", "import h5py"),
        ("pipelines/running/beam_pipeline.py", "import apache_beam as beam"),
        ("pipelines/conversion/plan.py", "from pipelines.sources import open_source"),
        ("gato_tokenize/storage/dataset.py", "from gato_tokenize.tokenizer import EpisodeTokenizer"),
        ("gato_model/commands/train.py", "import tensorflow as tf"),
    ],
)
def test_a_lawful_import_is_none(name, line):
    assert trespasses(name, line) == []


def test_every_room_stands_on_a_floor():
    for package, floors in FLOORS.items():
        found = {
            path.stem for path in (ROOT / package).iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
        }
        assert found == set().union(*floors), package
        assert sum(map(len, floors)) == len(found), f"{package}: a room stands on two floors"


def test_a_folder_says_its_role_in_one_line():
    folders = [path.parent for path in MODULES if path.name == "__init__.py" and path.parent.parent != ROOT]
    assert len(folders) >= 15
    for folder in folders:
        text = (folder / "__init__.py").read_text()
        docstring = ast.get_docstring(ast.parse(text))
        assert docstring and docstring.splitlines()[0].endswith("."), folder
        assert len([path for path in folder.iterdir() if path.suffix == ".py"]) > 2, f"{folder}: one file is a file"


def test_no_file_is_long():
    long = {path: path.read_text() for path in MODULES if len(path.read_text().splitlines()) > MOST_LINES}
    silent = [
        path.relative_to(ROOT).as_posix()
        for path, text in long.items()
        if not re.search(r"\blines\b", ast.get_docstring(ast.parse(text)) or "")
    ]
    assert silent == [], f"more than {MOST_LINES} lines, and the docstring does not say why"


def private_names(name, text):
    """Names starting with `_` that the file `name`, of the content `text`, takes from another module of the house."""
    tree, modules = ast.parse(text), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in FLOORS:
            modules |= {alias.asname or alias.name for alias in node.names if alias.name[0].islower()}
            for alias in node.names:
                if re.match("_[^_]", alias.name):
                    yield f"{name}:{node.lineno} imports {alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and re.match("_[^_]", node.attr):
            if isinstance(node.value, ast.Name) and node.value.id in modules:
                yield f"{name}:{node.lineno} uses {node.value.id}.{node.attr}"


def test_private_names_stay_in_their_module():
    assert list(private_names("a.py", "from pipelines.stats import fit\n\nfit._x()\n")) == ["a.py:3 uses fit._x"]
    planted = "from pipelines.stats.fit import Fit, _columns, __doc__\n"
    assert list(private_names("a.py", planted)) == ["a.py:1 imports _columns"]
    found = [fault for path in MODULES for fault in private_names(path.relative_to(ROOT), path.read_text())]
    assert found == []


def test_a_text_file_names_its_encoding():
    """Without it, the locale would choose how a dataset's or a run's files are read."""
    wrong = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if node.func.attr in ("read_text", "write_text") and "encoding" not in {k.arg for k in node.keywords}:
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert wrong == []


def test_names_of_modules():
    for path in MODULES:
        vague = ("utils", "util", "common", "helpers", "misc")
        assert path.stem not in vague, f"{path}: a function lives with the noun that it serves"
    assert not set(FLOORS) & sys.stdlib_module_names


def test_no_test_imports_from_a_test_file():
    files = sorted((ROOT / "tests").rglob("*.py"))
    assert len(files) > 70
    wrong = []
    for path in files:
        for line, name in imports(path.read_text()):
            if any(part.startswith("test_") for part in name.split(".")[:-1]) or name.startswith("test_"):
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert wrong == []


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        (
            "gato_tokenize",
            ["tensorflow", "apache_beam", "gymnasium", "pipelines", "google.protobuf", "h5py", "fsspec"],
        ),
        ("pipelines", ["tensorflow", "apache_beam", "gymnasium", "h5py", "rich"]),
        ("pipelines.conversion.convert", ["tensorflow", "apache_beam", "gymnasium", "h5py", "rich"]),
        ("pipelines.conversion.write_partition", ["tensorflow", "apache_beam", "gymnasium", "h5py"]),
        ("gato_model.data.batches", ["tensorflow", "keras", "gymnasium", "pipelines"]),
    ],
)
def test_what_an_import_brings_along(module, unwanted):
    code = f"import {module}, sys; print(*[name for name in {unwanted} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_no_file_names_the_workplace():
    words = ["/".join(("..", "shared")).encode(), "/".join(("", "work", "")).encode()]
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    names = done.stdout.decode().split("\0")[:-1]
    assert len(names) > 200
    wrong = []
    for name in names:
        path = ROOT / name
        if path.is_file():
            for number, line in enumerate(path.read_bytes().splitlines(), 1):
                wrong += [f"{name}:{number} holds {word.decode()!r}" for word in words if word in line]
    assert wrong == []
