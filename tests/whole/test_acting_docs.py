"""docs/acting.md: its Python runs, and it names every option of the three commands."""

import re
from pathlib import Path

import pytest
import toy_acting  # noqa: F401 - quiets TensorFlow

from gato_model.commands import arguments
from gato_tokenize.command_line import CommandParser

PAGE = (Path(__file__).parents[2] / "docs/acting.md").read_text()


def test_the_python_runs():
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    exec(compile(block, "docs/acting.md", "exec"), {})


@pytest.mark.parametrize("add_arguments", [arguments.evaluate, arguments.generate, arguments.export])
def test_every_option_is_named(add_arguments):
    parser = CommandParser(add_help=False)
    add_arguments(parser)
    options = set(re.findall(r"--[a-z-]+", parser.format_help()))
    assert len(options) > 5
    assert [option for option in sorted(options) if f"`{option}`" not in PAGE and f"{option} " not in PAGE] == []
