"""What can be read here: every source, built in or offered by an installed package, and what it still needs."""

import ast
import dataclasses
import importlib.util
import re
from pathlib import Path
from typing import Any

from gato_tokenize.installing import absent, has_extra, how_to_install
from pipelines.sources import SOURCES, source_class
from pipelines.sources.entry_points import offered
from pipelines.sources.errors import SourceError
from pipelines.sources.options import SourceOptions, written
from pipelines.sources.source import Source


@dataclasses.dataclass(frozen=True)
class Known:
    """A source by its name.

    reads: what it reads, in one line. extra: the extra of this project that installs what it needs, "" for none.
    package: the installed package that offers it, "" if it is built in. absent: the packages of its extra that are not
    installed. fault: why it cannot be opened here, "" if it can. options: those of its class, {name: (default as
    written, meaning)}; empty if the class cannot be loaded.
    """

    name: str
    reads: str
    extra: str
    package: str
    absent: tuple[str, ...]
    fault: str
    options: dict[str, tuple[str, str]]

    @property
    def install(self) -> str:
        """What to type to install what is absent; "" if nothing is."""
        return how_to_install(self.extra) if self.absent else ""

    @property
    def status(self) -> str:
        """One line for a person. What an extra lacks may be needed by some files alone."""
        if self.absent:
            return f"no: {', '.join(self.absent)}" if self.fault else f"without {', '.join(self.absent)}"
        return f"no: {self.fault}" if self.fault else "yes"


def known_sources() -> list[Known]:
    """List the sources of SOURCES, in that order, and then those of installed packages, by name. Loading a class
    imports the library that it reads with."""
    entries = sorted(offered(), key=lambda entry: entry.name)
    built_in = [_known(name, place.partition(":")[0], "") for name, place in SOURCES.items()]
    packages = {entry.name: entry.dist.name if entry.dist else "?" for entry in entries}
    return built_in + [_known(entry.name, entry.module, packages[entry.name]) for entry in entries]


def _known(name: str, module: str, package: str) -> Known:
    extra = name if not package and has_extra(name) else ""
    lacking = tuple(absent(extra)) if extra else ()
    try:
        return Known(name, _about(module), extra, package, lacking, "", _options(source_class(name)))
    except SourceError as error:
        return Known(name, _about(module), extra, package, lacking, str(error), {})


def _options(cls: type[Source]) -> dict[str, tuple[str, str]]:
    options: Any = getattr(cls, "Options", None)  # a source of a package may cast its options itself
    if not (isinstance(options, type) and issubclass(options, SourceOptions)):
        return {}
    fields = dataclasses.fields(options)
    return {field.name: (written(field.default), field.metadata["help"]) for field in fields}


def _about(module: str) -> str:
    """Return the first line of a module's docstring without the name of the class. Nothing but the packages that the
    module lies in is imported, so that it may need a library that is not there."""
    try:
        spec = importlib.util.find_spec(module)
        text = Path(spec.origin).read_text(encoding="utf-8") if spec and spec.origin else ""
        line = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
    except Exception:  # whatever a package's own __init__ raises: `fault` says it
        return ""
    return re.sub(r"^\w+: ", "", line).removesuffix(".")
