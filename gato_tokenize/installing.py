"""What to type to install what is missing: the project is on no index, so that it depends on where it came from."""

import configparser
import importlib.metadata
import json
import re
import shlex
from pathlib import Path
from urllib.parse import unquote, urlsplit

PROJECT = "gato-toolchain"
_HOME = Path(__file__).parents[1]  # a checkout, or the folder of the installed packages


def how_to_install(extra: str, package: str = "") -> str:
    """Return the command that installs an extra of this project, or the one `package` if there is no such extra.

    From a checkout, and if one was installed that is still there, it names the folder of the checkout; after an
    installation from a wheel, it names what the extra requires.
    """
    if _has_extra(_HOME, extra):
        return f"pip install -e {shlex.quote(f'{_HOME}[{extra}]')}"
    checkout = _checkout()
    if checkout is not None and _has_extra(checkout, extra):
        return f"pip install {shlex.quote(f'{checkout}[{extra}]')}"
    return f"pip install {shlex.join(_requirements(extra) or [package or PROJECT])}"


def missing(what: str, error: ImportError, extra: str) -> str:
    """Say that something needs a package that is not there, and how to install it."""
    package = (error.name or str(error)).partition(".")[0]
    return f"{what} needs the package {package}: {how_to_install(extra, package)} installs it"


def _requirements(extra: str) -> list[str]:
    """Return what an extra requires, as the metadata of the installed project lists it."""
    try:
        listed = importlib.metadata.requires(PROJECT) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    found = []
    for requirement in listed:
        needed, _, marker = requirement.partition(";")
        name = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", marker)
        if name and _normal(name[1]) == _normal(extra):
            found.append(needed.strip())
    return found


def _checkout() -> Path | None:
    """Return the folder that the project was installed from; None if that was a wheel."""
    try:
        read = importlib.metadata.distribution(PROJECT).read_text  # always as UTF-8
    except importlib.metadata.PackageNotFoundError:
        return None
    origin = json.loads(read("direct_url.json") or "{}")
    return Path(unquote(urlsplit(origin["url"]).path)) if "dir_info" in origin else None


def _has_extra(folder: Path, extra: str) -> bool:
    """Return whether a folder is a checkout of this project that has the extra."""
    setup = configparser.RawConfigParser()
    setup.read(folder / "setup.cfg", encoding="utf-8")  # passes over a file that is not there
    return setup.get("metadata", "name", fallback="") == PROJECT and setup.has_option("options.extras_require", extra)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
