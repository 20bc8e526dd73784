"""Experts: policies that play an environment well."""

from collections.abc import Callable
from typing import Any, TypeAlias

from pipelines.sources.errors import SourceError
from pipelines.sources.imported import imported

Policy: TypeAlias = Callable[[Any], Any]  # observation -> action
# Takes an environment; returns the policy's name and a function that starts the policy after each reset.
Expert: TypeAlias = Callable[[Any], tuple[str, Callable[[], Policy]]]


def babyai_bot(environment: Any) -> tuple[str, Callable[[], Policy]]:
    """Return MiniGrid's port of the bot that made the paper's BabyAI episodes (section 3). It sees the whole grid."""
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
    """Return Meta-World's scripted policy for the environment's `env_name`. Raises SourceError if it has none."""
    from metaworld.policies import ENV_POLICY_MAP

    name = environment.unwrapped.spec.kwargs["env_name"]
    if name not in ENV_POLICY_MAP:
        raise SourceError(f"Meta-World has no scripted policy for env_name={name}; known: {', '.join(ENV_POLICY_MAP)}")
    policy = ENV_POLICY_MAP[name]
    return f"metaworld.{policy.__name__}", lambda: policy().get_action


def lunar_lander_heuristic(environment: Any) -> tuple[str, Callable[[], Policy]]:
    """Return Gymnasium's own controller, which lands most episodes."""
    from gymnasium.envs.box2d.lunar_lander import heuristic

    return "gymnasium.lunar_lander.heuristic", lambda: lambda observation: heuristic(environment, observation)


EXPERTS: dict[str, Expert] = {  # {beginning of an environment's id: its expert}
    "BabyAI-": babyai_bot,
    "Meta-World/MT1": metaworld_policy,
    "LunarLander": lunar_lander_heuristic,
}


def expert_of(name: str) -> Expert:
    """Find the expert for an environment's id without its `module:`. Raises SourceError if none is known."""
    for beginning, expert in EXPERTS.items():
        if name.startswith(beginning):
            return expert
    known = ", ".join(f"{beginning}*" for beginning in EXPERTS)
    raise SourceError(f"no expert plays {name}; experts play {known}. With policy=random it is played at random")


def own_policy(option: str, name: str) -> Callable[[Any], Policy]:
    """Import the function that `module:function` names. It takes the environment after each reset and returns the
    policy of that episode, which takes an observation and returns an action; so a policy may keep state.

    option: that names it, for the messages. Raises SourceError if the module or the function is not there.
    """
    module, _, attribute = name.partition(":")
    make_policy = imported(module, attribute, f"{option}={name}")
    if not callable(make_policy):
        raise SourceError(f"{option}={name}: {attribute} is not a function")
    return make_policy  # type: ignore[no-any-return]
