"""Controllers for tasks of the DM Control Suite, in closed form."""

from collections.abc import Callable
from typing import Any

import numpy as np

Policy = Callable[[Any], Any]


def cartpole(environment: Any) -> Policy:
    """Balance the pole, swinging it up first if it hangs: energy pumping far from upright, linear feedback near it."""

    def act(observation: Any) -> Any:
        (x, cosine, sine), (speed, turning) = observation["position"], observation["velocity"]
        angle = np.arctan2(sine, cosine)
        if cosine > 0.8 and abs(turning) < 6:
            force = 0.9 * x + 1.3 * speed + 10.0 * angle + 2.2 * turning
        else:
            energy = 0.5 * turning**2 / 15 + cosine - 1  # 0 when it stands upright and still
            force = 4.0 * np.clip(3 * energy, -1, 1) * np.sign(turning * cosine) - 0.8 * x - 0.6 * speed
        return np.clip([force], -1, 1)

    return act


def pendulum(environment: Any) -> Policy:
    """Swing up by pumping energy to that of the upright rest, then hold it by feedback."""

    def act(observation: Any) -> Any:
        (cosine, sine), turning = observation["orientation"], observation["velocity"][0]
        if cosine > 0.95 and abs(turning) < 4:
            torque = -10.0 * np.arctan2(sine, cosine) - 2.0 * turning
        else:
            lacking = 0.025 * turning**2 + cosine < 1  # less energy than at the upright rest
            torque = np.copysign(1.0, turning) * (1 if lacking else -1)
        return np.clip([torque], -1, 1)

    return act


def point_mass(environment: Any) -> Policy:
    """Drive both joints to the target at the origin by feedback on position and velocity."""

    def act(observation: Any) -> Any:
        return np.clip(-20.0 * observation["position"] - 6.0 * observation["velocity"], -1, 1)

    return act


def reacher(environment: Any) -> Policy:
    """Turn both joints by the transposed Jacobian of the finger's place, damped."""
    lengths = 0.12, 0.12

    def act(observation: Any) -> Any:
        shoulder, wrist = observation["position"]
        along = shoulder + wrist
        first = lengths[0] * np.array([-np.sin(shoulder), np.cos(shoulder)])
        second = lengths[1] * np.array([-np.sin(along), np.cos(along)])
        jacobian = np.stack([first + second, second], 1)
        wanted = observation["to_target"]
        step = np.linalg.solve(jacobian.T @ jacobian + 1e-3 * np.eye(2), jacobian.T @ wanted)
        return np.clip(4.0 * step - 0.6 * observation["velocity"], -1, 1)

    return act
