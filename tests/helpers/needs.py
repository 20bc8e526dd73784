"""What some tests need and not every Python has."""

from importlib.util import find_spec

import pytest

DM_CONTROL = pytest.mark.skipif(find_spec("dm_control") is None, reason="no dm-control: none goes with Python 3.13")
