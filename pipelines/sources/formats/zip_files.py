"""Files in a .zip, at a local path or an address."""

import zipfile

from gato_tokenize.storage.address import is_address
from gato_tokenize.storage.remote_file import open_file, remote_error


class _AwayZip(zipfile.ZipFile):
    def __init__(self, path: str) -> None:
        self._away = open_file(path)
        try:
            super().__init__(self._away)
        except BaseException:
            self._away.close()
            raise

    def close(self) -> None:
        super().close()
        self._away.close()


def zip_file(path: str) -> zipfile.ZipFile:
    """Open a .zip file at a local path or an address. Raises zipfile.BadZipFile for one that is damaged."""
    if not is_address(path):
        return zipfile.ZipFile(path)
    try:
        return _AwayZip(path)
    except zipfile.BadZipFile as error:
        if failed := remote_error(error):  # zipfile takes it for damage
            raise failed from None
        raise
