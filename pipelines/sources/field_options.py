"""The options by which a user says what a field is, for every source that infers its spec from spaces."""

import dataclasses

from gato_tokenize.roles import MEANINGS, Roles
from pipelines.sources.errors import SourceError
from pipelines.sources.options import SourceOptions, option


@dataclasses.dataclass(frozen=True)
class FieldOptions(SourceOptions):
    roles: str = option(
        "", f"`PATH:ROLE,PATH:ROLE`, what fields are if their space leaves it open: {', '.join(MEANINGS)}; see below"
    )
    resize: str = option(
        "",
        "HEIGHTxWIDTH in multiples of 16 for every picture, `PATH:HEIGHTxWIDTH` for those of one field, or both,"
        " separated by commas; without it the nearest multiples of its own sides",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.chosen

    @property
    def chosen(self) -> Roles:
        """The two options as the tokenizers take them. Raises SourceError for an unknown role or size."""
        try:
            return Roles.parse(self.roles, self.resize)
        except ValueError as error:
            raise SourceError(f"option {error}") from error
