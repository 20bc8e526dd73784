"""`make docs`: the site builds without a warning, loads nothing from elsewhere, and explains every public name."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOADED = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?\s(?:src|href)=[\"']?(?:https?:)?//[^\s\"'>]+")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder]
    settings = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(words, cwd=ROOT, env=settings, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_a_page_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 15
    assert {page.name: found for page in pages if (found := LOADED.findall(page.read_text()))} == {}


@pytest.mark.parametrize("package", ["gato_tokenize", "pipelines", "gato_model"])
def test_every_public_name_is_explained(site: Path, package: str) -> None:
    page = (site / "api" / package / "index.html").read_text()
    for name in set(importlib.import_module(package).__all__) - {"__version__"}:
        assert f'id="{package}.{name}"' in page, f"docs/api/{package}.md lacks ::: {package}.{name}"
