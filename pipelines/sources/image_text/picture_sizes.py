"""picture_sizes: the sizes of all pictures of a file of annotations; at an address, each folder is listed once."""

import hashlib
import os

import numpy as np
from numpy.typing import NDArray

from gato_tokenize.storage.address import is_address
from pipelines.sources.formats.places import Size, listed_in, sizes_of
from pipelines.sources.image_text.annotation_files import AnnotationFile
from pipelines.sources.image_text.image_lines import path_below
from pipelines.sources.image_text.joined import Names


def picture_sizes(file: AnnotationFile, names: Names) -> tuple[NDArray[np.int64], str]:
    """(int64[P], the bytes of the picture of each name, 0 if it is not there; what changes if one at an address does,
    "" if none lies at one)."""
    if not any(map(is_address, file.folders)):
        return np.fromiter((file.find_picture(names[i])[2] for i in range(len(names))), np.int64), ""
    listing = _Listing()
    found = [listing.first(file, names[i]) for i in range(len(names))]
    asked = [path for path, size in found if path and size is None]
    told = dict(zip(asked, sizes_of(asked), strict=True))
    sizes = [size or told.get(path) or Size(0) for path, size in found]
    digest = hashlib.sha256("\n".join(size.stamp for size in sizes).encode())
    return np.asarray(sizes, np.int64), digest.hexdigest()


class _Listing:
    """What lies in the folders at addresses that were asked for."""

    def __init__(self) -> None:
        self._folders: dict[str, dict[str, Size | None]] = {}

    def first(self, file: AnnotationFile, name: str) -> tuple[str, Size | None]:
        """(path, bytes or None if they must be asked for) of a picture; ("", None) if there is none."""
        for folder, one in file.places(name):
            try:
                path = path_below(folder, one, "")
            except ValueError:  # it leads out of the folder
                continue
            if not is_address(folder):
                if os.path.isfile(path):
                    return path, None
                continue
            top, _, last = path.rpartition("/")
            if top not in self._folders:
                self._folders[top] = listed_in(top)
            if last in self._folders[top]:
                return path, self._folders[top][last]
        return "", None
