"""The Python of README.md and docs/ passes `mypy --strict` and `pyright`, as users may check what they copy."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [page for page in [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))] if "```python" in page.read_text()]


def module_of(page: str) -> str:
    """The Python of a page as one module, since blocks go on where others ended. A line keeps its number."""
    lines, inside = [], False
    for line in page.splitlines():
        fence = line.startswith("```")
        lines.append("" if fence or not inside else line)
        inside = line.startswith("```python") if fence else inside
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    assert len(PAGES) >= 6
    for page in PAGES:
        (folder / f"{page.stem.replace('-', '_')}.py").write_text(module_of(page.read_text()))
    return folder


def checked(*words: str | Path) -> str:
    """The output of a type checker that finds no error."""
    done = subprocess.run([*map(str, words)], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, re.sub(r"\S*/pages\d*/", "", done.stdout + done.stderr)
    return done.stdout


def test_mypy(folder: Path) -> None:
    words = ["--strict", "--ignore-missing-imports", "--cache-dir", folder / "cache", folder]
    assert f"no issues found in {len(PAGES)} source files" in checked(sys.executable, "-m", "mypy", *words)


def test_pyright(folder: Path) -> None:
    """Libraries without types, or that are not installed, are no fault of the page."""
    off = dict.fromkeys(("reportMissingImports", "reportMissingModuleSource", "reportUnusedExpression"), False)
    settings = {"extraPaths": [str(ROOT)], "useLibraryCodeForTypes": False, **off}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    assert "0 errors" in checked(sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--project", folder)
