"""RolloutSource: episodes of Gymnasium environments, played by experts or at random, each a function of its seed."""

import contextlib
import dataclasses
import functools
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from gato_tokenize import Episode, EpisodeMetadata, EpisodeSpec
from gato_tokenize.environments.recipe import MakeError, Recipe
from gato_tokenize.episode import FINAL_OBSERVATION
from gato_tokenize.layout import Slot, slots
from gato_tokenize.vocabulary import Kind
from pipelines.sources.errors import Filtered, SourceError
from pipelines.sources.field_options import FieldOptions
from pipelines.sources.options import option, parse_options, written
from pipelines.sources.pieces import HANDFUL, RECORD_BYTES, ranges
from pipelines.sources.rollouts.player import Player, described, process_for
from pipelines.sources.rollouts.rollout import Rollout
from pipelines.sources.source import Candidate, Source

_FEW = 25  # episodes: fewer are not worth a partition
_STEPS = 1000  # of an episode of an environment that names no limit
_TEXT_TOKENS = 16  # of a text, in each timestep
# Bytes of a token: the varints of small ids are short, and the pixels of a patch deflate to about an eighth.
_TOKEN_BYTES = {Kind.TEXT: 2, Kind.DISCRETE: 1, Kind.DISCRETE_ACTION: 1, Kind.PATCH: 97}


@dataclasses.dataclass(frozen=True)
class RolloutOptions(FieldOptions):
    episodes: int = option(100, "how many; episode *i* is played with seed `seed + i`, and depends on nothing else")
    seed: int = option(0, "of the first episode")
    policy: str = option(
        "expert",
        "`expert`: BabyAI's bot, Meta-World's scripted policies, Gymnasium's LunarLander heuristic; `random`; or "
        "`MODULE:FUNCTION` of your own, see below",
    )
    image: str = option(  # `Recipe` checks it: what is legal depends on the environment
        "",
        "MiniGrid and BabyAI: `symbolic` (the default) is the 7x7x3 grid as discrete values, `cells` one value a cell, "
        "`rgb` the agent's view in pixels",
    )
    time_limit: float = option(60.0, "seconds an episode may take; then it is a reject and its process is killed")
    max_steps: int = option(0, "end episodes after this many steps; 0: the environment's own limit")
    stop: Literal["end", "success"] = option(
        "end", "`success`: end an episode at the first step that reports success, as Meta-World does; else at its end"
    )

    noise: float = option(
        0.0,
        "probability that a random action is played from a step on, while the policy's are recorded: a model then sees "
        "how the policy comes back",
    )
    noise_steps: int = option(
        1, "that such a random action is played for, drawn from 1 to this: more bring the policy further off its way"
    )
    learner: str = option(
        "",
        "`MODULE:FUNCTION`: a policy that is played in place of `policy`, whose actions are recorded, so that a model "
        "sees what to do where it comes itself",
    )
    keep: Literal["all", "success"] = option(
        "all", "`success`: leave out episodes that the environment does not report as solved; they are counted"
    )
    min_return: float = option(-math.inf, "leave out episodes whose return is smaller; they are counted")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("noise", 0 <= self.noise < 1, "at least 0 and below 1")
        self.require("noise_steps", self.noise_steps >= 1, "at least 1")
        self.require("noise_steps", self.noise > 0 or self.noise_steps == 1, "1 where noise is 0")
        self.require("min_return", not math.isnan(self.min_return), "a number")
        self.require("episodes", self.episodes >= 1, "at least 1")
        self.require("seed", self.seed >= 0, "at least 0")
        self.require("max_steps", self.max_steps >= 0, "at least 0")
        own = self.policy.partition(":")
        legal = self.policy in ("expert", "random") or bool(own[0] and own[2])
        self.require("policy", legal, "expert, random, or MODULE:FUNCTION")
        learner = self.learner.partition(":")
        self.require("learner", not self.learner or bool(learner[0] and learner[2]), "MODULE:FUNCTION")
        self.require("time_limit", 0 < self.time_limit < math.inf, "a number of seconds above 0")


