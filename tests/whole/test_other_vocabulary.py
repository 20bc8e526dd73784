"""A vocabulary that is not the paper's, from converting through training to acting."""

import json

import numpy as np
import pytest
import toy_acting  # noqa: F401 - quiets TensorFlow

from gato_model.__main__ import main as gato_model
from gato_model.acting.policy import GatoPolicy
from gato_model.config import GatoConfig
from gato_model.training.checkpoint import load
from gato_tokenize import Vocabulary
from gato_tokenize.storage.dataset import DatasetTokenizer
from pipelines.__main__ import main as gato_data

SMALL = ["--set", "num_layers=1", "num_heads=2", "width=32", "key_value_size=16", "feed_forward_size=64"]
TRAIN = ["--steps", "1", "--batch-size", "2", "--sequence-length", "32", "--evaluate-every", "0"]
VOCABULARY = "disjoint=true,discrete_size=5,continuous_bins=64,text_size=10"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vocabularies")
    source = "rollouts:CartPole-v1?policy=random&episodes=3"
    options = ["--vocabulary", VOCABULARY, "--local-positions", "600"]
    assert gato_data(["convert", source, "--out", str(folder / "other/1.0.0"), *options]) == 0
    assert gato_data(["convert", source, "--out", str(folder / "usual/1.0.0")]) == 0
    return folder


def train(data, *words, name="other"):
    return gato_model(["train", "--data", str(data / name / "1.0.0"), *TRAIN, *SMALL, *words])


def test_the_model_follows_the_data_and_acts_in_its_ids(data, tmp_path, capsys):
    assert train(data, "--out", str(tmp_path / "run")) == 0
    config = GatoConfig.from_json((tmp_path / "run/config.json").read_text())
    assert (config.vocabulary_size, config.local_positions) == (10 + 64 + 1 + 5, 600)
    tokenizer = DatasetTokenizer.load(tmp_path / "run").task("CartPole-v1")
    assert tokenizer.vocabulary == Vocabulary(10, 5, 64, disjoint=True)
    assert tokenizer.action_ranges.tolist() == [[75, 77]]
    policy = GatoPolicy(load(tmp_path / "run"), tokenizer)
    assert policy.act(np.zeros(4, np.float32)) in (0, 1)
    capsys.readouterr()
    words = ["--episodes", "2", "--seeds", "0:2", "--json"]
    assert gato_model(["evaluate", "--checkpoint", str(tmp_path / "run"), "--env", "CartPole-v1", *words]) == 0
    assert len(json.loads(capsys.readouterr().out)["tasks"][0]["gato"]["returns"]) == 2


def test_sizes_that_are_set_and_do_not_fit_are_refused_with_the_ones_that_do(data, tmp_path, capsys):
    assert train(data, "vocabulary_size=33025", "--out", str(tmp_path / "run")) == 2
    assert "80 ids, the model's 33025: set vocabulary_size=80" in capsys.readouterr().err
    assert train(data, "local_positions=512", "--out", str(tmp_path / "run")) == 2
    assert "set local_positions=600, or convert the data with --local-positions 512" in capsys.readouterr().err


def test_a_mixture_of_two_vocabularies_is_refused_with_the_options_that_cure_it(data, tmp_path, capsys):
    assert train(data, "--data", *(str(data / name / "1.0.0") for name in ("other", "usual")), "--out", "run") == 2
    error = capsys.readouterr().err
    assert "different vocabularies" in error and "with the other's --vocabulary and --text-model" in error
