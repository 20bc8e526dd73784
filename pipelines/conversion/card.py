"""Card: what only people know of a dataset, as they give it: `--card FILE`."""

import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class CardError(ValueError):
    """A card that cannot be used; the message names the file and the key."""


@dataclasses.dataclass(frozen=True)
class Card:
    """What README.md and croissant.json of a dataset say beside what was counted; "" where nothing is known.

    name: for people, instead of the folder's; licence: its SPDX id or its URL; citation: as text or BibTeX; url: of the
    dataset's page; creators: the names of the persons.
    """

    name: str = ""
    description: str = ""
    licence: str = ""
    citation: str = ""
    url: str = ""
    creators: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self != Card()

    @classmethod
    def read(cls, path: Path) -> "Card":
        """Read a TOML file of these keys, any of which may be absent.

        Raises CardError if it is none, has another key, or a value that is no text; FileNotFoundError.
        """
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:  # also for bytes that are no UTF-8
            raise CardError(f"{path} is no TOML file: {error}") from error
        try:
            return cls.from_json(content)
        except CardError as error:
            raise CardError(f"{path}: {error}") from None

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Card":
        """Raises CardError for an unknown key, or a value that is no text."""
        known = [field.name for field in dataclasses.fields(cls)]
        for key, value in content.items():
            if key not in known:
                raise CardError(f"the key {key!r} is unknown; known: {', '.join(known)}")
            listed = key == "creators"
            values = value if listed and isinstance(value, list) else None if listed else [value]
            if values is None or not all(isinstance(text, str) and text.strip() for text in values):
                wanted = "an array of texts" if listed else "a text in quotes"
                raise CardError(f"{key} must be {wanted}, none of them empty, not {value!r}")
        return cls(**{**content, "creators": tuple(content.get("creators", ()))})

    def to_json(self) -> dict[str, Any]:
        """Return what is known."""
        return {key: value for key, value in dataclasses.asdict(self).items() if value}
