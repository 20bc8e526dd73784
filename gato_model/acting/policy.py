"""GatoPolicy: observations of environments to actions (Reed et al. 2022, section 2.4 and figure 3)."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from gato_model.acting.actor import Actor
from gato_model.acting.chunk import Chunk, batch
from gato_model.acting.decoder import LONGEST, Decoder
from gato_model.network.model import Gato
from gato_tokenize import EpisodeSpec, EpisodeTokenizer, Record, TokenSequence
from gato_tokenize.sequence import ACTION_POSITION

Prompt: TypeAlias = TokenSequence | Record


class GatoPolicy:
    """Acts in `rows` environments at once, each with a context of its own.

    model: its weights as they are now; make another policy after training on.
    spec: the task's tokenizer, or its spec where the vocabulary is the paper's.
    prompt: a demonstration of the same task, or one a row; its first `sequence_length` tokens, cut at a timestep,
        stand in front of every episode.
    temperature: 0 takes the likeliest id, else ids are drawn; only ids that are legal in their place, always.
    context: what happens beyond the model's `sequence_length`. "memory": every token sees the last `sequence_length`
        tokens, by Transformer-XL's memory (section 2.4), at no extra cost. "window": when a timestep does not fit any
        more, the oldest are dropped until at most half is left, and that is read anew, as a sequence of its own.
    seed: of the draws; they depend on it, the episode's number and what was acted before, not on other rows.

        policy = GatoPolicy(model, tokenizer.task("LunarLander-v3"))
        policy.reset()
        action = policy.act(observation)

    Raises ValueError where the model's vocabulary is another, a prompt is not of this task, a timestep cannot fit, an
    action is text or a number makes no sense.
    """

    def __init__(
        self,
        model: Gato,
        spec: EpisodeTokenizer | EpisodeSpec,
        prompt: Prompt | Sequence[Prompt] | None = None,
        *,
        rows: int = 1,
        temperature: float = 0.0,
        context: Literal["memory", "window"] = "memory",
        seed: int = 0,
    ) -> None:
        tokenizer = _tokenizer(spec, model)
        _check(model, tokenizer, temperature, context)
        self.tokenizer, self.rows, self.context, self.seed = tokenizer, rows, context, seed
        self.config = model.config
        ranges = tokenizer.action_ranges
        self._decoder = Decoder(model, rows, longest=_longest(tokenizer, self.config.sequence_length))
        self.actor = Actor(self._decoder, ranges, temperature)
        self._action_tokens = len(ranges)
        self._started = 0  # episodes
        self._prompts = self._demonstrations(prompt)
        self._read_all({row: Chunk.join(steps) for row, steps in enumerate(self._prompts) if steps})
        self._decoder.mark()
        # What a row has read, a chunk a timestep: only a sliding window is ever read anew.
        self._steps: list[list[Chunk]] = [[]] * rows
        self.reset()

    def reset(self, rows: Sequence[int] | None = None, seeds: Sequence[int] | None = None) -> None:
        """Start new episodes, behind the prompt, in these rows (in all). seeds: of each row's draws, below 2^31, to
        which the policy's is added; by default the number of the episode."""
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
        """The action of a policy of one row: arrays nested as the spec says, like `EpisodeTokenizer.decode_action`.

        Raises ValueError naming the field of an observation that does not fit the spec.
        """
        if self.rows != 1:
            raise ValueError(f"this policy has {self.rows} rows: act_many takes a list of observations")
        return self.act_many([observation])[0]

    def act_many(self, observations: Sequence[Any], rows: Sequence[int] | None = None) -> list[Any]:
        """An action for each observation, of the rows given (of all); rows that are left out wait as they are."""
        rows = list(range(self.rows)) if rows is None else list(rows)
        if len(observations) != len(rows) or len(set(rows)) < len(rows) or not set(rows) <= set(range(self.rows)):
            last = self.rows - 1
            raise ValueError(f"{len(observations)} observations for rows {rows}: one each, of rows 0 to {last}")
        chunks = {row: self._chunk(observation) for row, observation in zip(rows, observations, strict=True)}
        if not chunks:
            return []
        if self.context == "window":
            self._make_room(chunks)
        ids = self._read(chunks, self.actor.act).numpy()
        if self.context == "window":
            for row, chunk in chunks.items():
                self._steps[row].append(Chunk.join([chunk, Chunk.of_ids(ids[row], ACTION_POSITION)]))
        return [self.tokenizer.decode_action(ids[row]) for row in rows]

    def _chunk(self, observation: Any) -> Chunk:
        chunk = Chunk.of_sequence(self.tokenizer.encode_observation(observation), self.config.quantization)
        if len(chunk) + self._action_tokens > self.config.sequence_length:
            raise ValueError(_too_long(len(chunk) + self._action_tokens, self.config.sequence_length))
        if chunk.positions.max() >= self.config.local_positions:
            raise ValueError(
                f"an observation of {len(chunk) - 1} tokens, but the model has {self.config.local_positions} local"
                " positions: make pictures or texts smaller, or train a model with more (local_positions)"
            )
        return chunk

    def _demonstrations(self, prompt: Prompt | Sequence[Prompt] | None) -> list[list[Chunk]]:
        """A chunk for each timestep of the prompt, for each row."""
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
        """Drop the oldest timesteps of rows that have no room for the next, and read the rest anew."""
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

    def _read_all(self, chunks: Mapping[int, Chunk]) -> None:
        if chunks:
            self._read(chunks, self.actor.read)

    def _read(self, chunks: Mapping[int, Chunk], last: Any) -> Any:
        """Chunks of any length through `read`, and the last piece of each through `last`; -> what that gives."""
        longest = self.actor.longest
        while max(map(len, chunks.values())) > longest:
            split = {row: _front(len(chunk), longest) for row, chunk in chunks.items()}
            front = {row: chunks[row].cut(0, at) for row, at in split.items() if at}
            self.actor.read(*batch(front, self.rows).values())
            chunks = {row: chunk.cut(split[row], len(chunk)) for row, chunk in chunks.items()}
        return last(*batch(chunks, self.rows).values())


def _front(length: int, longest: int) -> int:
    """Tokens to read first, so that at least one is left."""
    return min(max(length - longest, 0), longest)


def _newest(steps: list[Chunk], room: int) -> list[Chunk]:
    """The last timesteps that fit together."""
    first, total = len(steps), 0
    while first and total + len(steps[first - 1]) <= room:
        first -= 1
        total += len(steps[first])
    return steps[first:]


def _longest(tokenizer: EpisodeTokenizer, sequence_length: int) -> int:
    """Tokens of the decoder's chunks: an observation with an id before it, texts as far as one can guess."""
    observation = sum(slot.length or 32 for slot in tokenizer.slots if not slot.action)
    return min(max(observation + 1, sequence_length // 16), LONGEST)


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
        raise ValueError("a document or sample has no actions: gato_model.commands.generate continues texts")
    if not 0 <= temperature < float("inf"):
        raise ValueError(f"temperature must be 0 (the likeliest) or a number above it, not {temperature}")
    if context not in ("memory", "window"):
        raise ValueError(f"context must be 'memory' or 'window', not {context!r}")


def _too_long(tokens: int, room: int) -> str:
    return (
        f"a timestep of {tokens} tokens does not fit into the model's {room}: make pictures or texts smaller, or train"
        " a model with a longer sequence_length"
    )
