"""Roles: what a user says that a field is, and the size of its pictures.

A space says nothing of what its numbers mean: `gato_tokenize.boxes` describes the roles and where one is needed.
"""

import dataclasses
import re
from typing import Any

from gato_tokenize.field_spec import ImageSpec

MEANINGS = {
    "image": "a picture",
    "frames": "stacked frames",
    "rgb-frames": "stacked frames of 3 channels",
    "rgba": "colour with alpha, which is dropped",
    "channels-first": "a picture whose channels come first",
    "discrete": "whole numbers",
    "continuous": "real numbers",
}
Size = tuple[int, int]  # (height, width)


class RoleError(ValueError):
    """A field needs a role, or cannot have the one that was chosen for it."""


@dataclasses.dataclass(frozen=True)
class Roles:
    """What a user chose: {path of a field: one of MEANINGS}, the size of all pictures, and {path: size} of single ones.

    Paths are those of `read_spaces`: `observation`, `observation/camera`, `action`. Instances are hashable.

    >>> Roles.parse("observation/eye:frames,observation/map:discrete", "96x96").suffix
    '/roles=observation/eye:frames,observation/map:discrete/resize=96x96'
    >>> Roles.parse("", "96x96,observation/wrist:48x64").size_of("observation/wrist")
    (48, 64)

    Raises ValueError for an unknown role, and for a size that is not in multiples of 16.
    """

    by_path: Any = ()  # a mapping, kept as ((path, role), ...) in the order of paths
    resize: Size | None = None
    sizes: Any = ()  # a mapping, kept as ((path, size), ...)

    def __post_init__(self) -> None:
        for name in ("by_path", "sizes"):
            object.__setattr__(self, name, tuple(sorted(dict(getattr(self, name)).items())))
        for path, role in self.by_path:
            if role not in MEANINGS:
                raise ValueError(f"{path}: unknown role {role!r}; known: {', '.join(MEANINGS)}")
        for size in (self.resize, *dict(self.sizes).values()):
            ImageSpec(resize=size)

    @classmethod
    def parse(cls, text: str, resize: "str | Size | None" = None) -> "Roles":
        """Read roles `PATH:ROLE,PATH:ROLE` and sizes `HEIGHTxWIDTH,PATH:HEIGHTxWIDTH`.

        A comma or colon inside a path is part of it.
        """
        found = _pairs(text, "|".join(MEANINGS), f"roles={text} must be PATH:ROLE,PATH:ROLE with roles from"
                       f" {', '.join(MEANINGS)}", "roles")  # fmt: skip
        if not isinstance(resize, str):
            return cls(found, resize)
        general = re.match(r"(\d{1,5}x\d{1,5})(?:,(?=.)|$)", resize)
        shape = f"resize={resize} must be HEIGHTxWIDTH, such as 96x96, for every picture, or PATH:HEIGHTxWIDTH for one"
        sizes = _pairs(resize[general.end() :] if general else resize, r"\d{1,5}x\d{1,5}", shape, "resize")
        return cls(
            found, size_of(general[1]) if general else None, {path: size_of(size) for path, size in sizes.items()}
        )

    def of(self, path: str) -> str:
        """The role that was chosen for a path; "" if none was."""
        return str(dict(self.by_path).get(path, ""))

    def size_of(self, path: str) -> Size | None:
        """The size that was chosen for the picture or pictures of a path."""
        size: Size | None = dict(self.sizes).get(path, self.resize)
        return size

    @property
    def suffix(self) -> str:
        """The end of a task's name: what was chosen changes the spec. It is empty if nothing was chosen."""
        roles = ",".join(f"{path}:{role}" for path, role in self.by_path)
        general = [f"{self.resize[0]}x{self.resize[1]}"] if self.resize else []
        sizes = ",".join([*general, *(f"{path}:{height}x{width}" for path, (height, width) in self.sizes)])
        return (f"/roles={roles}" if roles else "") + (f"/resize={sizes}" if sizes else "")


def _pairs(text: str, value: str, shape: str, what: str) -> dict[str, str]:
    """Read `PATH:VALUE,PATH:VALUE`, where VALUE matches the pattern `value`; ValueError `shape` for another form."""
    if text and not re.fullmatch(rf"(.+?:({value})(,(?!$)|$))+", text):
        raise ValueError(shape)
    found = [(path, chosen) for path, chosen, _ in re.findall(rf"(.+?):({value})(,|$)", text)]
    if len(dict(found)) != len(found):
        raise ValueError(f"{what}={text} gives a path two of them")
    return dict(found)


def size_of(text: str) -> Size:
    """Read HEIGHTxWIDTH. Raises ValueError for another form.

    >>> size_of("96x128")
    (96, 128)
    """
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if not found:
        raise ValueError(f"a size is HEIGHTxWIDTH, such as 96x96, not {text!r}")
    return int(found[1]), int(found[2])
