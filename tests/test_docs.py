"""The documentation's Python runs, its commands exist, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

from pipelines.__main__ import COMMANDS, main
from pipelines.source import SOURCES

ROOT = Path(__file__).parent.parent
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


def test_every_source_and_every_option_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    sources = (ROOT / "docs/sources.md").read_text()
    assert all(f"## {name}" in sources for name in SOURCES)
    converting = (ROOT / "docs/converting.md").read_text()
    for command in COMMANDS:
        with pytest.raises(SystemExit):
            main([command, "--help"])
        for option in set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help"}:
            if option != "--no-colour" and option != "--field":
                assert option in converting, f"{command} {option}"
