"""evaluate: play a policy in environments, many episodes at a time. It needs no TensorFlow of its own."""

import contextlib
import dataclasses
import io
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from gato_model.evaluation.scores import Interval, mean_interval
from gato_tokenize.environments.families import opengl_simulators
from gato_tokenize.environments.playing import PlayedEpisode, playable
from gato_tokenize.environments.recipe import Recipe
from gato_tokenize.roles import Roles
from gato_tokenize.spaces import SpaceReading, read_spaces


class Policy(Protocol):
    """The attributes that `evaluate` needs of a policy: `GatoPolicy`, `RandomPolicy`, or your own."""

    rows: int

    def reset(self, rows: Sequence[int], seeds: Sequence[int]) -> None:
        """Start new episodes in these rows; all draws depend on the row's seed."""

    def act_many(self, observations: Sequence[Any], rows: Sequence[int]) -> list[Any]:
        """Return an action for each observation; the observations are those of `rows`, in order."""


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """The results of n episodes, in the order of their seeds.

    returns are undiscounted; successes are 1, 0, or -1 if the environment does not report success; latencies are the
    seconds of each call of the policy, without the first call, which compiles.
    """

    seeds: NDArray[np.int64]  # [n]
    returns: NDArray[np.float64]  # [n]
    successes: NDArray[np.int8]  # [n]
    lengths: NDArray[np.int64]  # [n] in steps
    latencies: NDArray[np.float64]  # [calls]
    rows: int  # environments that one call acted for at most

    def return_interval(self, confidence: float = 0.95) -> Interval:
        return mean_interval(self.returns, confidence)

    def success_interval(self, confidence: float = 0.95) -> Interval | None:
        """Return None if no episode's success is known."""
        known = self.successes[self.successes >= 0]
        return mean_interval(known, confidence) if known.size else None

    def latency(self, quantile: float) -> float:
        """Return a quantile of the seconds that a call took: `latency(0.5)` is the median."""
        return float(np.quantile(self.latencies, quantile))


class _Running(NamedTuple):
    number: int  # index into the seeds
    episode: PlayedEpisode


def evaluate(
    policy: Policy,
    recipe: Recipe,
    seeds: Sequence[int],
    *,
    max_steps: int = 0,
    stop_at_success: bool = False,
    frames: list[NDArray[np.uint8]] | None = None,
    finished: Callable[[int], None] | None = None,
) -> Evaluation:
    """Play an episode of `recipe` for each seed, as many at a time as the policy has rows.

    When an episode ends, its row starts the next seed, so the batch stays full until the seeds run out. An episode
    depends on its seed alone, provided that the policy keeps its rows apart.

    max_steps: cut episodes after so many steps; 0: only the environment ends them.
    stop_at_success: end an episode at the first step that reports success, as `stop=success` of the source does.
    frames: a list that takes the first episode's pictures, uint8[height, width, 3]; its environment must accept
        `render_mode="rgb_array"`.
    finished: called after each episode with the number of episodes that are over.

    Raises ValueError if there are no seeds, or if OpenGL would draw pictures in a process with TensorFlow. Errors of
    the environment or the policy pass through, after all environments have been closed.
    """
    if not len(seeds):
        raise ValueError("no seeds: there is nothing to play")
    check_opengl(recipe, frames is not None)
    evaluation = _EvaluationRun(policy, recipe, seeds, max_steps, stop_at_success, frames, finished)
    with contextlib.closing(evaluation):
        return evaluation.play()


