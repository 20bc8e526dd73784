"""The commands of README.md and of each page of docs/ work as they are printed, from the first to the last."""

import os
import subprocess
from pathlib import Path

import pytest
from environment_of_scripts import make_environment
from lerobot_files import write_v3
from PIL import Image
from rlds_files import by_hand
from shell_blocks import shell_blocks, stray_commands

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
TYPED = [page for page in PAGES if any(not block.untyped for block in shell_blocks(page.read_text()))]
CHECKOUT = ("docs", "examples", "gato_tokenize", "pipelines", "gato_model", "README.md")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout after `make demo`: the sources, and in `.venv` the scripts that pip would install; beside them a
    picture and two small datasets."""
    for name in CHECKOUT:
        (tmp_path / name).symlink_to(ROOT / name)
    make_environment(tmp_path / ".venv")
    by_hand(tmp_path / "bridge_dataset/1.0.0", dataset="bridge_dataset")
    write_v3(tmp_path / "pusht")
    Image.new("RGB", (64, 48), (200, 30, 30)).save(tmp_path / "photo.jpg")
    return tmp_path


@pytest.mark.parametrize("page", TYPED, ids=lambda page: page.name)
def test_every_block_of_a_page_works_as_printed(page: Path, checkout: Path) -> None:
    blocks = [block.commands for block in shell_blocks(page.read_text()) if not block.untyped]
    if page.name != "README.md":  # which says itself how the commands are found
        blocks.insert(0, ". .venv/bin/activate\n")
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    words = ["bash", "-euxo", "pipefail", "-c", "".join(blocks)]
    done = subprocess.run(words, cwd=checkout, env=variables, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_stands_in_a_shell_block(page: Path) -> None:
    assert stray_commands(page.read_text()) == []


def test_a_comment_says_how_a_block_is_typed() -> None:
    page = (
        "<!-- typed with 300 -> 3, big -> small -->\n<!-- typed first: make\nready -->\n```sh\ntrain 300 big\n```\n"
        "<!-- not typed: needs a cluster -->\n```sh\nfly\n```\n\n```python\ntrain\n```\n"
    )
    typed, untyped = shell_blocks(page)
    assert typed.printed == "train 300 big\n" and typed.commands == "make\nready\ntrain 3 small\n"
    assert untyped.commands == "" and untyped.untyped == "needs a cluster"


def test_a_replacement_that_replaces_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="does not have '400'"):
        shell_blocks("<!-- typed with 400 -> 4 -->\n```sh\ntrain 300\n```\n")


def test_a_command_outside_a_shell_block_is_found() -> None:
    page = "text\n\n    gato-data verify here\n\n```text\nmake demo\n```\n```sh\ngato-data inspect there\n```\n"
    assert stray_commands(page) == ["make demo", "gato-data verify here"]
