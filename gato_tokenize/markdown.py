"""Parts of a Markdown page: texts in which nothing is markup, tables, fenced blocks."""

import re
from collections.abc import Iterator, Sequence

from gato_tokenize.output import printable, printable_lines


def markdown(text: object) -> str:
    r"""Return a text as one line of a Markdown page, in which nothing is markup.

    >>> print(markdown("<b> a|b [link](x)\n"))
    &lt;b> a\|b \[link](x)\n
    """
    return re.sub(r"[|*`\[]", r"\\\g<0>", printable(text).replace("&", "&amp;").replace("<", "&lt;"))


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    """Yield the lines of a Markdown table, without the columns that are empty in every row, and an empty line.

    >>> list(markdown_table(("split", "note", "records"), [("train", "", 3)]))
    ['| split | records |', '| --- | --- |', '| train | 3 |', '']
    """
    used = [number for number in range(len(head)) if any(row[number] != "" for row in rows)]
    for row in (head, ["---"] * len(head), *rows) if rows else ():
        yield "| " + " | ".join(markdown(row[number]) for number in used) + " |"
    yield ""


def fenced(text: str, language: str) -> Iterator[str]:
    """Yield the lines of a fenced block of a Markdown page, whatever fences the text holds itself."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    yield from (f"{fence}{language}", *printable_lines(text).split("\n"), fence, "")