class RolloutSource(Source):
    """`rollouts:ENVIRONMENT?option=value&...`: episodes of `gymnasium.make(ENVIRONMENT)`, also of `module:Id-v0`.

    Episode i is played with seed `seed + i` and depends on nothing else: neither on the partition nor on the episodes
    before it. It ends when the environment ends or truncates it, or after `max_steps`. It is played in a process that
    is killed after `time_limit` seconds; that, an exception or a crash costs this episode alone.

    An option that `RolloutOptions` does not have is a keyword argument of `gymnasium.make`, read as JSON if it is JSON
    and as a str otherwise.

    A task is named by the environment and what may change its spec: `BabyAI-GoToLocal-v0`, `BabyAI-GoToLocal-v0-rgb`,
    `LunarLander-v3/continuous=true`, `Meta-World/MT1/reach-v3`.
    """

    Options = RolloutOptions
    reads_files = False

    def __init__(self, argument: str, options: dict[str, str]) -> None:
        """Check the options, but not those of the environment: `specs` does that, which makes it."""
        if not argument:
            raise SourceError("rollouts needs an environment: rollouts:BabyAI-GoToLocal-v0")
        known = {field.name for field in dataclasses.fields(RolloutOptions)} & set(options)
        self.options = chosen = parse_options(RolloutOptions, {name: options[name] for name in known})
        kwargs = {name: _json_or_text(options[name]) for name in sorted(set(options) - known)}
        try:
            recipe = Recipe(
                argument, json.dumps(kwargs, sort_keys=True, separators=(",", ":")), chosen.image, chosen.chosen
            )
        except MakeError as error:
            raise SourceError(str(error)) from error
        self.rollout = Rollout(
            recipe, chosen.policy, chosen.max_steps, chosen.stop == "success", chosen.noise, chosen.noise_steps,
            chosen.learner,
        )  # fmt: skip
        # The options as they were written, without those that change no episode; always with seed and policy.
        settings = {**options, "seed": chosen.seed, "policy": chosen.policy}
        shown = "&".join(f"{name}={settings[name]}" for name in sorted(set(settings) - {"episodes", "time_limit"}))
        self.uri = f"rollouts:{argument}?{shown}"

    @property
    def task(self) -> str:
        return self.rollout.recipe.task

    def inputs(self) -> list[dict[str, Any]]:
        return [{"uri": self.uri, "versions": described(self.rollout).versions}]

    def specs(self) -> dict[str, EpisodeSpec]:
        """Raises SourceError if the environment is unknown or cannot be made, or if no expert plays it."""
        spec = described(self.rollout).reading.spec
        if self.options.keep == "success" and not self.rollout.recipe.reports_success:
            raise SourceError(
                f"option keep=success: {self.rollout.recipe.name} does not report success; use min_return="
            )
        return {self.task: spec}

    def reasons(self) -> dict[str, Mapping[str, str]]:
        return {self.task: described(self.rollout).reading.reasons}

    def partitions(self) -> list[dict[str, Any]]:
        """{"first": i, "count": n}: HANDFUL partitions, fewer if they would have less than 25 episodes, more if they
        would be larger than `shard_bytes` by an estimate from the spec and the longest episode."""
        episodes = self.options.episodes
        found = described(self.rollout)
        steps = min((limit for limit in (self.rollout.max_steps, found.max_steps) if limit), default=_STEPS)
        weight = episodes * (RECORD_BYTES + steps * sum(map(_bytes_of, slots(found.reading.spec))))
        count = max(math.ceil(weight / self.shard_bytes), min(HANDFUL, math.ceil(episodes / _FEW)))
        size = max(1, math.ceil(episodes / count))
        return [{"first": first, "count": stop - first} for first, stop in ranges(episodes, size)]

    def candidates(self, partition: dict[str, Any]) -> Iterator[Candidate]:
        """One process plays the episodes, ahead of a reader that loads them in order. An iterator that reaches its end
        keeps the process for the next partition; one that is closed early kills it."""
        with process_for(self.rollout) as child:
            stop = partition["first"] + partition["count"]
            player = Player(child, self.rollout, self.options.seed, stop, self.options.time_limit)
            with contextlib.closing(player):
                for i in range(partition["first"], stop):
                    yield Candidate(self._episode_id(i), self.uri, i, functools.partial(self._load, player, i))

    def _episode_id(self, i: int) -> str:
        limit = f"/max_steps={self.rollout.max_steps}" if self.rollout.max_steps else ""
        stop = "/stop=success" if self.rollout.stop_at_success else ""
        noise = f"/noise={written(self.rollout.noise)}" if self.rollout.noise else ""
        noise += f"/noise_steps={self.rollout.noise_steps}" if self.rollout.noise_steps > 1 else ""
        learner = f"/learner={self.rollout.learner}" if self.rollout.learner else ""
        return f"{self.task}/seed={self.options.seed + i}/{self.rollout.policy}{limit}{stop}{noise}{learner}"

    def _load(self, player: Player, i: int) -> Episode:
        try:
            played, description = player.played(i)
        except (TimeoutError, ChildProcessError) as error:
            raise type(error)(f"{error}: {self._episode_id(i)}") from error
        end, recipe = played.ending, self.rollout.recipe
        success = recipe.success(end)
        if self.options.keep == "success" and not success:
            raise Filtered("not solved")
        if end.return_ < self.options.min_return:
            raise Filtered(f"a return below min_return={written(self.options.min_return)}")
        metadata = EpisodeMetadata(
            episode_id=self._episode_id(i),
            domain=recipe.domain,
            task=self.task,
            agent_id=description.agent_id,
            instruction=played.instruction,
            source_uri=self.uri,
            source_index=i,
            return_=end.return_,
            success=-1 if success is None else int(success),
            terminated=end.terminated,
            truncated=played.truncated,
        )
        # The player saw T + 1 observations, but an episode's sequence ends with an action.
        notes = {FINAL_OBSERVATION: 1}
        if played.clipped:
            notes["action values beyond their bounds, played at the bound"] = played.clipped
        reading = description.reading
        observation, action = reading.observation(played.observation), reading.action(played.action)
        return Episode(reading.spec, observation, action, metadata, notes, played.rewards)


def _bytes_of(slot: Slot) -> int:
    """Estimate the bytes that a slot takes in a record, each timestep."""
    return (_TEXT_TOKENS if slot.length is None else slot.length) * _TOKEN_BYTES.get(slot.kind, 3)


def _json_or_text(text: str) -> Any:
    """Parse the value of a keyword argument.

    >>> _json_or_text("true"), _json_or_text("3"), _json_or_text("reach-v3")
    (True, 3, 'reach-v3')
    """
    try:
        return json.loads(text)
    except ValueError:
        return text
