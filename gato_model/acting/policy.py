"""GatoPolicy: observations of environments to actions (Reed et al. 2022, section 2.4 and figure 3)."""

import functools
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from gato_model.acting.actor import Actor
from gato_model.acting.chunk import Chunk, batch
from gato_model.acting.decision import Choice, Decision, timestep
from gato_model.acting.decoder import LONGEST, Decoder, signature
from gato_model.acting.pretrained import Which, load_model
from gato_model.network.model import Gato
from gato_model.shipped import model_path
from gato_model.training.checkpoint import check_model
from gato_tokenize import EpisodeSpec, EpisodeTokenizer, Record, TokenSequence
from gato_tokenize.sequence import ACTION_POSITION
from gato_tokenize.storage.dataset import DatasetTokenizer

Prompt: TypeAlias = TokenSequence | Record


class GatoPolicy:
    """A policy that acts in `rows` environments at once, each with its own context.

    model: its weights are taken as they are now; make another policy after more training.
    spec: the task's tokenizer, or its spec if the vocabulary is the paper's.
    prompt: a demonstration of the same task, or one for each row. Every episode begins after its first
        `sequence_length` tokens, cut at a timestep.
    temperature: 0 takes the likeliest id, otherwise ids are drawn; in either case only ids that are legal there.
    continuous: "mean" takes the expected value of each continuous number of an action, in place of an id chosen by
        `temperature`, which is then for discrete actions alone.
    context: how much an action sees. "memory": every token looks at the last `sequence_length` tokens, by
        Transformer-XL's memory (section 2.4), at no extra cost. "window": when a timestep no longer fits, the oldest
        are dropped until at most half of the context is used, and the rest is read again, as a new sequence.
        "timestep": its own timestep alone, for tasks whose observation says all, and models that were trained with
        `history_dropout`. A prompt is refused then.
    seed: draws depend on it, on the row's seed in `reset` and on the number of tokens read, not on other rows.

        policy = GatoPolicy(model, tokenizer.task("LunarLander-v3"))
        policy.reset()
        action = policy.act(observation)

    Raises ValueError if the model has another vocabulary, a prompt is not of this task, a timestep cannot fit, an
    action is text, or a number is out of range.
    """

    def __init__(
        self,
        model: Gato,
        spec: EpisodeTokenizer | EpisodeSpec,
        prompt: Prompt | Sequence[Prompt] | None = None,
        *,
        rows: int = 1,
        temperature: float = 0.0,
        continuous: Literal["draw", "mean"] = "draw",
        context: Literal["memory", "window", "timestep"] = "memory",
        seed: int = 0,
    ) -> None:
        tokenizer = _tokenizer(spec, model)
        _check(model, tokenizer, temperature, context)
        if continuous not in ("draw", "mean"):
            raise ValueError(f"continuous must be 'draw' or 'mean', not {continuous!r}")
        self.tokenizer, self.rows, self.context, self.seed = tokenizer, rows, context, seed
        self.config = model.config
        ranges = tokenizer.action_ranges
        decoder = Decoder(model, rows, longest=_longest(tokenizer, self.config.sequence_length))
        numbers = ranges[:, 0] == tokenizer.vocabulary.continuous.start
        self.actor = Actor(decoder, ranges, temperature, numbers & (continuous == "mean"))
        self._action_tokens = len(ranges)
        self._started = 0  # number of episodes
        if prompt is not None and context == "timestep":
            raise ValueError("a prompt with context='timestep': no action would see it; take 'memory' or 'window'")
        self._prompts = self._demonstrations(prompt)
        self._read_all({row: Chunk.join(steps) for row, steps in enumerate(self._prompts) if steps})
        decoder.mark()
        # Each row's tokens, a chunk for each timestep. Only context="window" reads them again.
        self._steps: list[list[Chunk]] = [[]] * rows
        self.reset()

    @classmethod
    def from_pretrained(
        cls, folder: "str | os.PathLike[str]", task: str | None = None, which: Which = "best", **options: Any
    ) -> "GatoPolicy":
        """Load the policy of a task from a training run's folder, from an export, or from "demo", the model that comes
        with this package.

        task: may be left out if the model knows only one that has actions. which: the checkpoint of a run.
        options: as above; their defaults are the same.

            policy = GatoPolicy.from_pretrained("runs/mine", "LunarLander-v3", rows=20)

        Raises CheckpointError if the folder holds no model, KeyError listing the tasks for an unknown one.
        """
        path = model_path(folder)
        check_model(path)
        tokenizer = DatasetTokenizer.load(path)
        of_task = tokenizer.task(_only_task(tokenizer) if task is None else task)
        return cls(load_model(path, which), of_task, **options)

    def reset(self, rows: Sequence[int] | None = None, seeds: Sequence[int] | None = None) -> None:
        """Start new episodes, after the prompt, in these rows (by default in all).

        seeds: one a row, below 2^31, added to the policy's own; by default the number of the episode. Raises ValueError
        for an unknown row, or another number of seeds than of rows.
        """
        rows = list(range(self.rows)) if rows is None else list(rows)
        seeds = range(self._started, self._started + len(rows)) if seeds is None else seeds
        if len(seeds) != len(rows) or not set(rows) <= set(range(self.rows)):
            raise ValueError(f"rows {rows} with {len(seeds)} seeds: rows are 0 to {self.rows - 1}, with one seed each")
        self._started += len(rows)
        own = (np.array(list(seeds), np.int64) + self.seed) % 2**31
        self.actor.reset(np.array(rows, np.int32), own.astype(np.int32))
        for row in rows:
            self._steps[row] = list(self._prompts[row])

    def act(self, observation: Any) -> Any:
        """Return the action of a policy of one row: arrays nested as in the spec, as `EpisodeTokenizer.decode_action`.

        Raises ValueError naming the field of an observation that does not fit the spec.
        """
        self._check_alone("act")
        return self.act_many([observation])[0]

    def decide(self, observation: Any) -> Decision:
        """Act as `act` does, and return beside the action its timestep's tokens and how each id was chosen.

        It is compiled at the first call; policies of which nobody asks this pay nothing for it.
        """
        self._check_alone("decide")
        sequence = self.tokenizer.encode_observation(observation)
        chunks = {0: self._chunk(sequence)}
        self._make_room(chunks)
        ids, hidden = self._read(chunks, self._compiled_decide)
        self._keep(chunks, ids.numpy())
        chosen = ids[0].numpy().tolist()
        choices = tuple(
            Choice(id, int(first), self.actor.distribution(hidden[i], i)[0].numpy())
            for i, (id, first) in enumerate(zip(chosen, self.tokenizer.action_ranges[:, 0], strict=True))
        )
        return Decision(self.tokenizer.decode_action(chosen), timestep(self.tokenizer, sequence, chosen), choices)

    def act_many(self, observations: Sequence[Any], rows: Sequence[int] | None = None) -> list[Any]:
        """Return an action for each observation, those of the given rows (by default of all); other rows wait.

        Raises ValueError as `act`, and for an unknown or repeated row.
        """
        rows = list(range(self.rows)) if rows is None else list(rows)
        if len(observations) != len(rows) or len(set(rows)) < len(rows) or not set(rows) <= set(range(self.rows)):
            last = self.rows - 1
            raise ValueError(f"{len(observations)} observations for rows {rows}: one each, of rows 0 to {last}")
        sequences = map(self.tokenizer.encode_observation, observations)
        chunks = {row: self._chunk(sequence) for row, sequence in zip(rows, sequences, strict=True)}
        if not chunks:
            return []
        self._make_room(chunks)
        ids = self._read(chunks, self.actor.act).numpy()
        self._keep(chunks, ids)
        return [self.tokenizer.decode_action(ids[row]) for row in rows]

    def _check_alone(self, method: str) -> None:
        if self.rows != 1:
            raise ValueError(
                f"this policy has {self.rows} rows, and {method} is for one: act_many takes a list of observations"
            )

    @functools.cached_property
    def _compiled_decide(self) -> Any:
        return tf.function(self.actor.decide, input_signature=signature(self.rows), autograph=False)

    def _chunk(self, sequence: TokenSequence) -> Chunk:
        chunk = Chunk.of_sequence(sequence, self.config.quantization)
        if len(chunk) + self._action_tokens > self.config.sequence_length:
            raise ValueError(_too_long(len(chunk) + self._action_tokens, self.config.sequence_length))
        if chunk.positions.max() >= self.config.local_positions:
            raise ValueError(
                f"an observation of {len(chunk) - 1} tokens, but the model has {self.config.local_positions} local"
                " positions: make pictures or texts smaller, or train a model with more, on data that is converted with"
                f" --local-positions {len(chunk) - 1}"
            )
        return chunk

    def _demonstrations(self, prompt: Prompt | Sequence[Prompt] | None) -> list[list[Chunk]]:
        """Return for each row the chunks of its prompt, one for each timestep."""
        if prompt is None:
            return [[]] * self.rows
        if isinstance(prompt, TokenSequence | Record):
            return [self._demonstration(prompt)] * self.rows
        if len(prompt) != self.rows:
            raise ValueError(f"{len(prompt)} prompts for {self.rows} rows: give one, or one for each")
        return [self._demonstration(one) for one in prompt]

    def _demonstration(self, prompt: Prompt) -> list[Chunk]:
        sequence = prompt.sequence if isinstance(prompt, Record) else prompt
        try:
            self.tokenizer.decode(sequence)
        except ValueError as error:
            raise ValueError(f"the prompt is no demonstration of this task: {error}") from error
        splits, room = sequence.step_splits, self.config.sequence_length
        count = int(np.searchsorted(splits, room, side="right")) - 1
        if not count:
            raise ValueError(f"the prompt's first timestep has {splits[1]} tokens, the context {room}")
        return [Chunk.of_sequence(sequence.steps(i, i + 1), self.config.quantization) for i in range(count)]

    def _make_room(self, chunks: Mapping[int, Chunk]) -> None:
        """Forget what the context leaves out: all of a row, or its oldest timesteps if the next one has no room; the
        rest of these is read again."""
        if self.context == "timestep":
            self.actor.empty(np.array(list(chunks), np.int32))
        if self.context != "window":
            return
        room = self.config.sequence_length - self._action_tokens
        again = {}
        for row, chunk in chunks.items():
            steps = self._steps[row]
            if sum(map(len, steps)) + len(chunk) > room:
                self._steps[row] = _newest(steps, min(self.config.sequence_length // 2, room - len(chunk)))
                again[row] = self._steps[row]
        if again:
            self.actor.empty(np.array(list(again), np.int32))
            self._read_all({row: Chunk.join(steps) for row, steps in again.items() if steps})

    def _keep(self, chunks: Mapping[int, Chunk], ids: NDArray[np.int32]) -> None:
        """Note what was read and done, for the day when it is read again."""
        if self.context == "window":
            for row, chunk in chunks.items():
                self._steps[row].append(Chunk.join([chunk, Chunk.of_ids(ids[row], ACTION_POSITION)]))

    def _read_all(self, chunks: Mapping[int, Chunk]) -> None:
        if chunks:
            self._read(chunks, self.actor.read)

    def _read(self, chunks: Mapping[int, Chunk], last: Any) -> Any:
        """Read chunks of any length, the end of each by `last`, and return what `last` returns."""
        longest = self.actor.longest
        while max(map(len, chunks.values())) > longest:
            split = {row: _front(len(chunk), longest) for row, chunk in chunks.items()}
            front = {row: chunks[row].slice(0, at) for row, at in split.items() if at}
            self.actor.read(*batch(front, self.rows).values())
            chunks = {row: chunk.slice(split[row], len(chunk)) for row, chunk in chunks.items()}
        return last(*batch(chunks, self.rows).values())


def _front(length: int, longest: int) -> int:
    """Count the tokens to read first, so that at least one is left."""
    return min(max(length - longest, 0), longest)


def _newest(steps: list[Chunk], room: int) -> list[Chunk]:
    """Return the latest timesteps that fit in the room together."""
    first, total = len(steps), 0
    while first and total + len(steps[first - 1]) <= room:
        first -= 1
        total += len(steps[first])
    return steps[first:]


def _longest(tokenizer: EpisodeTokenizer, sequence_length: int) -> int:
    """Choose the longest chunk: an observation with an id before it; a text counts as 32 tokens, a guess."""
    observation = sum(slot.length or 32 for slot in tokenizer.slots if not slot.action)
    return min(max(observation + 1, sequence_length // 16), LONGEST)


def _only_task(tokenizer: DatasetTokenizer) -> str:
    tasks = [name for name, spec in tokenizer.specs.items() if spec.timesteps and spec.action]
    if len(tasks) != 1:
        raise KeyError(f"name the task: this model knows {', '.join(tasks) or 'none that has actions'}")
    return tasks[0]


def _tokenizer(spec: EpisodeTokenizer | EpisodeSpec, model: Gato) -> EpisodeTokenizer:
    if isinstance(spec, EpisodeTokenizer):
        return spec
    return EpisodeTokenizer(spec, local_positions=model.config.local_positions)


def _check(model: Gato, tokenizer: EpisodeTokenizer, temperature: float, context: str) -> None:
    if tokenizer.vocabulary.size != model.config.vocabulary_size:
        raise ValueError(
            f"the tokenizer has {tokenizer.vocabulary.size} ids, the model {model.config.vocabulary_size}: they do not"
            " belong together; a run's folder holds the tokenizer that its model was trained with"
        )
    if not tokenizer.spec.timesteps:
        raise ValueError("a document or sample has no actions: `gato-model generate` continues texts")
    if not 0 <= temperature < float("inf"):
        raise ValueError(f"temperature must be 0 (the likeliest) or a number above it, not {temperature}")
    if context not in ("memory", "window", "timestep"):
        raise ValueError(f"context must be 'memory', 'window' or 'timestep', not {context!r}")


def _too_long(tokens: int, room: int) -> str:
    return (
        f"a timestep of {tokens} tokens does not fit into the model's {room}: make pictures or texts smaller, or train"
        " a model with a longer sequence_length"
    )
