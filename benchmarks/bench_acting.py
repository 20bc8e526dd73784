"""Milliseconds an action: the policy against the uncached model and against a cached loop token by token.

The tasks are shaped like Meta-World's: 39 numbers are seen and 4 are done, 44 tokens a timestep with the separator, a
full context. With --play, Meta-World itself is played, too, so that the environment's own time shows.

python -m benchmarks.bench_acting [--repeats 5] [--preset tiny] [--play]
"""

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from benchmarks.side_by_side import in_turns
from gato_model.acting.chunk import Chunk, batch
from gato_model.acting.decoder import Decoder
from gato_model.acting.policy import GatoPolicy
from gato_model.config import GatoConfig
from gato_model.network.model import Gato
from gato_tokenize import ContinuousSpec, EpisodeSpec, EpisodeTokenizer
from gato_tokenize.environments.playing import playable
from gato_tokenize.environments.recipe import Recipe
from gato_tokenize.sequence import ACTION_POSITION, NO_POSITION

SEEN, DONE = 39, 4
TOKENIZER = EpisodeTokenizer(EpisodeSpec(ContinuousSpec(SEEN), ContinuousSpec(DONE)))
RANGE = TOKENIZER.action_ranges[0].tolist()


def observations(rows: int, seed: int) -> list[Any]:
    return list(np.random.default_rng(seed).normal(size=(rows, SEEN)).astype(np.float32))


def policy(model: Gato, rows: int) -> Callable[[], Any]:
    """Act by GatoPolicy, from observations to actions, once the context is full."""
    acting = GatoPolicy(model, TOKENIZER, rows=rows)
    seen = observations(rows, 0)
    for _ in range(model.config.sequence_length // (SEEN + 1 + DONE) + 1):
        acting.act_many(seen)
    return lambda: acting.act_many(seen)


def token_by_token(model: Gato, rows: int) -> Callable[[], Any]:
    """Read each token of a timestep by a pass of its own, with the same cache."""
    decoder = Decoder(model, rows, longest=1)
    choose = tf.function(lambda hidden: decoder.choose(hidden, *RANGE, tf.constant(0.0)), autograph=False)
    one, action = tf.ones(rows, tf.int32), tf.fill([rows], ACTION_POSITION)
    decoder.counts.assign(tf.fill([rows], model.config.sequence_length))  # a full context, of zeros

    def act() -> Any:
        sequences = [TOKENIZER.encode_observation(seen) for seen in observations(rows, 0)]
        ids = np.stack([sequence.ids for sequence in sequences], 1)
        positions = [*range(SEEN), NO_POSITION]
        for token, position in zip(ids, positions, strict=True):
            hidden = decoder.append_one(token, tf.fill([rows], position), one)
        chosen = []
        for _ in range(DONE):
            chosen.append(choose(hidden))
            hidden = decoder.append_one(chosen[-1], action, one)
        return [TOKENIZER.decode_action(row) for row in np.stack(chosen, 1)]

    return act


def uncached(model: Gato, rows: int) -> Callable[[], Any]:
    """Predict each id of an action by a pass over the whole context, with the head only at its last token."""
    ids = np.random.default_rng(0).integers(*RANGE, (rows, model.config.sequence_length))
    chunks = {row: Chunk.of_ids(of_row, NO_POSITION) for row, of_row in enumerate(ids)}
    inputs = {name: tf.constant(value) for name, value in batch(chunks, rows).items()}
    inputs["segments"] = tf.ones_like(inputs["tokens"])

    @tf.function(autograph=False)
    def step() -> Any:
        table = model.token_embedding.table.value[RANGE[0] : RANGE[1]]
        return tf.argmax(tf.matmul(model.hidden(inputs)[:, -1], table, transpose_b=True), -1)

    return lambda: [step().numpy() for _ in range(DONE)]


def play(model: Gato, rows: int, steps: int = 30) -> tuple[float, float]:
    """Play Meta-World: the median milliseconds of all environments' step, and of the policy's action for them."""
    recipe = Recipe("Meta-World/MT1", '{"env_name": "reach-v3"}')
    acting = GatoPolicy(model, TOKENIZER, rows=rows)
    started = [recipe.start(seed) for seed in range(rows)]
    environments, seen = [one for one, _ in started], [first.astype(np.float32) for _, first in started]
    times: list[tuple[float, float]] = []
    for _ in range(steps):
        start = time.perf_counter()
        actions = acting.act_many(seen)
        middle = time.perf_counter()
        seen = [one.step(playable(one.action_space, action))[0].astype(np.float32)
                for one, action in zip(environments, actions, strict=True)]  # fmt: skip
        times.append((time.perf_counter() - middle, middle - start))
    for environment in environments:
        environment.close()
    return tuple((1e3 * np.median(times[5:], 0)).tolist())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--play", action="store_true")
    arguments = parser.parse_args()
    model = Gato(getattr(GatoConfig, arguments.preset)())
    for rows in (1, 20):
        ways = {"policy": policy, "cached, token by token": token_by_token, "uncached": uncached}
        seconds = in_turns({name: way(model, rows) for name, way in ways.items()}, arguments.repeats, inner=2)
        for name, value in seconds.items():
            ratio = value / seconds["policy"]
            print(f"{rows:3} environments, {name:<24} {1e3 * value:9.1f} ms an action of each  {ratio:7.1f}x")
        if arguments.play:
            world, acting = play(model, rows)
            print(f"{rows:3} environments, Meta-World: step {world:.1f} ms, the policy's action {acting:.1f} ms")


if __name__ == "__main__":
    main()
