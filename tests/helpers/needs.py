"""What some tests need and not every Python has."""

import importlib.util
import sys

import pytest

DM_CONTROL = pytest.mark.skipif(sys.version_info >= (3, 13), reason="dm-control cannot be installed for Python 3.13")
PROCGEN = pytest.mark.skipif(
    importlib.util.find_spec("procgen") is None, reason="Procgen has wheels for x86-64 Linux and Python up to 3.12 only"
)
