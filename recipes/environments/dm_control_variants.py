"""Tasks of the DM Control Suite whose bodies differ from episode to episode, as in the paper (appendix F.1, F.2)."""

from typing import Any

import gymnasium
import numpy as np
import shimmy  # noqa: F401  (registers the DM Control Suite)

SPANS = {"Small": (0.9, 1.1), "Large": (0.6, 1.4)}  # the range from which each factor is drawn
PARTS = "actuator_gear", "dof_damping", "geom_friction", "body_mass"  # what is multiplied, each by a factor of its own
TASKS = "cartpole-balance", "cartpole-swingup", "pendulum-swingup", "point_mass-easy", "reacher-easy", "reacher-hard"


class VaryingBody(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Before each episode, multiply gear, damping, friction and mass of the model by factors drawn from the seed."""

    def __init__(self, environment: gymnasium.Env[Any, Any], low: float, high: float) -> None:
        super().__init__(environment)
        self._low, self._high = low, high
        self._model = environment.unwrapped._env.physics.model
        self._as_made = {part: getattr(self._model, part).copy() for part in PARTS}
        self._inertia = self._model.body_inertia.copy()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        factors = dict(zip(PARTS, np.random.default_rng(seed).uniform(self._low, self._high, len(PARTS)), strict=True))
        for part, factor in factors.items():
            getattr(self._model, part)[:] = self._as_made[part] * factor
        self._model.body_inertia[:] = self._inertia * factors["body_mass"]
        return self.env.reset(seed=seed, options=options)


def make(task: str, span: str, **how: Any) -> gymnasium.Env[Any, Any]:
    """Make the environment of a task such as `cartpole-swingup`, with bodies within a span of SPANS.

    how: for the suite's own environment, such as `render_mode`.
    """
    return VaryingBody(gymnasium.make(f"dm_control/{task}-v0", disable_env_checker=True, **how), *SPANS[span])


for _span in SPANS:
    for _task in TASKS:
        gymnasium.register(
            f"DMControl{_span}/{_task}-v0", make, kwargs={"task": _task, "span": _span}, max_episode_steps=1000
        )
