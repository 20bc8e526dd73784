"""Controllers for Gymnasium's classic control tasks, of a few lines each."""

from collections.abc import Callable
from typing import Any

import numpy as np

Policy = Callable[[Any], Any]


def cart_pole(environment: Any) -> Policy:
    """Push to the side to which the pole falls."""

    def act(observation: Any) -> int:
        x, speed, angle, turning = observation
        return int(0.05 * x + 0.2 * speed + 3.0 * angle + 0.9 * turning > 0)

    return act


def pendulum(environment: Any) -> Policy:
    """Swing up by pumping energy to that of the upright rest, then hold it by feedback."""

    def act(observation: Any) -> Any:
        cosine, sine, turning = observation
        angle = np.arctan2(sine, cosine)
        if cosine > 0.85:
            torque = -16.0 * angle - 4.0 * turning
        else:
            energy = turning**2 / 6 + 5 * (cosine - 1)  # m g l / 2 = 5; 0 when it stands upright and still
            torque = -2.0 * np.sign(energy * turning) if turning else 2.0
        return np.clip([torque], -2, 2).astype(np.float32)

    return act


def mountain_car(environment: Any) -> Policy:
    """Push in the direction of motion."""
    return lambda observation: 2 if observation[1] >= 0 else 0


def mountain_car_continuous(environment: Any) -> Policy:
    """Push in the direction of motion, with as little force as is needed."""
    return lambda observation: np.array([0.9 if observation[1] >= 0 else -0.9], np.float32)


def acrobot(environment: Any) -> Policy:
    """Bend the elbow against the swing of the upper arm, which pumps energy into it."""

    def act(observation: Any) -> int:
        _, _, _, _, upper, lower = observation
        return 0 if upper > 0 else 2

    return act
