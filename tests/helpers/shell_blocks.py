"""The shell blocks of a page, as a test types them.

A block is fenced as ```sh. An HTML comment right before it, which no reader sees, says how the test types it:

    <!-- typed with 2000 -> 20, --steps 300 -> --steps 2 -->    the block with these replacements, to be quick
    <!-- typed first: COMMANDS -->                              after these commands, which make what the block reads
    <!-- not typed: REASON -->                                  not at all
"""

import dataclasses
import re

COMMANDS = ("gato-", "make ", "pip ", "python ", "git ", "$ ", "TF_CONFIG=")
_FENCE = re.compile(r"((?:^<!--(?:(?!-->).)*-->\n)*)^```(\w*)[^\n]*\n(.*?)^```$", re.S | re.M)
_COMMENT = re.compile(r"<!--\s*(typed with|typed first:|not typed:)\s*(.*?)\s*-->", re.S)


@dataclasses.dataclass(frozen=True)
class ShellBlock:
    """A block as it is printed, and what a test types: `commands`, or nothing for the reason `untyped`."""

    printed: str
    commands: str
    untyped: str = ""


def shell_blocks(page: str) -> list[ShellBlock]:
    """The ```sh blocks of a page's text, in order; ValueError for a replacement that replaces nothing."""
    found = (_FENCE.fullmatch(match.group()) for match in _FENCE.finditer(page))
    return [_block(*match.group(1, 3)) for match in found if match and match.group(2) == "sh"]


def stray_commands(page: str) -> list[str]:
    """The lines of a page that look like commands and stand in a block which no test types."""
    lines = [line for match in _FENCE.finditer(page) if match.group(2) != "sh" for line in match.group(3).splitlines()]
    outside = _FENCE.sub("", page)
    lines += [line[4:] for line in outside.splitlines() if line.startswith("    ")]
    return [line for line in lines if line.startswith(COMMANDS)]


def _block(comments: str, printed: str) -> ShellBlock:
    first, commands, untyped = "", printed, ""
    for what, text in _COMMENT.findall(comments):
        if what == "typed with":
            commands = _replaced(commands, text)
        elif what == "typed first:":
            first = f"{text}\n"
        else:
            untyped = text
    return ShellBlock(printed, "" if untyped else first + commands, untyped)


def _replaced(commands: str, replacements: str) -> str:
    for replacement in replacements.split(", "):
        old, _, new = replacement.partition(" -> ")
        if old not in commands:
            raise ValueError(f"the block does not have {old!r}, which is to become {new!r}:\n{commands}")
        commands = commands.replace(old, new)
    return commands
