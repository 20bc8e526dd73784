"""Finding by its name what a user wrote: `module:attribute`."""

import hashlib
import importlib
import re
from pathlib import Path
from typing import Any

from pipelines.sources.errors import SourceError

_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def imported(module: str, attribute: str, asked: str) -> Any:
    """Import the attribute of a module that Python finds; the commands find those in the current folder, too.

    asked: what the user wrote, for the messages. Raises SourceError, which says whether the module is not there, cannot
    be imported, or lacks the attribute.
    """
    if not _MODULE.fullmatch(module):
        raise SourceError(f"{asked}: {module!r} is not the name of a module, such as my_package.my_module")
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        by = "" if f"{module}.".startswith(f"{error.name}.") else f", which {module} imports"
        raise SourceError(
            f"{asked}: there is no module {error.name!r}{by}; start the command in the folder that holds it, or"
            " install it"
        ) from error
    except Exception as error:
        raise SourceError(f"{asked}: {module} cannot be imported: {type(error).__name__}: {error}") from error
    if not hasattr(found, attribute):
        raise SourceError(f"{asked}: {attribute} is not in the module {module}")
    return getattr(found, attribute)


def module_sha256(module: str) -> str:
    """Hash the file of a module: a changed file makes another plan."""
    return hashlib.sha256(Path(str(importlib.import_module(module).__file__)).read_bytes()).hexdigest()
