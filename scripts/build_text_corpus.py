"""Collect the freely licensed text that the shipped text model was trained on.

    python scripts/build_text_corpus.py FOLDER

Needs a Debian (12) machine: every source is a Debian package of the `main` archive, fetched by name with
`apt-get download` and opened with `dpkg-deb`, so each has a copyright file that states its licence.
The folder then holds

    packages/*.deb              as downloaded; a package that exists is not fetched again
    train/<group>.txt           a file for each group: en, code, de, fr, ...
    held_out/<group>.<source>.txt   documents that are never trained on, separated by form feeds
    mixture.json                characters per group and per package, both sides, and the packages' versions

Three rules keep the two sides apart: a document is held out by the hash of its name; some whole packages and a
few named modules are always held out; a line that a held-out document contains is dropped from training.
"""

import gzip
import hashlib
import json
import re
import subprocess
import sys
import tarfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import clean_text

# Characters of training text per group: English first, then code, then the languages that the corpus has enough of.
BUDGETS = {
    "en": 120_000_000,
    "code": 20_000_000,
    "zh": 1_500_000,
    "ja": 1_000_000,
    "ko": 700_000,
    "ar": 500_000,
    "hi": 500_000,
}
BUDGETS |= dict.fromkeys(("de", "fr", "es", "it", "pt", "ru"), 2_600_000)
BUDGETS |= dict.fromkeys(("pl", "nl", "sv", "cs", "uk", "tr", "vi"), 450_000)
OTHER = set("as ca da el fa fi gl gu he hr hu id kn lt lv mr no pa ro sl sr ta te".split())
OTHER_BUDGET = 45_000  # each further language: its letters get pieces, its words do not

HELD_OUT_LIMIT = 1_000_000  # written per package and group; the rest is dropped and not trained on

# One source may not drown the others: most characters that a package gives to one group.
PACKAGE_LIMIT = 4_000_000
PACKAGE_LIMITS = {"dict-gcide": 16_000_000, "bible-kjv": 5_000_000, "anarchism": 9_000_000, "wordnet-base": 5_000_000}
PACKAGE_LIMITS |= dict.fromkeys(
    "sqlite3-doc vim-doc dict-foldoc rust-doc libeigen3-dev emacs-el stardict-xmlittre".split(), 1_500_000
)
PACKAGE_LIMITS |= dict.fromkeys(
    "perl-doc postgresql-doc-15 libboost1.74-dev rust-src golang-1.19-src".split(), 2_500_000
)
PACKAGE_LIMITS |= {
    "libreoffice-help-en-us": 1_500_000,
    "linux-headers-6.1.0-50-common": 2_500_000,
    "freeciv-data": 300_000,
}

# Running prose is scarcer than documentation: it comes first, and English prose counts more than once.
REPEATS = {"bible-kjv": 3, "anarchism": 3, "debian-history": 3, "dict-jargon": 2, "fortunes": 3, "wesnoth": 6}

ENGLISH = """
bible-kjv bible-kjv-text python3.11-doc linux-doc-6.1 perl-doc debian-reference-en anarchism dict-jargon dict-foldoc
dict-gcide dict-devil wordnet-base fortunes fortunes-min manpages manpages-dev libreoffice-help-en-us
developers-reference debian-policy
maint-guide harden-doc debian-faq debian-history bash-doc vim-doc postgresql-doc-15 sqlite3-doc rust-doc
debian-edu-doc-en wesnoth-1.16-did wesnoth-1.16-l wesnoth-1.16-ei wesnoth-1.16-dm wesnoth-1.16-thot wesnoth-1.16-sof
wesnoth-1.16-sota wesnoth-1.16-low wesnoth-1.16-dw wesnoth-1.16-nr wesnoth-1.16-sotbe crawl-common freeciv-data
octave-doc maxima-doc doc-debian
"""
CODE = """
libpython3.11-stdlib libpython3.11-minimal python3-django python3-sympy python3-sphinx linux-headers-6.1.0-50-common
golang-1.19-src rust-src libboost1.74-dev libeigen3-dev libruby3.1 npm emacs-el
"""
LANGUAGES = """
fortunes-de fortunes-es fortunes-ru fortunes-pl fortunes-br fortunes-zh fortunes-cs debian-reference-de
debian-reference-fr debian-reference-es debian-reference-it debian-reference-ja debian-reference-pt
debian-reference-zh-cn installation-guide-amd64 manpages-de manpages-fr manpages-es manpages-it manpages-ja
manpages-zh manpages-ru manpages-pl manpages-pt-br manpages-nl manpages-cs manpages-uk libreoffice-help-de
libreoffice-help-zh-cn libreoffice-help-ko libreoffice-help-ja libreoffice-help-hi libreoffice-help-ru
libreoffice-help-fr libreoffice-help-es libreoffice-help-it libreoffice-help-pt-br libreoffice-help-pl
libreoffice-help-nl libreoffice-help-tr libreoffice-help-sv libreoffice-help-vi libreoffice-l10n-ar gnome-user-docs
apache2-doc debian-handbook stardict-xmlittre
"""
CODE_PACKAGES = CODE.split()
PACKAGES = f"{ENGLISH} {CODE} {LANGUAGES}".split()

