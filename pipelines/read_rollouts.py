"""RolloutSource: Gymnasium environments played by experts or at random, each episode a function of its seed."""

import functools
import json
import math
from collections.abc import Iterator
from typing import Any

from gato_tokenize import Episode, EpisodeMetadata, EpisodeSpec
from gato_tokenize.environment import MakeError, Recipe
from pipelines.child_process import START, ChildProcess
from pipelines.rollout import Description, Played, Rollout, describe, play
from pipelines.source import Candidate, Source, SourceError, take

_DEFAULTS: dict[str, Any] = {
    "episodes": 100,
    "seed": 0,
    "policy": "expert",
    "image": "",
    "time_limit": 60.0,  # seconds an episode may take
    "max_steps": 0,
}


@functools.lru_cache(maxsize=64)
def _described(rollout: Rollout) -> Description:
    """`describe`, in a process of its own: this one imports no simulator, and a constructor may crash."""
    with ChildProcess(int) as child:
        try:
            described: Description = child.call(describe, rollout, limit=START)
        except MakeError as error:
            raise SourceError(str(error)) from error
        except (TimeoutError, ChildProcessError) as error:
            raise SourceError(f"{rollout.recipe.name} cannot be made: {error}") from error
        return described


class RolloutSource(Source):
    """`rollouts:ENVIRONMENT?option=value&...`: `gymnasium.make(ENVIRONMENT)` (`module:Id-v0`, too), played.

    Episode i is played with seed `seed + i` and depends on nothing else: neither on the partition nor on the episodes
    before it. It ends where the environment ends or cuts it, or after `max_steps`. Each is played in a process that is
    killed after `time_limit` seconds; that, an exception or a crash costs this episode alone.

    Options: episodes (100), seed (0), policy (expert | random), image (MiniGrid and BabyAI only: symbolic, the grid as
    three discrete values a cell | cells, one value a cell | rgb, uint8[56, 56, 3]), time_limit (60 seconds), max_steps
    (0: the environment's own limit). Every other option is a keyword argument of `gymnasium.make`, read as JSON where
    it is JSON and as a str otherwise.

    A task is named by the environment and what may change its spec: `BabyAI-GoToLocal-v0`, `BabyAI-GoToLocal-v0-rgb`,
    `LunarLander-v3/continuous=true`, `Meta-World/MT1/reach-v3`.
    """

    def __init__(self, argument: str, options: dict[str, str]) -> None:
        """Raises SourceError for a bad value. Options of the environment are judged where it is made: `specs`."""
        taken = take({key: value for key, value in options.items() if key in _DEFAULTS}, _DEFAULTS)
        self.episodes: int = taken["episodes"]
        self.seed: int = taken["seed"]
        self.time_limit: float = taken["time_limit"]
        if not argument:
            raise SourceError("rollouts needs an environment: rollouts:BabyAI-GoToLocal-v0")
        for name, least in (("episodes", 1), ("seed", 0), ("max_steps", 0)):
            if taken[name] < least:
                raise SourceError(f"option {name}={taken[name]} must be at least {least}")
        if not (0 < self.time_limit < math.inf):
            raise SourceError(f"option time_limit={self.time_limit:g} must be a number of seconds above 0")
        if taken["policy"] not in ("expert", "random"):
            raise SourceError(f"option policy={taken['policy']} must be expert or random")
        kwargs = {key: _json_or_text(options[key]) for key in sorted(set(options) - set(_DEFAULTS))}
        try:
            recipe = Recipe(argument, json.dumps(kwargs, sort_keys=True, separators=(",", ":")), taken["image"])
        except MakeError as error:
            raise SourceError(str(error)) from error
        self.rollout = Rollout(recipe, taken["policy"], taken["max_steps"])
        settings = {**options, "seed": taken["seed"], "policy": taken["policy"]}
        shown = "&".join(f"{key}={settings[key]}" for key in sorted(set(settings) - {"episodes", "time_limit"}))
        self.uri = f"rollouts:{argument}?{shown}"

    @property
    def task(self) -> str:
        return self.rollout.recipe.task

    def inputs(self) -> list[dict[str, Any]]:
        return [{"uri": self.uri, "versions": _described(self.rollout).versions}]

    def specs(self) -> dict[str, EpisodeSpec]:
        """Raises SourceError for an unknown environment, or where it, its options or its expert cannot be had."""
        return {self.task: _described(self.rollout).spec}

    def partitions(self, limit: int | None = None) -> list[dict[str, Any]]:
        """{"first": i, "count": n}: 25 to 1000 episodes each, 64 partitions between."""
        self.specs()
        size = min(max(math.ceil(self.episodes / 64), 25), 1000)
        total = self.episodes if limit is None else min(limit, self.episodes)
        return [{"first": i, "count": min(size, total - i)} for i in range(0, total, size)]

    def candidates(self, partition: dict[str, Any]) -> Iterator[Candidate]:
        """One process plays them all, started with the first that is loaded and gone when the iterator is."""
        with ChildProcess(describe, self.rollout) as child:
            for i in range(partition["first"], partition["first"] + partition["count"]):
                yield Candidate(self._episode_id(i), self.uri, i, functools.partial(self._load, child, i))

    def _episode_id(self, i: int) -> str:
        cut = f"/max_steps={self.rollout.max_steps}" if self.rollout.max_steps else ""
        return f"{self.task}/seed={self.seed + i}/{self.rollout.policy}{cut}"

    def _load(self, child: ChildProcess, i: int) -> Episode:
        try:
            played: Played = child.call(play, self.rollout, self.seed + i, limit=self.time_limit)
        except (TimeoutError, ChildProcessError) as error:
            raise type(error)(f"{error}: {self._episode_id(i)}") from error
        end, recipe, description = played.ending, self.rollout.recipe, child.warmed
        success = recipe.success(end)
        metadata = EpisodeMetadata(
            episode_id=self._episode_id(i),
            domain=recipe.domain,
            task=self.task,
            agent_id=description.agent_id,
            instruction=played.instruction,
            source_uri=self.uri,
            source_index=i,
            return_=end.return_,
            success=-1 if success is None else int(success),
            terminated=end.terminated,
            truncated=played.truncated,
        )
        # T + 1 observations were seen; the sequence of an episode ends with an action.
        notes = {"final observation left out": 1}
        if played.clipped:
            notes["action values beyond their bounds, played at the bound"] = played.clipped
        return Episode(description.spec, played.observation, played.action, metadata, notes)


def _json_or_text(text: str) -> Any:
    """An option's value.

    >>> _json_or_text("true"), _json_or_text("3"), _json_or_text("reach-v3")
    (True, 3, 'reach-v3')
    """
    try:
        return json.loads(text)
    except ValueError:
        return text
