"""Stage: an episode whose frames are drawn, in a process of its own, because OpenGL crashes beside TensorFlow."""

import dataclasses
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gato_model.evaluation.evaluate import filmed
from gato_tokenize.environments.playing import PlayedEpisode, legal, playable
from gato_tokenize.spaces import read_spaces
from pipelines.processes.child_process import START, ChildProcess
from pipelines.sources.rollouts.rollout import Rollout, player

STEP_SECONDS = 60.0
# Meta-World's own view has the arm in front of all else. This one has not, but is upside down.
_META_WORLD = {"camera_name": "corner4", "width": 320, "height": 320}


@dataclasses.dataclass(frozen=True, eq=False)
class View:
    """What an episode shows after some steps."""

    observation: Any  # in the form that the dataset recorded
    frame: NDArray[np.uint8]  # [height, width, 3]
    return_: float  # so far
    over: bool
    success: bool | None  # None before the end, and where the environment does not report it


class Stage:
    """A rollout's episode of a seed, step by step: played by given actions, or by the rollout's own policy.

        with Stage(rollout, seed=0) as stage:
            while not stage.view.over:
                action = stage.play_own()

    A step raises what the environment or the policy raises, TimeoutError, ChildProcessError.
    """

    def __init__(self, rollout: Rollout, seed: int) -> None:
        self._child = ChildProcess(_prepare)
        try:
            self.view: View = self._child.call(_begin, rollout, seed, limit=START)
        except BaseException:
            self._child.close()
            raise

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, *_: object) -> None:
        self._child.close()

    def play(self, action: Any) -> None:
        """Play an action in the form of the task's spec."""
        self.view = self._child.call(_play, action, limit=STEP_SECONDS)

    def play_own(self) -> Any:
        """Play an action of the rollout's own policy, which is returned."""
        action, self.view = self._child.call(_play_own, limit=STEP_SECONDS)
        return action


def _prepare() -> None:
    os.environ.setdefault("MUJOCO_GL", "egl")  # draws without a window


class _Episode:
    """An episode in the process that plays it."""

    def __init__(self, rollout: Rollout, seed: int) -> None:
        self.turned = rollout.recipe.domain == "Meta-World"
        self.recipe = filmed(rollout.recipe, **_META_WORLD) if self.turned else filmed(rollout.recipe)
        environment, observation = self.recipe.start(seed)
        self.played = PlayedEpisode(environment, observation, rollout.max_steps, rollout.stop_at_success)
        self.space = environment.action_space
        self.reading = read_spaces(environment.observation_space, self.space, self.recipe.roles)
        self.policy = player(rollout, environment)[1]()
        _draw_quickly(environment)

    def view(self) -> View:
        played = self.played
        frame = np.asarray(played.environment.render(), np.uint8)
        return View(
            self.reading.observation(played.observation),
            (frame[::-1, ::-1] if self.turned else frame).copy(),
            float(sum(played.rewards)),
            played.over,
            self.recipe.success(played.ending) if played.over else None,
        )


_episodes: list[_Episode] = []  # of this process, at most one


def _begin(rollout: Rollout, seed: int) -> View:
    _episodes[:] = [_Episode(rollout, seed)]
    return _episodes[0].view()


def _play(action: Any) -> View:
    (episode,) = _episodes
    episode.played.step(playable(episode.space, action))
    return episode.view()


def _play_own() -> tuple[Any, View]:
    (episode,) = _episodes
    action = legal(episode.space, episode.policy(episode.played.observation))
    episode.played.step(action)
    return action, episode.view()


def _draw_quickly(environment: Any) -> None:
    """Let MuJoCo draw no shadows and no smooth edges, which takes nine tenths of the time without a graphics card."""
    quality = getattr(getattr(getattr(environment.unwrapped, "model", None), "vis", None), "quality", None)
    if quality is not None:
        quality.shadowsize = quality.offsamples = 0