class _EvaluationRun:
    """The episodes that run in the policy's rows, and those that are over."""

    def __init__(
        self,
        policy: Policy,
        recipe: Recipe,
        seeds: Sequence[int],
        max_steps: int,
        stop_at_success: bool,
        frames: list[NDArray[np.uint8]] | None,
        finished: Callable[[int], None] | None,
    ) -> None:
        self.policy, self.recipe, self.seeds, self.max_steps = policy, recipe, seeds, max_steps
        self.stop_at_success, self.frames, self.finished = stop_at_success, frames, finished
        self.running: dict[int, _Running] = {}  # by row
        self.over: dict[int, PlayedEpisode] = {}  # by index into the seeds
        self.latencies: list[float] = []
        self.reading: SpaceReading | None = None  # of the recipe's roles, if it has any
        self.waiting = iter(range(len(seeds)))

    def play(self) -> Evaluation:
        self._fill_rows()
        while self.running:
            for row, action in zip(sorted(self.running), self._actions(), strict=True):
                self._step(row, action)
            self._fill_rows()
        return self._evaluation()

    def close(self) -> None:
        for one in self.running.values():
            one.episode.environment.close()

    def _fill_rows(self) -> None:
        """Start the next episodes in the free rows."""
        started = []
        for row in range(self.policy.rows):
            if row not in self.running and (number := next(self.waiting, None)) is not None:
                self.running[row] = _Running(number, self._start(number))
                started.append(row)
        if started:
            self.policy.reset(started, [int(self.seeds[self.running[row].number]) for row in started])

    def _start(self, number: int) -> PlayedEpisode:
        recipe = filmed(self.recipe) if self.frames is not None and number == 0 else self.recipe
        with _quiet():
            started = recipe.start(int(self.seeds[number]))
            episode = PlayedEpisode(*started, self.max_steps, self.stop_at_success)
        return episode

    def _actions(self) -> list[Any]:
        """Ask the policy for an action in every running row, in the order of rows."""
        rows = sorted(self.running)
        for row in rows:
            self._film(self.running[row])
        observations = [self._shown(self.running[row].episode) for row in rows]
        start = time.perf_counter()
        actions = self.policy.act_many(observations, rows)
        self.latencies.append(time.perf_counter() - start)
        return actions

    def _shown(self, episode: PlayedEpisode) -> Any:
        """Return the latest observation in the form that the dataset recorded."""
        if self.recipe.roles == Roles():
            return episode.observation
        if self.reading is None:
            spaces = episode.environment.observation_space, episode.environment.action_space
            self.reading = read_spaces(*spaces, self.recipe.roles)
        return self.reading.observation(episode.observation)

    def _step(self, row: int, action: Any) -> None:
        number, episode = self.running[row]
        with _quiet():
            episode.step(playable(episode.environment.action_space, action))
        if episode.over:
            self._film(self.running[row])
            episode.environment.close()
            self.over[number] = self.running.pop(row).episode
            if self.finished is not None:
                self.finished(len(self.over))

    def _film(self, one: _Running) -> None:
        if self.frames is not None and one.number == 0:
            self.frames.append(np.asarray(one.episode.environment.render(), np.uint8).copy())

    def _evaluation(self) -> Evaluation:
        endings = [self.over[number].ending for number in range(len(self.seeds))]
        judged = [self.recipe.success(ending) for ending in endings]
        return Evaluation(
            np.array(self.seeds, np.int64),
            np.array([ending.return_ for ending in endings]),
            np.array([-1 if success is None else int(success) for success in judged], np.int8),
            np.array([len(self.over[number].rewards) for number in range(len(self.seeds))], np.int64),
            np.array(self.latencies[1:] or self.latencies),
            min(self.policy.rows, len(self.seeds)),
        )


def check_opengl(recipe: Recipe, film: bool) -> None:
    """Refuse what Mesa's OpenGL draws: it crashes a process in which TensorFlow is loaded."""
    simulators = opengl_simulators(recipe.environment, film)
    if simulators and "tensorflow" in sys.modules:
        raise ValueError(
            f"{recipe.name} draws its pictures by OpenGL ({', '.join(sorted(simulators))}), which crashes beside"
            f" TensorFlow: {'play it without a video' if film else 'play it with a policy in another process'}"
        )


def _quiet() -> contextlib.AbstractContextManager[Any]:
    """Swallow standard output: MiniGrid reports there each layout that it rejects."""
    return contextlib.redirect_stdout(io.StringIO())


def filmed(recipe: Recipe, **how: Any) -> Recipe:
    """Return the recipe of the same environment, made ready to be drawn. how: more arguments, such as its camera."""
    return dataclasses.replace(recipe, kwargs=json.dumps({**recipe.arguments(), "render_mode": "rgb_array", **how}))
