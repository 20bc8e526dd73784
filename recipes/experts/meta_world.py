"""Meta-World's scripted policies, for the environments that tell the task."""

from collections.abc import Callable
from typing import Any

from metaworld.policies import ENV_POLICY_MAP

Policy = Callable[[Any], Any]


def scripted(environment: Any) -> Policy:
    """Play the policy that Meta-World's authors wrote for the task."""
    policy = ENV_POLICY_MAP[environment.spec.id.partition("/")[2]]()
    return lambda observation: policy.get_action(observation["observation"])
