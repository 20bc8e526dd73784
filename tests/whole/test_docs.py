"""The documentation's Python runs, its commands exist, and its links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from gato_tokenize import Dataset
from gato_tokenize.installing import has_extra
from pipelines.__main__ import COMMANDS, main
from pipelines.sources import SOURCES, source_class
from pipelines.sources.episode_options import EpisodeOptions, RatedOptions
from pipelines.sources.options import SourceOptions, options_table

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


@pytest.mark.parametrize("page", ["README.md", "docs/tokens.md"])
def test_the_python_of_a_page_runs(page: str) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.S)
    assert blocks
    for block in blocks:
        exec(compile(block, page, "exec"), {})


def test_the_readme_shows_its_promise_before_line_20() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert next(i for i, line in enumerate(lines) if line.startswith("```python")) < 20
    assert any("assert " in line for line in lines[:20])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\(\s*([^)#\s]+)\s*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_source_of_the_page_keeps_the_contract(tmp_path: Path) -> None:
    page = (ROOT / "docs/adding-a-source.md").read_text()
    (module,) = re.findall(r"```python\n(.*?)```", page, re.S)
    (contract,) = re.findall(r"```python notest\n(.*?)```", page, re.S)
    (tmp_path / "gato_csv.py").write_text(module)
    (tmp_path / "test_gato_csv.py").write_text(contract)
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "17 passed" in done.stdout, done.stdout
    for number in range(3):
        lines = ["observation,action", *[f"{'nan' if number == 1 else 0.5},0"] * 4]
        (tmp_path / f"{number}.csv").write_text("\n".join(lines))
    # In a process of its own: a conversion forks, and this one may hold libraries with threads.
    words = ["-m", "pipelines", "convert", "gato_csv:CsvSource:*.csv", "--out", "out/toy/1.0.0", "--max-rejects", "1"]
    subprocess.run([sys.executable, *words], cwd=tmp_path, check=True, timeout=120)
    assert len(Dataset.open(tmp_path / "out/toy/1.0.0")) == 2


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_has_a_section_with_the_table_of_its_options(name: str) -> None:
    sections = re.split(r"^## ", (ROOT / "docs/sources.md").read_text(), flags=re.M)
    (section,) = [text for text in sections if text.startswith(f"{name}\n")]
    tables = [text.partition("\n\n")[0] for text in section.split("\n\n| option")[1:]]
    options = source_class(name).Options
    expected = options_table(options, EpisodeOptions if issubclass(options, EpisodeOptions) else SourceOptions)
    assert [f"| option{table}\n" for table in tables] == ([expected] if expected else [])


@pytest.mark.parametrize("name", SOURCES)
def test_the_page_of_sources_begins_with_what_each_reads_and_its_extra(name: str) -> None:
    table = (ROOT / "docs/sources.md").read_text().partition("```")[0]
    (extra,) = re.findall(rf"^\| .* \| \[`{name}`\]\(#{name}\) \| (.*)\|$", table, re.M)
    assert extra.partition(",")[0].strip(" `") == (name if has_extra(name) else "")


@pytest.mark.parametrize("name", SOURCES)
def test_what_a_plain_path_is_recognised_by_stands_in_a_table(name: str) -> None:
    rows = re.findall(rf"^\| `{name}` \| (.*) \|$", (ROOT / "docs/sources.md").read_text(), re.M)
    assert rows == ([source_class(name).looks_for] if source_class(name).looks_for else [])


@pytest.mark.parametrize("name", SOURCES)
def test_the_readme_lists_the_source(name: str) -> None:
    assert f"| `{name}` | " in (ROOT / "README.md").read_text()


def test_the_options_of_every_source_of_episodes_have_a_table() -> None:
    page = (ROOT / "docs/sources.md").read_text()
    assert (
        f"\n\n{options_table(EpisodeOptions)}\n" in page
        and f"\n\n{options_table(RatedOptions, EpisodeOptions)}\n" in page
    )


def test_every_option_of_a_command_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    pages = "".join((ROOT / f"docs/{page}.md").read_text() for page in ("converting", "editing"))
    for command in COMMANDS:
        with pytest.raises(SystemExit):
            main([command, "--help"])
        options = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
        assert "--help" in options
        for option in options - {"--help"}:
            if option not in ("--no-colour", "--field"):
                assert option.replace("--no-", "--") in pages, f"{command} {option}"
