"""The options of recordings, and how they name topics."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Literal

from pipelines.sources.episode_options import RatedOptions, listed
from pipelines.sources.options import option


@dataclasses.dataclass(frozen=True)
class RecordingOptions(RatedOptions):
    fps: float = option(
        0.0, "timesteps a second; 0: a timestep at each message of the action, of its first topic if it has several"
    )
    action_at: Literal["now", "next"] = option(
        "now",
        "`now`: like everything else, the action is the last message at or before its timestep; `next`: that of the"
        " next timestep, for commands that answer to what was seen",
    )
    max_age: float = option(
        0.0,
        "seconds that a message may be old at a timestep, texts apart: an episode with an older one is a reject; 0:"
        " any age",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("max_age", 0 <= self.max_age < math.inf, "a number of seconds, at least 0")

    def of_topics(self, paths: Mapping[str, Sequence[str]]) -> "RecordingOptions":
        """The options with the paths of fields in place of topics: `fields=/joint_states` names all that the messages
        of this topic hold.

        paths: {topic: the paths of its fields}.
        """
        return dataclasses.replace(
            self,
            fields=_with_paths(self.fields, paths),
            action=_with_paths(self.action, paths),
            instruction=_with_paths(self.instruction, paths),
        )


def _with_paths(names: str, paths: Mapping[str, Sequence[str]]) -> str:
    found: list[str] = []
    for name in listed(names):
        left, topic = ("-", name[1:]) if name.startswith("-") else ("", name)
        found += [left + path for path in paths.get(topic, [topic])]
    return ",".join(dict.fromkeys(found))
