"""New processes without the `__main__` of this one, so that a script without a guard is not run again."""

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

_hiding = threading.Lock()


@contextlib.contextmanager
def without_main() -> Iterator[None]:
    """Start processes in this block: `multiprocessing` does not import the parent's `__main__` in them."""
    main = sys.modules["__main__"].__dict__
    with _hiding:  # two threads at once would not restore what they hid
        hidden: dict[str, Any] = {name: main[name] for name in ("__spec__", "__file__") if name in main}
        main.pop("__file__", None)
        main["__spec__"] = None
        try:
            yield
        finally:
            main.update(hidden)
