"""What a notebook prints of an object is one short line."""

from pathlib import Path

import numpy as np
import pytest

from gato_tokenize import (
    ContinuousSpec,
    ContinuousTokenizer,
    Dataset,
    DiscreteTokenizer,
    Episode,
    EpisodeMetadata,
    EpisodeSpec,
    EpisodeTokenizer,
    ImageSpec,
    ImageTokenizer,
    Record,
    TextTokenizer,
    Vocabulary,
)
from gato_tokenize.storage.dataset import DatasetTokenizer

SPEC = EpisodeSpec({"eye": ImageSpec((32, 32, 3)), "joints": ContinuousSpec(30)}, ContinuousSpec(7))
METADATA = EpisodeMetadata("one/17", task="reach")
EPISODE = Episode(
    SPEC, {"eye": np.zeros((9, 32, 32, 3), np.uint8), "joints": np.zeros((9, 30))}, np.zeros((9, 7)), METADATA
)
TOKENIZER = EpisodeTokenizer(SPEC)
RECORD = Record(TOKENIZER.encode(EPISODE), METADATA)


@pytest.mark.parametrize(
    ("thing", "shown"),
    [
        (EPISODE, "<Episode 'one/17' of 9 timesteps: observation/eye, observation/joints, action>"),
        (TOKENIZER, "<EpisodeTokenizer of observation/eye, observation/joints, action>"),
        (RECORD.sequence, "<TokenSequence of 378 tokens, 9 timesteps, 9 images>"),
        (RECORD, "<Record 'one/17' of task 'reach': <TokenSequence of 378 tokens, 9 timesteps, 9 images>>"),
        (DatasetTokenizer.for_specs({"reach": SPEC}), "<DatasetTokenizer of 1 task, sha256 "),
        (ImageTokenizer(32, 48), "ImageTokenizer(height=32, width=48, max_pixels="),
        (ContinuousTokenizer(companded=True), "ContinuousTokenizer(companded=True)"),
        (DiscreteTokenizer(7), "DiscreteTokenizer("),
        (TextTokenizer(), "<TextTokenizer of 32000 pieces"),
        (Vocabulary(), "Vocabulary("),
    ],
    ids=lambda value: type(value).__name__,
)
def test_it_is_short(thing: object, shown: str) -> None:
    assert repr(thing).startswith(shown)
    assert len(repr(thing)) < 200 and "\n" not in repr(thing)


def test_a_dataset(tmp_path: "object") -> None:
    splits = {"train": {"records": 12}, "validation": {"records": 3}}
    manifest = {"splits": splits, "episodes": {"written": 14}, "inputs": ["x" * 10_000]}
    dataset = Dataset(tmp_path, manifest, DatasetTokenizer.for_specs({"reach": SPEC}))  # type: ignore[arg-type]
    assert repr(dataset) == f"<Dataset {tmp_path}: 14 episodes of 1 task; records: train 12, validation 3>"


def test_tokenizers_of_equal_settings_are_equal() -> None:
    alike = [
        (DiscreteTokenizer([3, 4], low=[0, -2]), DiscreteTokenizer(np.array([3, 4]), low=[0, -2])),
        (ContinuousTokenizer(companded=False, low=[0, -5], high=1), ContinuousTokenizer(companded=False, low=[0, -5])),
        (ContinuousTokenizer(companded=True), ContinuousTokenizer(companded=True)),
        (ImageTokenizer(32, 48), ImageTokenizer(height=32, width=48)),
    ]
    for one, other in alike:
        assert one == other and hash(one) == hash(other)
    different = [one for one, _ in alike] + [
        DiscreteTokenizer([3, 4]), DiscreteTokenizer([[3, 4]], low=[0, -2]), ContinuousTokenizer(companded=False),
        ContinuousTokenizer(companded=True, vocabulary=Vocabulary(continuous_bins=512)), ImageTokenizer(),
        DiscreteTokenizer([3, 4], low=[0, -2], vocabulary=Vocabulary(discrete_size=512)),
    ]  # fmt: skip
    assert len(set(different)) == len(different)
    assert DiscreteTokenizer(3) != 3


def test_a_tokenizer_is_saved_and_loaded_by_a_str(tmp_path: Path) -> None:
    made = DatasetTokenizer.for_specs({"reach": SPEC})
    made.save(str(tmp_path))
    assert DatasetTokenizer.load(str(tmp_path)).sha256 == made.sha256
