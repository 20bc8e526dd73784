"""Meta-World played by its experts, cut at success: models compiled once and copied, beside compiled each time.

python -m benchmarks.bench_rollouts [--tasks 50] [--episodes 2]
"""

import argparse
import contextlib
import itertools
import json
import time
from unittest import mock

import metaworld.policies
import numpy as np

from gato_tokenize.environments import recipe as recipe_module
from gato_tokenize.environments.recipe import Recipe
from pipelines.sources.rollouts.rollout import Played, Rollout, play

MAX_STEPS = 300


def played(task: str, episodes: int) -> tuple[list[Played], float]:
    """Play the first episodes of a task: (the episodes, seconds of CPU time for one)."""
    rollout = Rollout(Recipe("Meta-World/MT1", json.dumps({"env_name": task})), "expert", MAX_STEPS, True)
    began = time.process_time()
    found = [play(rollout, seed) for seed in range(episodes)]
    return found, (time.process_time() - began) / episodes


def same(one: Played, other: Played) -> bool:
    pairs = ((one.observation, other.observation), (one.action, other.action), (one.rewards, other.rewards))
    return all(np.array_equal(left, right) for left, right in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=50)
    parser.add_argument("--episodes", type=int, default=2)
    arguments = parser.parse_args()
    ratios, unlike = [], []
    for task in itertools.islice(metaworld.policies.ENV_POLICY_MAP, arguments.tasks):
        kept, once = played(task, arguments.episodes)
        with mock.patch.object(recipe_module, "compiled_once", contextlib.nullcontext):
            anew, each_time = played(task, arguments.episodes)
        ratios.append(each_time / once)
        unlike += [] if all(map(same, kept, anew)) else [task]
        print(f"{task:28} {each_time:.3f} s an episode, compiled once {once:.3f} s: {ratios[-1]:.1f}x", flush=True)
    print(f"median {np.median(ratios):.1f}x; tasks whose episodes differ: {', '.join(unlike) or 'none'}")


if __name__ == "__main__":
    main()
