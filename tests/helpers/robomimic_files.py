"""Files in the layouts of robomimic, LIBERO and MimicGen, written with h5py alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

h5py = pytest.importorskip("h5py")

ENV_ARGS = {"env_name": "Lift", "type": 1, "env_kwargs": {"reward_shaping": False}}


def values(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float64)


def pixels(seed: int, steps: int, side: int = 16) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (steps, side, side, 3), np.uint8)


def write_demo(data: Any, number: int, steps: int, **more: Any) -> None:
    demo = data.create_group(f"demo_{number}")
    demo.attrs["num_samples"] = steps
    demo.attrs["model_file"] = "<mujoco/>"
    for place in ("obs", "next_obs"):
        demo[f"{place}/object"] = values(number, steps, 10)
        demo[f"{place}/robot0_eef_pos"] = values(number + 100, steps, 3).astype(np.float32)
        demo.create_dataset(f"{place}/agentview_image", data=pixels(number, steps), chunks=(1, 16, 16, 3))
    demo["actions"] = values(number + 200, steps, 7)
    demo["states"] = values(number + 300, steps, 32)
    demo["rewards"] = (np.arange(steps) == steps - 1).astype(np.float64)
    demo["dones"] = (np.arange(steps) == steps - 1).astype(np.int64)
    for key, value in more.items():
        demo[key] = value


def write_demos(
    path: Path, demos: int = 12, masks: dict[str, list[str]] | None = None, problem: Any = None, **env_args: Any
) -> Path:
    """Write a file of demonstrations: demo K has K % 3 + 2 timesteps. HDF5 lists demo_10 before demo_2."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["total"] = sum(number % 3 + 2 for number in range(demos))
        data.attrs["env_args"] = json.dumps({**ENV_ARGS, **env_args})
        if problem is not None:
            data.attrs["problem_info"] = json.dumps({"problem_name": "toy", "language_instruction": problem})
        for number in range(demos):
            write_demo(data, number, number % 3 + 2)
        for name, members in (masks or {}).items():
            file[f"mask/{name}"] = np.array(members, dtype="S")
    return path
