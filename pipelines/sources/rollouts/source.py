"""RolloutSource: Gymnasium environments played by experts or at random, each episode a function of its seed."""

import contextlib
import dataclasses
import functools
import json
import math
import os
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from gato_tokenize import Episode, EpisodeMetadata, EpisodeSpec
from gato_tokenize.environments.recipe import MakeError, Recipe
from pipelines.processes.child_process import START, ChildProcess
from pipelines.sources.field_options import FieldOptions
from pipelines.sources.options import option, parse_options
from pipelines.sources.pieces import ranges
from pipelines.sources.rollouts.rollout import Description, Played, Rollout, describe, play
from pipelines.sources.source import Candidate, Source, SourceError


@dataclasses.dataclass(frozen=True)
class RolloutOptions(FieldOptions):
    episodes: int = option(100, "how many; episode *i* is played with seed `seed + i`, and depends on nothing else")
    seed: int = option(0, "of the first episode")
    policy: Literal["expert", "random"] = option(
        "expert",
        "`expert`: BabyAI's bot, Meta-World's scripted policies, Gymnasium's LunarLander heuristic; or `random`",
    )
    image: str = option(  # `Recipe` checks it: what is legal depends on the environment
        "",
        "MiniGrid and BabyAI: `symbolic` (the default) is the 7x7x3 grid as discrete values, `cells` one value a cell, "
        "`rgb` the agent's view in pixels",
    )
    time_limit: float = option(60.0, "seconds an episode may take; then it is a reject and its process is killed")
    max_steps: int = option(0, "end episodes after this many steps; 0: the environment's own limit")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("episodes", self.episodes >= 1, "at least 1")
        self.require("seed", self.seed >= 0, "at least 0")
        self.require("max_steps", self.max_steps >= 0, "at least 0")
        self.require("time_limit", 0 < self.time_limit < math.inf, "a number of seconds above 0")


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
    (0: the environment's own limit), roles and resize (see `FieldOptions`). Every other option is a
    keyword argument of `gymnasium.make`, read as JSON where it is JSON and as a str otherwise.

    A task is named by the environment and what may change its spec: `BabyAI-GoToLocal-v0`, `BabyAI-GoToLocal-v0-rgb`,
    `LunarLander-v3/continuous=true`, `Meta-World/MT1/reach-v3`.
    """

    Options = RolloutOptions

    def __init__(self, argument: str, options: dict[str, str]) -> None:
        """Raises SourceError for a bad value. Options of the environment are checked when it is made: by `specs`."""
        if not argument:
            raise SourceError("rollouts needs an environment: rollouts:BabyAI-GoToLocal-v0")
        known = {field.name for field in dataclasses.fields(RolloutOptions)} & set(options)
        self.options = chosen = parse_options(RolloutOptions, {name: options[name] for name in known})
        kwargs = {name: _json_or_text(options[name]) for name in sorted(set(options) - known)}
        try:
            recipe = Recipe(
                argument, json.dumps(kwargs, sort_keys=True, separators=(",", ":")), chosen.image, chosen.chosen
            )
        except MakeError as error:
            raise SourceError(str(error)) from error
        self.rollout = Rollout(recipe, chosen.policy, chosen.max_steps)
        # As written, but for what changes no episode; seed and policy always.
        settings = {**options, "seed": chosen.seed, "policy": chosen.policy}
        shown = "&".join(f"{name}={settings[name]}" for name in sorted(set(settings) - {"episodes", "time_limit"}))
        self.uri = f"rollouts:{argument}?{shown}"

    @property
    def task(self) -> str:
        return self.rollout.recipe.task

    def inputs(self) -> list[dict[str, Any]]:
        return [{"uri": self.uri, "versions": _described(self.rollout).versions}]

    def specs(self) -> dict[str, EpisodeSpec]:
        """Raises SourceError for an unknown environment, or where it, its options or its expert cannot be had."""
        return {self.task: _described(self.rollout).reading.spec}

    def reasons(self) -> dict[str, Mapping[str, str]]:
        return {self.task: _described(self.rollout).reading.reasons}

    def partitions(self) -> list[dict[str, Any]]:
        """{"first": i, "count": n}: 64 partitions, unless these had fewer than 25 or more than 1000 episodes each."""
        self.specs()
        size = min(max(math.ceil(self.options.episodes / 64), 25), 1000)
        return [{"first": first, "count": stop - first} for first, stop in ranges(self.options.episodes, size)]

    def candidates(self, partition: dict[str, Any]) -> Iterator[Candidate]:
        """One process plays them, ahead of whoever loads them in order. An iterator that comes to its end keeps it for
        the next partition; one that is closed early kills it."""
        with _process_for(self.rollout) as child:
            stop = partition["first"] + partition["count"]
            player = _Player(child, self.rollout, self.options.seed, stop, self.options.time_limit)
            with contextlib.closing(player):
                for i in range(partition["first"], stop):
                    yield Candidate(self._episode_id(i), self.uri, i, functools.partial(self._load, player, i))

    def _episode_id(self, i: int) -> str:
        cut = f"/max_steps={self.rollout.max_steps}" if self.rollout.max_steps else ""
        return f"{self.task}/seed={self.options.seed + i}/{self.rollout.policy}{cut}"

    def _load(self, player: "_Player", i: int) -> Episode:
        try:
            played, description = player.played(i)
        except (TimeoutError, ChildProcessError) as error:
            raise type(error)(f"{error}: {self._episode_id(i)}") from error
        end, recipe = played.ending, self.rollout.recipe
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
        reading = description.reading
        observation, action = reading.observation(played.observation), reading.action(played.action)
        return Episode(reading.spec, observation, action, metadata, notes)


class _Player:
    """Episode i < stop of a rollout, played with seed `seed + i`; from the second in order on, also those behind it."""

    def __init__(self, child: ChildProcess, rollout: Rollout, seed: int, stop: int, limit: float) -> None:
        self._child: ChildProcess | None = child  # None: another partition may have it
        self._rollout, self._seed, self._stop, self._limit = rollout, seed, stop, limit
        self._ahead = child.calls(play, [], limit)
        self._next = -1

    def played(self, i: int) -> tuple[Played, Description]:
        """Raises whatever environment and policy raise, TimeoutError, ChildProcessError."""
        if self._child is None:
            with ChildProcess(describe, self._rollout) as alone:
                return alone.call(play, self._rollout, self._seed + i, limit=self._limit), alone.warmed
        in_order, self._next = i == self._next, i + 1
        future = next(self._ahead, None) if in_order else None
        if future is None:
            self._ahead.close()
            seeds = range(self._seed + i, self._seed + (self._stop if in_order else i + 1))
            self._ahead = self._child.calls(play, [(self._rollout, seed) for seed in seeds], self._limit)
            future = next(self._ahead)
        return future.result(), self._child.warmed

    def close(self) -> None:
        """An episode asked for after this has a process for itself alone."""
        self._ahead.close()
        self._child = None


# Processes that wait for the next partition of their rollout, the one used last at the end: starting one costs as much
# as playing a hundred episodes of BabyAI. Few, and not for ever: simulators are large, and some leak.
_idle: dict[Rollout, ChildProcess] = {}
_idle_lock = threading.Lock()
_MOST_IDLE, _MOST_EPISODES = 2, 1000
os.register_at_fork(after_in_child=_idle.clear)  # they are the parent's


@contextlib.contextmanager
def _process_for(rollout: Rollout) -> Iterator[ChildProcess]:
    """A process of the caller's own, afterwards kept for the next one who wants it unless something was raised."""
    with _idle_lock:
        child = _idle.pop(rollout, None) or ChildProcess(describe, rollout)
    try:
        yield child
    except BaseException:  # GeneratorExit, too
        child.close()
        raise
    with _idle_lock:
        surplus = [child] if child.answered > _MOST_EPISODES or rollout in _idle else []
        if not surplus:
            _idle[rollout] = child
            surplus = [_idle.pop(next(iter(_idle))) for _ in range(len(_idle) - _MOST_IDLE)]
    for one in surplus:
        one.close()


def _json_or_text(text: str) -> Any:
    """An option's value.

    >>> _json_or_text("true"), _json_or_text("3"), _json_or_text("reach-v3")
    (True, 3, 'reach-v3')
    """
    try:
        return json.loads(text)
    except ValueError:
        return text
