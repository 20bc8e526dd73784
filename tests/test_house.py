"""The rules of the house, told with file:line: who may import whom, names of modules, words that must not appear."""

import ast
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("gato_tokenize", "pipelines", "gato_model")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).glob("**/*.py"))

GROUND_FLOOR = {"gato_tokenize", "numpy", "PIL", "sentencepiece", "google_crc32c"}
PIPELINES = {"pipelines", "gato_tokenize", "apache_beam", "rich", "numpy", "PIL"}
OWN_LIBRARIES = {  # of one module alone
    "environment": {"gymnasium", "minigrid"},
    "source_contract": {"pytest"},
    "report": {"jinja2"},
    "charts": {"matplotlib"},
}


def imports(text):
    """(line, dotted name) of every import, those inside functions too; `from a import b` may mean the module a.b."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def third_party(path):
    """(file:line, top-level name) of every import beyond the standard library."""
    for line, name in imports(path.read_text()):
        top = name.split(".")[0]  # "" of a relative import
        if top not in sys.stdlib_module_names:
            yield f"{path.relative_to(ROOT)}:{line}", top


def foreign(path, allowed):
    return [f"{where} imports {top or 'relatively'}" for where, top in third_party(path) if top not in allowed]


def source_modules():
    """The names of pipelines/read_*.py, and of the modules that none but these import."""
    modules = {path.stem: path for path in MODULES if path.parent.name == "pipelines"}
    importers = defaultdict(set)
    for stem, path in modules.items():
        for _, name in imports(path.read_text()):
            package, _, rest = name.partition(".")
            if package == "pipelines" and rest.split(".")[0] in modules:
                importers[rest.split(".")[0]].add(stem)
    sources = {stem for stem in modules if stem.startswith("read_")}
    while more := {stem for stem in modules if importers[stem] and importers[stem] <= sources} - sources:
        sources |= more
    return sources


def packaged(package):
    return [path for path in MODULES if path.is_relative_to(ROOT / package)]


def test_the_walk_finds_imports_at_any_depth():
    text = "import a.b, c\ndef f():\n    from d import e as g\n    from . import h\nif True:\n    import i\n"
    assert sorted(imports(text)) == [(1, "a.b"), (1, "c"), (3, "d.e"), (4, "..h"), (6, "i")]
    assert len(MODULES) > 40


def test_the_ground_floor_imports_little():
    wrong = []
    for path in packaged("gato_tokenize"):
        wrong += foreign(path, GROUND_FLOOR | OWN_LIBRARIES.get(path.stem, set()))
    assert wrong == []


def test_only_sources_import_the_libraries_of_sources():
    """Of the rest, `source_contract` is a test that sources inherit, and the report has an extra of its own."""
    sources = source_modules()
    assert {"read_minari", "minari_episode", "rollout", "experts"} <= sources
    assert not {"source", "plan", "convert", "write_partition"} & sources
    wrong = []
    for path in packaged("pipelines"):
        if path.stem not in sources:
            wrong += foreign(path, PIPELINES | OWN_LIBRARIES.get(path.stem, set()))
    assert wrong == []


def test_pipelines_never_import_tensorflow_or_the_model():
    found = [(where, top) for path in packaged("pipelines") for where, top in third_party(path)]
    assert [f"{w} imports {top}" for w, top in found if top in ("tensorflow", "keras", "gato_model", "")] == []


def test_the_model_never_imports_pipelines():
    found = [(where, top) for path in packaged("gato_model") for where, top in third_party(path)]
    assert [f"{where} imports {top}" for where, top in found if top in ("pipelines", "apache_beam", "")] == []


def test_names_of_modules():
    """Unique across packages, so that tests/test_<module>.py has one meaning; none hides a standard module's."""
    first, wrong = {}, []
    for path in (path for path in MODULES if not path.stem.startswith("__")):
        name = path.relative_to(ROOT)
        if path.stem in first:
            wrong.append(f"{name} has the name of {first[path.stem]}")
        if path.stem in sys.stdlib_module_names:
            wrong.append(f"{name} has the name of a standard module")
        if path.stem in ("utils", "util", "common", "helpers", "misc"):
            wrong.append(f"{name}: a function lives with the noun that it serves")
        first.setdefault(path.stem, name)
    assert wrong == []


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("gato_tokenize", ["tensorflow", "apache_beam", "gymnasium", "pipelines", "google.protobuf", "h5py"]),
        ("pipelines.write_partition", ["tensorflow", "apache_beam", "gymnasium", "h5py"]),
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
    wrong = []
    for name in done.stdout.decode().split("\0")[:-1]:
        path = ROOT / name
        if path.is_file():
            for number, line in enumerate(path.read_bytes().splitlines(), 1):
                wrong += [f"{name}:{number} holds {word.decode()!r}" for word in words if word in line]
    assert wrong == []
