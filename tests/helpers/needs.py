"""What some tests need and not every Python has."""

import sys

import pytest

DM_CONTROL = pytest.mark.skipif(sys.version_info >= (3, 13), reason="dm-control cannot be installed for Python 3.13")