# Held out whole: two kinds of prose that training has nothing like, some books, some modules, and whatever the
# interpreter's own `pydoc_data.topics` is made of (it is the sample that everybody has at hand).
HELD_OUT_PACKAGES = {"dict-devil", "crawl-common"}
HELD_OUT_BOOKS = {"Ge", "Ruth", "Eccl", "Mark", "Acts", "Jas"}
HELD_OUT_MODULES = "argparse fractions heapq mailbox pathlib statistics textwrap zipfile".split()
TOPICS = "constants exceptions functions pdb stdtypes string types compound datamodel enum".split()
NEVER = re.compile(
    r"pydoc_data|/changelog|/copyright|buildinfo|/lintian/|min\.js$|/_static/|/search|genindex|/translations/"
)
HELD_OUT = re.compile(
    rf"/(?:{'|'.join(HELD_OUT_MODULES)})\.py$|/asyncio/.*\.py$|/_sources/reference/|/_sources/library/(?:{'|'.join(TOPICS)})\.rst"
)

LANGUAGE = re.compile(
    r"/(?:help|html|man|manual|installation-guide-amd64|descript|database)/([a-z]{2,3})(?:[_-][A-Za-z]{2,6})?/"
)
CATALOGUE = re.compile(r"/locale/([a-z]{2,3})(?:[_@-]\w+)?/LC_MESSAGES/")
SUFFIX = re.compile(
    r"(?:fortunes|manpages|libreoffice-help|libreoffice-l10n|debian-reference)-([a-z]{2})(?:-[a-z]{2})?$"
)


def main(folder: Path) -> None:
    """Download, read, split and mix; print the mixture."""
    packages = folder / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    documents: dict[str, list[tuple[str, str, str]]] = defaultdict(list)  # group -> (package, name, text)
    versions = {}
    for package in PACKAGES:
        file = download(package, packages)
        versions[package] = file.name.split("_")[1].replace("%3a", ":")
        for name, text in read_package(package, file):
            documents[group_of(package, name)].append((package, name, text))
        print(package, versions[package], file=sys.stderr)
    write_mixture(documents, folder, versions)


def download(package: str, packages: Path) -> Path:
    """Return the package's file, fetched if needed. Raises FileNotFoundError if the archive does not have it."""
    if not (found := sorted(packages.glob(f"{package}_*.deb"))):
        subprocess.run(["apt-get", "download", "-q", package], cwd=packages, check=False, stdout=subprocess.DEVNULL)
        found = sorted(packages.glob(f"{package}_*.deb"))
    if not found:
        raise FileNotFoundError(
            f"apt-get download {package}: no file came; run apt-get update, or take the package off the list"
        )
    return found[-1]


def read_package(package: str, file: Path) -> Iterator[tuple[str, str]]:
    """Yield (name, cleaned text) of each document in a package, in the order of the package's own listing."""
    if package == "bible-kjv":
        yield from read_bible(file)
        return
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(file)], stdout=subprocess.PIPE) as unpacked:
        with tarfile.open(fileobj=unpacked.stdout, mode="r|") as members:
            for member in members:
                path = member.name
                if not member.isfile() or NEVER.search(path) or not (content := members.extractfile(member)):
                    continue
                data = content.read()
                if path.endswith((".gz", ".dz")):
                    path, data = path[:-3], gzip.decompress(data)
                yield from split_document(package, path, data)


def split_document(package: str, path: str, data: bytes) -> Iterator[tuple[str, str]]:
    """Clean a file by the function for its path, drop bytes that are not UTF-8, and cut dictionaries into
    documents of 20,000 characters."""
    if path.endswith(".mo"):
        text = clean_text.from_catalogue(data)
    elif (clean := clean_text.cleaning_of(package, path, package in CODE_PACKAGES)) is None:
        return
    else:
        text = clean(data.decode("utf-8", "replace"))
        if (
            text.count("\ufffd") > len(text) // 5000
        ):  # a stray byte in a large dictionary is dropped; a file in another encoding is not read
            return
        text = text.replace("\ufffd", "")
    size = 20_000 if re.search(r"/dictd/|/stardict/|/wordnet/|/fortunes/|/locale/", path) else len(text) + 1
    for start in range(0, len(text), size):
        yield f"{path}#{start // size}", text[start : start + size]


def read_bible(file: Path) -> Iterator[tuple[str, str]]:
    """Yield a document for each book, in verses, printed by the package's own program."""
    data = download("bible-kjv-text", file.parent)
    folder = file.parent.parent / "bible"
    for package in (file, data):
        subprocess.run(["dpkg-deb", "-x", str(package), str(folder)], check=True)
    program = [str(folder / "usr/bin/bible"), "-f", "-p", str(folder / "usr/lib"), "gen1:1-rev22:21"]
    books: dict[str, list[str]] = defaultdict(list)
    for line in subprocess.run(program, check=True, capture_output=True, text=True).stdout.splitlines():
        if found := re.match(r"(\d?[A-Z][A-Za-z]*)\d+:\d+ (.*)", line):
            books[found[1]].append(found[2])
    for book, verses in books.items():
        yield f"bible/{book}", "\n".join(verses)


