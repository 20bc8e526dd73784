"""Cleaning of a package's files to plain text: a function for each kind of file, and the choice between them."""

import html
import re
import zlib
from collections.abc import Callable

CODE_SUFFIXES = frozenset(
    """
py c h hpp hh cc cpp ipp go rs js mjs ts rb el java sh pl pm css json yaml yml toml xml tex sql lua cmake cfg ini conf
md gemspec
""".split()
)

BLOCK = re.compile(
    r"</?(?:p|div|h\d|li|ul|ol|tr|td|th|dt|dd|dl|br|table|section|title|item|note|page|blockquote)\b[^>]*>", re.I
)
PRE = re.compile(r"(<(?:pre|screen|code mime)\b.*?</(?:pre|screen|code)>)", re.I | re.S)
INVISIBLE = re.compile(r"<(script|style|head|svg)\b.*?</\1>|<!--.*?-->|<\?.*?\?>", re.I | re.S)
ROFF = re.compile(r"\\f(?:\[\w*\]|\(..|.)|\\s[-+]?\d|\\[&|^/,)%:]|\\\*\(..|\\\*.")


def cleaning_of(package: str, path: str, is_code: bool) -> Callable[[str], str] | None:
    """Return the function that turns this file into text; None for a file that is not wanted."""
    suffix = path.rsplit(".", 1)[-1].lower() if "." in path.rsplit("/", 1)[-1] else ""
    if is_code:
        return str if suffix in CODE_SUFFIXES or "/boost/" in path else None
    if package.startswith("python3.11-doc"):
        return str if "/_sources/" in path else None
    if package.startswith("wesnoth-"):
        return from_game if suffix == "cfg" else None
    if "/man/man" in path or re.search(r"/man/[a-z]{2}[^/]*/man", path):
        return from_roff
    if re.search(r"/dictd/.*\.dict$|/stardict/.*\.dict$", path):
        return from_dictionary
    if "/wordnet/data." in path:
        return from_wordnet
    if "/fortunes/" in path:
        return from_fortunes if suffix not in ("dat", "u8") else None
    if suffix in ("html", "htm", "page", "xhtml") or ".html." in path:
        # One page in eight stays as it is: the model meets markup as well.
        return str if package in ("rust-doc", "sqlite3-doc") and zlib.crc32(path.encode()) % 8 == 0 else from_html
    if suffix in ("txt", "rst", "pod", "texi", "yaml", "ruleset") or "/Documentation/" in path:
        return str
    return None


def from_html(text: str) -> str:
    """Extract the text of a page: a line for each paragraph, preformatted blocks unchanged, entities resolved."""
    parts = PRE.split(INVISIBLE.sub(" ", text))
    lines = []
    for at, part in enumerate(parts):
        if at % 2 == 0:
            part = re.sub(r"<[^>]*>", "", BLOCK.sub("\n", re.sub(r"\s+", " ", part)))
            part = "\n".join(line.strip() for line in part.split("\n"))
        else:
            part = re.sub(r"<[^>]*>", "", part)
        lines.append(html.unescape(part))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines))


def from_roff(text: str) -> str:
    """Extract a manual page's words, also of headings and of bold or italic lines; drop requests and font changes."""
    lines = []
    for line in text.split("\n"):
        if line.startswith((".", "'")):
            found = re.match(r"\.(?:SH|SS|B|I|BR|RB|IR|RI|BI|IB|TP|IP) +(.*)", line)
            line = found[1].replace('"', "") if found else ""
        line = ROFF.sub("", line).replace("\\-", "-").replace("\\e", "\\").replace("\\(aq", "'").replace("\\ ", " ")
        lines.append(re.sub(r"\\\[\w+\]|\\\(..", "", line))
    return re.sub(r"\n{2,}", "\n", "\n".join(lines))


def from_dictionary(text: str) -> str:
    """Extract a dictionary's entries without source marks and markup."""
    text = re.sub(r"</small></i>", "\n", text)
    text = re.sub(r" \\[^\\\n]{1,60}\\", "", text)  # pronunciations
    text = re.sub(r"<[^>\n]{1,60}>", "", re.sub(r"\[1913 Webster[^\]]*\]|\[PJC\]|\{|\}", "", text))
    return re.sub(r"[ \t]+\n", "\n", re.sub(r"\n\s*\n\s*\n", "\n\n", text))


def from_wordnet(text: str) -> str:
    """Extract the glosses, which follow the bar of each entry."""
    return "\n".join(line.split(" | ", 1)[1].strip() for line in text.split("\n") if " | " in line)


def from_fortunes(text: str) -> str:
    """Extract the cookies without the lines that separate them and without terminal colours."""
    return re.sub(r"\x1b\[[\d;]*m", "", re.sub(r"^%\s*$", "", text, flags=re.M)).replace("\b", "")


def from_game(text: str) -> str:
    """Extract the sentences that a game shows: its translatable strings."""
    return "\n".join(found.replace('""', '"') for found in re.findall(r'_ ?"((?:[^"]|"")*)"', text))


def from_catalogue(data: bytes) -> str:
    """Extract the translations of a compiled message catalogue."""
    count, _, table = (int.from_bytes(data[at : at + 4], "little") for at in (8, 12, 16))
    lines = []
    for at in range(table, table + 8 * count, 8):
        size, start = int.from_bytes(data[at : at + 4], "little"), int.from_bytes(data[at + 4 : at + 8], "little")
        lines.append(data[start : start + size].decode("utf-8", "ignore").split("\0")[0])
    return "\n".join(lines[1:])
