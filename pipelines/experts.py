"""Experts: who plays an environment well, how the end of its episodes is judged."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeAlias

from pipelines.source import SourceError

Policy: TypeAlias = Callable[[Any], Any]  # observation -> action
# Called with an environment: (the policy's name, what starts the policy anew once the environment has been reset).
Expert: TypeAlias = Callable[[Any], tuple[str, Callable[[], Policy]]]


@dataclasses.dataclass(frozen=True)
class Ending:
    """What was seen of an episode when it ended."""

    return_: float
    last_reward: float
    terminated: bool
    info_success: bool  # info["success"] was 1 after some step


@dataclasses.dataclass(frozen=True)
class Family:
    """Environments that share a package and an expert."""

    domain: str
    module: str = "gymnasium"  # its import registers the environments
    expert: Expert | None = None
    success: Callable[[Ending], bool] | None = None  # None: unknown
    # Keyword arguments of `make` beside `seed`, for environments that draw when made and ignore `reset(seed=...)`.
    seeded_make: dict[str, Any] | None = None


def babyai_bot(environment: Any) -> tuple[str, Callable[[], Policy]]:
    """MiniGrid's port of the bot that made the paper's BabyAI episodes (section 3); it sees the whole grid."""
    from minigrid.utils.baby_ai_bot import BabyAIBot

    def start() -> Policy:
        bot, last = BabyAIBot(environment), None

        def act(observation: Any) -> Any:
            nonlocal last
            last = bot.replan(last)
            return last

        return act

    return "BabyAIBot", start


def metaworld_policy(environment: Any) -> tuple[str, Callable[[], Policy]]:
    """Meta-World's scripted policy of the environment's `env_name`. Raises SourceError for a name without one."""
    from metaworld.policies import ENV_POLICY_MAP

    name = environment.unwrapped.spec.kwargs["env_name"]
    if name not in ENV_POLICY_MAP:
        raise SourceError(f"Meta-World has no scripted policy for env_name={name}; known: {', '.join(ENV_POLICY_MAP)}")
    policy = ENV_POLICY_MAP[name]
    return f"metaworld.{policy.__name__}", lambda: policy().get_action


def lunar_lander_heuristic(environment: Any) -> tuple[str, Callable[[], Policy]]:
    from gymnasium.envs.box2d.lunar_lander import heuristic

    return "gymnasium.lunar_lander.heuristic", lambda: lambda observation: heuristic(environment, observation)


# {beginning of an environment's id: its family}; the first that fits counts.
FAMILIES: dict[str, Family] = {
    "BabyAI-": Family("BabyAI", "minigrid", babyai_bot, lambda end: end.terminated and end.last_reward > 0),
    "MiniGrid-": Family("MiniGrid", "minigrid"),
    # One goal instead of the 50 that `make` otherwise draws and `reset` picks from: 0.2 s an episode, not 0.7 s.
    "Meta-World/MT1": Family(
        "Meta-World",
        "metaworld",
        metaworld_policy,
        lambda end: end.info_success,
        seeded_make={"num_goals": 1},
    ),
    "Meta-World/": Family("Meta-World", "metaworld", success=lambda end: end.info_success, seeded_make={}),
    "LunarLander": Family("Box2D", expert=lunar_lander_heuristic, success=lambda end: end.return_ >= 200),
    "BipedalWalker": Family("Box2D"),
    "CarRacing": Family("Box2D"),
}


def family_of(name: str) -> Family:
    """The family of an environment's id, `module:` in front of it left out; one of its own for any other.

    >>> family_of("BabyAI-GoToLocal-v0").domain, family_of("ALE/Pong-v5").domain, family_of("CartPole-v1").domain
    ('BabyAI', 'ALE', 'Gymnasium')
    """
    for beginning, family in FAMILIES.items():
        if name.startswith(beginning):
            return family
    namespace, slash, _ = name.rpartition("/")
    return Family(namespace if slash else "Gymnasium")