def group_of(package: str, name: str) -> str:
    """Return `en`, `code`, or a language's two or three letters, from the path or else the package's name."""
    if package in CODE_PACKAGES:
        return "code"
    if found := CATALOGUE.search(name):
        return {"nb": "no"}.get(found[1], found[1])
    found = (
        LANGUAGE.search(name) or re.search(r"\.([a-z]{2})(?:[-_]\w+)?\.(?:html|utf8)", name) or SUFFIX.match(package)
    )
    language = found[1] if found else "fr" if package == "stardict-xmlittre" else "en"
    language = {"br": "pt", "nb": "no"}.get(language, language)
    return language if language in BUDGETS or language in OTHER else "en"


def repeats(package: str) -> int:
    """Return how often a package's text is written: by its name or by the first word of its name."""
    return REPEATS.get(package) or REPEATS.get(package.split("-")[0], 1)


def order_of(package: str, name: str) -> tuple[bool, int]:
    """Order prose before all the rest, then at random, the same on every machine."""
    return repeats(package) == 1, digest(package + name)


def digest(name: str) -> int:
    """Hash a name to a number that is the same on every machine."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big")


def is_held_out(package: str, name: str) -> bool:
    """Hold out a document by rule, and one in twenty-five by its name."""
    by_rule = (
        package in HELD_OUT_PACKAGES
        or HELD_OUT.search(name.split("#")[0])
        or name.removeprefix("bible/") in HELD_OUT_BOOKS
    )
    return bool(by_rule) or (package != "bible-kjv" and digest(f"{package}/{name}") % 25 == 0)


def write_mixture(documents: dict[str, list[tuple[str, str, str]]], folder: Path, versions: dict[str, str]) -> None:
    """Split, drop repeated and leaked lines, cut to the budgets, write both sides and `mixture.json`."""
    for side in ("train", "held_out"):
        (folder / side).mkdir(exist_ok=True)
        for old in (folder / side).glob("*.txt"):
            old.unlink()
    seen: set[int] = set()
    trained: dict[str, Counter[str]] = {}
    held: dict[str, Counter[str]] = {}
    # English comes first: a line of a translation that is still English has been seen by then and is dropped.
    order = sorted(documents, key=lambda group: (group != "en", group != "code", group))
    for group in order:
        held[group] = write_held_out(group, documents[group], folder, seen)
    for group in order:
        trained[group] = write_train(group, documents[group], folder, seen)
        print(f"{group:6}{sum(trained[group].values()):12,}{sum(held[group].values()):12,}")
    mixture = {"versions": versions, "train": trained, "held_out": held}
    (folder / "mixture.json").write_text(json.dumps(mixture, indent=1) + "\n", encoding="utf-8")


def fresh(text: str, seen: set[int]) -> str:
    """Drop the lines (of 30 characters or more) that were seen before; the lines that stay count as seen afterwards."""
    kept = []
    for line in text.replace("\f", "").replace("\r\n", "\n").split("\n"):
        key = hash_line(line)
        if key is not None and key in seen:
            continue
        if key is not None:
            seen.add(key)
        kept.append(line)
    return "\n".join(kept).strip("\n")


def hash_line(line: str) -> int | None:
    """Hash a line; None if it is too short to distinguish two texts (ideographs say more with fewer)."""
    line = line.strip()
    return digest(line) if len(line.encode()) >= 30 else None


def write_held_out(group: str, documents: list[tuple[str, str, str]], folder: Path, seen: set[int]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for package, name, text in documents:
        if is_held_out(package, name) and len(text := fresh(text, seen)) >= 200:
            if counts[package] >= HELD_OUT_LIMIT:
                continue
            with open(folder / "held_out" / f"{group}.{package}.txt", "a", encoding="utf-8") as out:
                out.write(text + "\n\f\n")
            counts[package] += len(text)
    return counts


def write_train(group: str, documents: list[tuple[str, str, str]], folder: Path, seen: set[int]) -> Counter[str]:
    """Write documents, prose first, until the group's or the package's share is full."""
    counts: Counter[str] = Counter()
    with open(folder / "train" / f"{group}.txt", "w", encoding="utf-8") as out:
        for package, name, text in sorted(documents, key=lambda document: order_of(*document[:2])):
            if is_held_out(package, name) or counts[package] >= PACKAGE_LIMITS.get(package, PACKAGE_LIMIT):
                continue
            if counts.total() >= BUDGETS.get(group, OTHER_BUDGET):
                break
            if text := fresh(text, seen):
                out.write((text + "\n") * (repeats(package) if group == "en" else 1))
                counts[package] += len(text)
    return counts


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python scripts/build_text_corpus.py FOLDER")
    main(Path(sys.argv[1]))
