"""evaluate: a policy in environments, many episodes at a time. Needs no TensorFlow: the policy brings its own."""

import contextlib
import dataclasses
import importlib
import io
import json
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import gymnasium
import numpy as np
from numpy.typing import NDArray

from gato_model.evaluation.scores import Interval, mean_interval
from gato_tokenize.environments.families import DRAWN_BY_OPENGL, SEEN_BY_OPENGL, Ending, family_of
from gato_tokenize.environments.playing import playable
from gato_tokenize.environments.recipe import Recipe


class Policy(Protocol):
    """What `evaluate` needs of a policy: `GatoPolicy`, `RandomPolicy`, or one's own."""

    rows: int

    def reset(self, rows: Sequence[int], seeds: Sequence[int]) -> None:
        """Start new episodes in these rows; all draws depend on the row's seed."""

    def act_many(self, observations: Sequence[Any], rows: Sequence[int]) -> list[Any]:
        """An action for each observation, of these rows."""


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """What n episodes came to, in the order of their seeds.

    seeds int64[n], returns float64[n] (undiscounted), successes int8[n] (1, 0, -1: the environment does not tell),
    lengths int64[n] in steps, latencies float64[c]: seconds of each call of the policy, the first left out, which
    compiles; rows: how many environments a call acted for at most.
    """

    seeds: NDArray[np.int64]
    returns: NDArray[np.float64]
    successes: NDArray[np.int8]
    lengths: NDArray[np.int64]
    latencies: NDArray[np.float64]
    rows: int

    def return_interval(self, confidence: float = 0.95) -> Interval:
        return mean_interval(self.returns, confidence)

    def success_interval(self, confidence: float = 0.95) -> Interval | None:
        """None where the environment does not tell."""
        known = self.successes[self.successes >= 0]
        return mean_interval(known, confidence) if known.size else None

    def latency(self, quantile: float) -> float:
        """Seconds in which a call answered, for example latency(0.5) and latency(0.95)."""
        return float(np.quantile(self.latencies, quantile))


@dataclasses.dataclass
class _Episode:
    number: int  # index into the seeds
    environment: Any
    observation: Any
    return_: float = 0.0
    last_reward: float = 0.0
    steps: int = 0
    solved: bool = False
    terminated: bool = False
    truncated: bool = False

    def step(self, action: Any, max_steps: int) -> bool:
        """Whether the episode is over."""
        played = playable(self.environment.action_space, action)
        self.observation, reward, self.terminated, self.truncated, info = self.environment.step(played)
        self.last_reward = float(reward)
        self.return_ += self.last_reward
        self.steps += 1
        self.solved = self.solved or info.get("success", 0) == 1
        return bool(self.terminated or self.truncated or self.steps == max_steps)

    @property
    def ending(self) -> Ending:
        return Ending(self.return_, self.last_reward, bool(self.terminated), self.solved)


def evaluate(
    policy: Policy,
    recipe: Recipe,
    seeds: Sequence[int],
    *,
    max_steps: int = 0,
    frames: list[NDArray[np.uint8]] | None = None,
    finished: Callable[[int], None] | None = None,
) -> Evaluation:
    """Play an episode of `recipe` for each seed, as many at a time as the policy has rows.

    An environment that is done makes room for the next seed, so the batch stays full until the seeds run out. What
    happens in an episode depends on its seed alone, as far as the policy keeps its rows apart.

    max_steps: cut episodes there; 0: where the environment does. frames: a list that takes the first episode's
    pictures, uint8[height, width, 3]; its environment must know `render_mode="rgb_array"`. finished: called with the
    number of episodes that are over, after each.

    Raises ValueError for no seeds, and for pictures that OpenGL would draw beside TensorFlow; whatever the environment
    or the policy raise comes through, and environments are closed.
    """
    if not len(seeds):
        raise ValueError("no seeds: there is nothing to play")
    _check_opengl(recipe, frames is not None)
    running: dict[int, _Episode] = {}
    over: list[_Episode | None] = [None] * len(seeds)
    latencies: list[float] = []
    waiting = iter(range(len(seeds)))
    try:
        while True:
            _fill(policy, recipe, seeds, running, waiting, frames is not None)
            if not running:
                break
            rows = sorted(running)
            _film(frames, running)
            start = time.perf_counter()
            actions = policy.act_many([running[row].observation for row in rows], rows)
            latencies.append(time.perf_counter() - start)
            for row, action in zip(rows, actions, strict=True):
                episode = running[row]
                with _quiet():
                    done = episode.step(action, max_steps)
                if done:
                    _film(frames, {row: episode})
                    episode.environment.close()
                    over[episode.number] = running.pop(row)
                    if finished is not None:
                        finished(len(seeds) - over.count(None))
    finally:
        for episode in running.values():
            episode.environment.close()
    return _evaluation(recipe, seeds, [episode for episode in over if episode], latencies, policy.rows)


