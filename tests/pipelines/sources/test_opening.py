"""Opening a source by its name: what is said if a package is missing, or cannot be loaded."""

import importlib
import re

import pytest

from gato_tokenize.installing import how_to_install
from pipelines.sources import source_class
from pipelines.sources.source import SourceError


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            ModuleNotFoundError("No module named 'h5py'", name="h5py"),
            f"needs the package h5py: {how_to_install('minari')} installs it",
        ),
        (ImportError("libhdf5.so: cannot open"), "a package that is installed but cannot be loaded: libhdf5.so"),
    ],
)
def test_only_a_package_that_is_missing_is_to_be_installed(
    error: ImportError, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> None:
        raise error

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(SourceError, match=re.escape(message)):
        source_class("minari")
