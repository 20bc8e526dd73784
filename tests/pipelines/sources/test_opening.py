"""Opening a source by its name: a built-in one, one of an installed package, and a class of one's own."""

import importlib
import os
import re
import subprocess
import sys
from importlib import metadata
from importlib.metadata import EntryPoints
from pathlib import Path

import pytest

from gato_tokenize import Dataset
from gato_tokenize.installing import how_to_install
from pipelines.sources import SOURCES, open_source, source_class
from pipelines.sources.catalogue import known_sources
from pipelines.sources.entry_points import offered
from pipelines.sources.errors import SourceError

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            ModuleNotFoundError("No module named 'h5py'", name="h5py"),
            f"needs the package h5py: {how_to_install('minari')} installs it",
        ),
        (ImportError("libhdf5.so: cannot open"), "a package that is installed but cannot be loaded: libhdf5.so"),
    ],
)
def test_only_a_package_that_is_missing_is_to_be_installed(
    error: ImportError, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> None:
        raise error

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(SourceError, match=re.escape(message)):
        source_class("minari")


SOURCE = """
from gato_tokenize import Episode, EpisodeMetadata, EpisodeSpec
from pipelines import Candidate, Source

SPEC = EpisodeSpec.document()

class Words(Source):
    reads_files = False

    def __init__(self, argument, options):
        self.words, self.options = argument.split(","), options

    def inputs(self):
        return [{"uri": "words", "versions": {}}]

    def specs(self):
        return {"words": SPEC}

    def partitions(self):
        return [{"first": i, "count": 1} for i in range(len(self.words))]

    def candidates(self, partition):
        i = partition["first"]
        yield Candidate(f"words/{i}", "words", i, lambda: self.load(i))

    def load(self, i):
        metadata = EpisodeMetadata(f"words/{i}", "toy", "words", source_uri="words", source_index=i)
        return Episode(SPEC, {"text": [self.words[i]]}, metadata=metadata)

class Half(Source):
    pass

class Local(Words):
    reads_files = True

number = 3
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that Python searches for modules, and in which the test works."""
    (tmp_path / "my_words.py").write_text(SOURCE)
    (tmp_path / "my_broken.py").write_text("import no_such_library\n")
    (tmp_path / "my_fault.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("my_words", "my_broken", "my_fault"):
        sys.modules.pop(name, None)
    open_source.cache_clear()
    return tmp_path


def install(folder: Path, package: str, **entries: str) -> None:
    """Do what installing a package does that offers `entries` as sources, {name: place}."""
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"{name} = {place}\n" for name, place in entries.items()]
    (info / "entry_points.txt").write_text("[gato_toolchain.sources]\n" + "".join(lines))


@pytest.mark.parametrize("source", ["my_words:Words:go,stop?x=1", "words:go,stop?x=1"])
def test_a_class_of_ones_own_is_opened_by_module_or_as_an_installed_source(here: Path, source: str) -> None:
    install(here, "gato-words", words="my_words:Words")
    opened = open_source(source)
    assert (type(opened).__name__, vars(opened)["words"], opened.source) == ("Words", ["go", "stop"], source)
    assert vars(opened)["options"] == {"x": "1"}


def test_installed_packages_are_looked_through_only_where_one_came_or_went(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = []

    def look(group: str) -> EntryPoints:
        looked.append(group)
        return EntryPoints()

    monkeypatch.setattr(metadata, "entry_points", look)
    assert not offered() and not offered() and len(looked) == 1
    install(here, "gato-words", words="my_words:Words")
    assert not offered() and len(looked) == 2


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("my_words", "'my_words' is no source: write NAME:ARGUMENT, NAME one of rollouts,"),
        ("my_words:Words", "or MODULE:CLASS:ARGUMENT for a class of your own"),
        ("txt:docs/*.txt", "'txt:docs/*.txt' is no source: write NAME:ARGUMENT"),
        ("no_words:Words:go", "no_words is no source's name, and no_words:Words no class: there is no module 'no_w"),
        ("my.words:Words:go", "there is no module 'my'; start the command in the folder that holds it, or install it"),
        ("my words:Words:go", "'my words' is not the name of a module"),
        ("my_broken:Words:go", "there is no module 'no_such_library', which my_broken imports"),
        ("my_fault:Words:go", "my_fault cannot be imported: ZeroDivisionError"),
        ("my_words:Word:go", "Word is not in the module my_words"),
        ("my_words:number:go", "my_words:number is no class that inherits pipelines.Source"),
        (
            "my_words:Local:s3://a/b",
            "s3://a/b is an address, and the source my_words reads only local files",
        ),
        ("my_words:Half:go", "my_words:Half lacks the methods __init__, candidates, inputs, partitions, specs"),
    ],
)
def test_what_is_no_source_is_refused_by_its_reason(here: Path, source: str, message: str) -> None:
    with pytest.raises(SourceError, match=re.escape(message)):
        open_source(source)


def test_an_installed_source_that_cannot_be_loaded_costs_its_own_name_alone(here: Path) -> None:
    install(here, "gato-words", words="my_words:Words", broken="my_broken:Words", number="my_words:number")
    for name, message in (
        ("broken", "source 'broken' of the package gato-words cannot be loaded: ModuleNotFoundError: No module named"),
        ("number", "my_words:number is no class that inherits"),
        ("wrods", f"{list(SOURCES)[-1]}, broken, number, words; or MODULE"),
    ):
        with pytest.raises(SourceError, match=message):
            open_source(f"{name}:go")
    assert open_source("words:go").partitions()
    assert source_class("text")


def test_a_name_that_two_sources_have_is_refused(here: Path) -> None:
    install(here, "gato-words", text="my_words:Words", words="my_words:Words")
    install(here, "other-words", words="my_words:Words")
    with pytest.raises(SourceError, match="'text' is built in, and gato-words would replace it: uninstall"):
        open_source("text:*.txt")
    with pytest.raises(SourceError, match="'words' is offered by gato-words and other-words: uninstall all but one"):
        open_source("words:go")


@pytest.mark.parametrize(("way", "workers"), [("module", "1"), ("script", "2")])
def test_a_command_finds_the_module_in_the_current_folder(here: Path, way: str, workers: str) -> None:
    """An installed script has its own folder first on the path, `python -m` the current one; workers are processes."""
    (here / "bin").mkdir()
    script = here / "bin/gato-data"
    script.write_text("import sys\nfrom pipelines.__main__ import main\nsys.exit(main())\n")
    words = {"module": ["-m", "pipelines"], "script": [str(script)]}[way]
    sources = ["my_words:Words:go,stop,turn", "--out", "out/toy/1.0.0", "--workers", workers]
    settings = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *words, "convert", *sources], env=settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    named = [record.metadata.episode_id for record in Dataset.open("out/toy/1.0.0").records()]
    assert named == [f"words/{i}" for i in range(3)]


def test_a_source_of_an_installed_package_is_listed_by_its_package(here: Path) -> None:
    (here / "my_words.py").write_text('"""Words: words, one an episode."""\n' + (here / "my_words.py").read_text())
    install(here, "gato-words", words="my_words:Words", broken="my_broken:Words")
    listed = {source.name: source for source in known_sources()}
    words, broken = listed["words"], listed["broken"]
    assert (words.reads, words.extra, words.package, words.status) == ("words, one an episode", "", "gato-words", "yes")
    assert broken.status.startswith("no: ") and "no_such_library" in broken.fault and broken.options == {}
