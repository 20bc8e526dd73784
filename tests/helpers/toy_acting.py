"""Shared by the tests of acting: a toy model, the uncached computation, an environment that is learnt in seconds."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import dataclasses

import gymnasium
import numpy as np
from layer_contract import TOY, spread

from gato_model.acting.chunk import Chunk
from gato_model.network.model import Gato
from gato_tokenize import (
    ContinuousSpec,
    DiscreteSpec,
    Episode,
    EpisodeSpec,
    EpisodeTokenizer,
    ImageSpec,
    Vocabulary,
)

VOCABULARY = Vocabulary(text_size=20, discrete_size=8, continuous_bins=21)  # 42 ids
CONFIG = dataclasses.replace(TOY, vocabulary_size=VOCABULARY.size, local_positions=16, sequence_length=24)
EMPTY_PATCHES = (np.zeros((1, 16, 16, 3), np.uint8), np.array([[0, 1, 0, 1]], np.int32))


def toy_model(**changes):
    """Make a model with random numbers in all weights, biases included."""
    return spread(Gato(dataclasses.replace(CONFIG, **changes)))


def uncached(model, chunk, window=None):
    """Compute float32[n, width], which the head reads at each of a chunk's tokens, by one pass over all of them."""
    patches, intervals = (chunk.patches, chunk.intervals) if len(chunk.places) else EMPTY_PATCHES
    index = chunk.places if len(chunk.places) else [len(chunk)]
    inputs = {
        "tokens": chunk.ids[None],
        "local_positions": chunk.positions[None],
        "segments": np.ones((1, len(chunk)), np.int32),
        "patches": patches,
        "patch_index": np.array(index, np.int32),
        "patch_intervals": intervals,
    }
    return model.hidden(inputs, window=window).numpy()[0]


def random_chunk(length, seed, patch_fraction=0.2):
    """Draw tokens of all kinds in any order: the decoder knows no layout."""
    generator = np.random.default_rng(seed)
    places = np.flatnonzero(generator.random(length) < patch_fraction)
    ids = generator.integers(0, CONFIG.vocabulary_size, length).astype(np.int32)
    ids[places] = 0
    low = generator.integers(0, CONFIG.quantization, (len(places), 2))
    return Chunk(
        ids,
        generator.integers(-2, CONFIG.local_positions, length).astype(np.int32),
        places,
        generator.integers(0, 256, (len(places), 16, 16, 3), np.uint8),
        np.stack([low[:, 0], low[:, 0] + 1, low[:, 1], low[:, 1] + 1], 1).astype(np.int32),
    )


# Two continuous values and a picture are seen, two numbers are done: 2 + 1 + 1 + 1 + 2 = 7 tokens a timestep.
SPEC = EpisodeSpec(
    {"camera": ImageSpec((16, 16, 3)), "digit": DiscreteSpec(5), "joint": ContinuousSpec(2)},
    {"key": DiscreteSpec(5), "mode": DiscreteSpec(3, low=-1)},
)
STEP = 7


def toy_tokenizer(spec=SPEC, **options):
    return EpisodeTokenizer(spec, VOCABULARY, **options)


def observation(seed, digit=None):
    generator = np.random.default_rng(seed)
    return {
        "camera": generator.integers(0, 256, (16, 16, 3), np.uint8),
        "digit": int(generator.integers(5)) if digit is None else digit,
        "joint": generator.normal(size=2).astype(np.float32),
    }


def demonstration(steps, seed=0):
    """Make a token sequence of SPEC."""
    generator = np.random.default_rng(seed)
    seen = [observation(1000 * seed + i) for i in range(steps)]
    stacked = {key: np.stack([one[key] for one in seen]) for key in seen[0]}
    done = {"key": generator.integers(0, 5, steps), "mode": generator.integers(-1, 2, steps)}
    return toy_tokenizer().encode(Episode(SPEC, stacked, done))


class Copying(gymnasium.Env):
    """8 timesteps; a reward of 1 for doing (digit now, digit now modulo 3), which gives 8 at best."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}
    observation_space = gymnasium.spaces.Discrete(5)
    action_space = gymnasium.spaces.MultiDiscrete([5, 3])

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.digit = 0, int(self.np_random.integers(5))
        return self.digit, {}

    def step(self, action):
        right = tuple(action) == copied(self.digit)
        self.steps, self.digit = self.steps + 1, int(self.np_random.integers(5))
        return self.digit, float(right), self.steps == 8, False, {}

    def render(self):
        return np.full((20, 30, 3), 50 * self.digit, np.uint8)


def copied(digit):
    return digit, digit % 3


COPYING = "toy_acting:Copying-v0"
gymnasium.register("Copying-v0", Copying)
COPYING_SPEC = EpisodeSpec(DiscreteSpec(5), DiscreteSpec((5, 3), (2,)))


def copying_episode(seed, steps=8):
    digits = np.random.default_rng(seed).integers(0, 5, steps)
    return Episode(COPYING_SPEC, digits, np.array([copied(digit) for digit in digits.tolist()]))


def trained_on_copying(vocabulary, steps=80, **changes):
    """Train a model to copy; a timestep has 1 + 1 + 2 tokens."""
    import keras
    import tensorflow as tf

    model = toy_model(vocabulary_size=vocabulary.size, stochastic_depth=0.0, **changes)
    model.compile(keras.optimizers.Adam(1e-2))
    tokenizer = EpisodeTokenizer(COPYING_SPEC, vocabulary)
    batch = _batch([tokenizer.encode(copying_episode(seed)) for seed in range(16)])
    model.fit(tf.data.Dataset.from_tensors(batch).repeat(steps), shuffle=False, verbose=0)
    return model


def _batch(sequences):
    tokens = np.stack([sequence.ids for sequence in sequences])
    predicted = np.stack([sequence.loss_mask for sequence in sequences])[:, 1:]
    rows, length = tokens.shape
    place = np.arange(rows * length).reshape(rows, length)[:, :-1]
    return {
        "tokens": tokens,
        "local_positions": np.stack([sequence.local_positions for sequence in sequences]),
        "segments": np.ones((rows, length), np.int32),
        "targets": np.roll(tokens, -1, axis=1),
        "target_index": place[predicted == 1].astype(np.int32),
        "patches": EMPTY_PATCHES[0],
        "patch_index": np.array([rows * length], np.int32),
        "patch_intervals": EMPTY_PATCHES[1],
    }
