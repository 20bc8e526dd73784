"""What fields are by their names, in formats that leave the names to whoever writes them."""

from collections.abc import Mapping, Sequence
from typing import Any

from gato_tokenize.array_spaces import Text
from gato_tokenize.spec import join_path
from pipelines.sources.step_fields import StepFields, many_numbers

OBSERVATION = ("observation", "observations", "obs")
ACTION = ("action", "actions")
MODALITIES = ("continuous", "discrete", "image", "text")  # JAT's columns are `discrete_actions` and the like
REWARD = ("reward", "rewards", "next.reward")
DONE = ("done", "dones", "terminal", "terminals", "is_terminal", "terminated", "terminations", "next.done")
SUCCESS = ("success", "is_success", "next.success")
STEP = ("frame_index", "step", "step_index", "timestep")  # columns that count the timesteps of an episode
INSTRUCTIONS = ("language_instruction", "instruction", "language", "task_description")
NEVER = {
    **dict.fromkeys(("timestamp", "timestamps"), "it says when a timestep was recorded"),
    **dict.fromkeys((*DONE, "is_first", "is_last", "truncated", "truncations"), "it says where an episode ends"),
    **dict.fromkeys(SUCCESS, "it says whether an episode succeeds"),
    **dict.fromkeys((*STEP, "index", "episode_index", "task_index"), "it is a number of the timestep or episode"),
    **dict.fromkeys(
        ("next_observation", "next_observations", "next_obs"), "it repeats the observation one timestep later"
    ),
}


def root_of(name: str) -> tuple[str, tuple[str, ...]]:
    """("observation", "action" or "", what comes after it in the path) of a field, by its name.

    >>> root_of("obs"), root_of("observation.state"), root_of("discrete_actions"), root_of("joints")
    (('observation', ()), ('observation', ('state',)), ('action', ('discrete',)), ('', ()))
    """
    for root, words in (("observation", OBSERVATION), ("action", ACTION)):
        if name in words:
            return root, ()
        first, _, rest = name.partition(".")
        if rest and first in words:
            return root, tuple(rest.split("."))
        kind, _, last = name.rpartition("_")
        if kind in MODALITIES and last in words:
            return root, (kind,)
    return "", ()


def path_of(root: str, keys: Sequence[str]) -> str:
    """The path of a field: `root` with keys below it."""
    path = root if root in ("observation", "action") else join_path("", root)[1:]
    for key in keys:
        path = join_path(path, key)
    return path


def named_step_fields(spaces: Mapping[str, Any], apart: Mapping[str, str], unreadable: Mapping[str, str]) -> StepFields:
    """Return the `StepFields` of spaces whose instruction is a text by one of its usual names, and in which fields of
    many numbers stand apart, too."""
    texts = [path for path, space in spaces.items() if isinstance(space, Text)]
    named = {path.rpartition("/")[2]: path for path in reversed(texts)}
    instruction = next((named[name] for name in INSTRUCTIONS if name in named), "")
    return StepFields(spaces, instruction, {**many_numbers(spaces), **apart}, unreadable)
