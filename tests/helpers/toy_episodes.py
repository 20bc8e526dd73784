"""The toy step of the paper's figure, and an episode of every kind of field."""

import numpy as np

from gato_tokenize import ContinuousSpec, DiscreteSpec, Episode, EpisodeSpec, ImageSpec, TextSpec, TextTokenizer

TEXT = TextTokenizer()


TOY = EpisodeSpec(
    {"image": ImageSpec((64, 80, 3)), "instruction": TextSpec(), "proprio": ContinuousSpec(3)}, ContinuousSpec(3)
)


def toy_episode(steps: int = 1) -> Episode:
    frames = np.arange(steps * 64 * 80 * 3).astype(np.uint8).reshape(steps, 64, 80, 3)
    observation = {"image": frames, "instruction": [TEXT.decode([900, 905])] * steps, "proprio": [[0, 1, -5]] * steps}
    return Episode(TOY, observation, [[0.25, -1, 1]] * steps)


def nested_spec() -> EpisodeSpec:
    observation = {
        "a-b": DiscreteSpec((3, 5), 2, (0, -2)),
        "a": {"z": ImageSpec((20, 40)), "b": TextSpec(), "c": ImageSpec((16, 16, 3))},
        "text": TextSpec(predict=False),
        "v": ContinuousSpec((2, 2)),
    }
    return EpisodeSpec(observation, {"grip": DiscreteSpec(2), "arm": ContinuousSpec(2, (0.0, -5.0), (10.0, 5.0))})


def nested_episode(steps: int, seed: int) -> Episode:
    generator = np.random.default_rng(seed)
    words = ["", "go", "go to the red ball", "▁ odd  spaces\n"]
    observation = {
        "a-b": np.stack([generator.integers(0, 3, steps), generator.integers(-2, 3, steps)], axis=1),
        "a": {
            "z": generator.integers(0, 256, (steps, 20, 40), dtype=np.uint8),
            "b": [words[i] for i in generator.integers(0, 4, steps)],
            "c": generator.integers(0, 256, (steps, 16, 16, 3), dtype=np.uint8),
        },
        "text": [words[i] for i in generator.integers(0, 4, steps)],
        "v": generator.normal(0, 3, (steps, 2, 2)),
    }
    action = {"grip": generator.integers(0, 2, steps), "arm": generator.uniform([0, -5], [10, 5], (steps, 2))}
    return Episode(nested_spec(), observation, action)
