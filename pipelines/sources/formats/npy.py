"""The header of a .npy file, or of an array in a .npz."""

import dataclasses
import warnings
from typing import IO, Any

import numpy as np

_NPY: Any = np.lib.format  # untyped before numpy 2.4
_READERS = {(1, 0): _NPY.read_array_header_1_0, (2, 0): _NPY.read_array_header_2_0}


@dataclasses.dataclass(frozen=True)
class Header:
    """What the beginning of a .npy file says of its array. fortran: whether the first axis varies fastest."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool

    @property
    def row_bytes(self) -> int:
        """Bytes of a row, or of an array without axes."""
        return int(np.prod(self.shape[1:], dtype=object)) * self.dtype.itemsize


def read_header(file: IO[bytes], kinds: str) -> Header:
    """Read the header of the .npy that begins here. kinds: of dtypes that are taken, as numpy abbreviates them.

    Raises ValueError if it is damaged, or if the array holds pickled objects or another kind of values; OSError and
    EOFError of a compressed file pass.
    """
    try:
        version = _NPY.read_magic(file)
        if version not in _READERS:
            raise ValueError(
                f"it is written in version {version[0]}.{version[1]} of the format, which only tables need"
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # Python 2 wrote 1000000L, which numpy reads, and warns
            shape, fortran, dtype = _READERS[version](file)
    except (OSError, EOFError, ValueError):
        raise
    except Exception as error:  # numpy parses Python: it raises SyntaxError, TokenError and more
        raise ValueError(f"its header is none of a .npy: {error}") from error
    if dtype.hasobject:
        raise ValueError("it holds pickled Python objects, which are never opened: save it as numbers or strings")
    if dtype.names is not None or dtype.kind not in kinds:
        raise ValueError(f"its values are {dtype}")
    return Header(tuple(map(int, shape)), dtype, bool(fortran) and len(shape) > 1)