def _fill(policy: Policy, recipe: Recipe, seeds: Sequence[int], running: dict[int, _Episode], waiting: Any,
          film: bool) -> None:  # fmt: skip
    """Start the next episodes in the rows that are free."""
    started = []
    for row in range(policy.rows):
        if row not in running and (number := next(waiting, None)) is not None:
            made = filmed(recipe) if film and number == 0 else recipe
            with _quiet():
                running[row] = _Episode(number, *made.start(int(seeds[number])))
            started.append(row)
    if started:
        policy.reset(started, [int(seeds[running[row].number]) for row in started])


def _check_opengl(recipe: Recipe, film: bool) -> None:
    """Mesa's OpenGL crashes the process in which TensorFlow is loaded: an error is better."""
    risky = _written_in(recipe) & (SEEN_BY_OPENGL | DRAWN_BY_OPENGL if film else SEEN_BY_OPENGL)
    if risky and "tensorflow" in sys.modules:
        raise ValueError(
            f"{recipe.name} draws its pictures by OpenGL ({', '.join(risky)}), which crashes beside TensorFlow:"
            f" {'play it without a video' if film else 'play it with a policy in another process'}"
        )


def _written_in(recipe: Recipe) -> set[str]:
    """The words of the module that an environment's class is in; none where there is no such environment, which is
    told where it is made."""
    try:
        importlib.import_module(family_of(recipe.name).module)
        entry = gymnasium.spec(recipe.environment).entry_point
    except (ImportError, gymnasium.error.Error):
        return set()
    return set(re.split("[.:]", entry if isinstance(entry, str) else entry.__module__))


def _quiet() -> contextlib.AbstractContextManager[Any]:
    """MiniGrid tells on the standard output of each layout that it rejects."""
    return contextlib.redirect_stdout(io.StringIO())


def filmed(recipe: Recipe) -> Recipe:
    """The same environment, ready to be drawn."""
    return dataclasses.replace(recipe, kwargs=json.dumps({**recipe.arguments(), "render_mode": "rgb_array"}))


def _film(frames: list[NDArray[np.uint8]] | None, running: Mapping[int, _Episode]) -> None:
    first = [episode for episode in running.values() if episode.number == 0]
    if frames is not None and first:
        frames.append(np.asarray(first[0].environment.render(), np.uint8).copy())


def _evaluation(recipe: Recipe, seeds: Sequence[int], over: list[_Episode], latencies: list[float],
                rows: int) -> Evaluation:  # fmt: skip
    judged = [recipe.success(episode.ending) for episode in over]
    return Evaluation(
        np.array(seeds, np.int64),
        np.array([episode.return_ for episode in over]),
        np.array([-1 if success is None else int(success) for success in judged], np.int8),
        np.array([episode.steps for episode in over], np.int64),
        np.array(latencies[1:] or latencies),
        min(rows, len(seeds)),
    )
