import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from layer_contract import TOY

from gato_model.config import GatoConfig
from gato_model.network.model import Gato

PRESETS = {"small": 79e6, "baseline": 364e6, "large": 1.18e9}  # as printed in the paper


def test_parameters_by_hand():
    config = GatoConfig(1, 1, 2, 3, 4, vocabulary_size=5, local_positions=6, quantization=7, patch_channels=32)
    attention = 2 * 9 + 2 * 3 + 3 * 2 + 3 + 3  # queries, keys and values; distances; output; two biases
    feed_forward = 2 * 4 + 2 * 2  # gate and value of two each
    norms = 3 * (2 + 2)  # two of the block, the final one
    tables = 5 * 2 + (6 + 1) * 2 + 2 * 7 * 2
    stem, convolution = 7 * 7 * 3 * 32 + 32, 3 * 3 * 32 * 32 + 32
    patches = stem + 2 * (64 + convolution) + (32 * 32 + 32) + 64 + (4 * 4 * 32 * 2 + 2)
    assert config.parameter_count() == attention + feed_forward + norms + tables + patches


@pytest.mark.parametrize("name", PRESETS)
def test_presets_have_the_printed_size(name):
    assert getattr(GatoConfig, name)().parameter_count() == pytest.approx(PRESETS[name], rel=0.015)


def test_presets_have_the_printed_shape():
    """Appendix C.1: blocks, heads, width, feed-forward, key-value size."""
    shapes = {
        "large": (24, 16, 2048, 8192, 128),
        "baseline": (12, 12, 1536, 6144, 128),
        "small": (8, 24, 768, 3072, 32),
    }
    names = ("num_layers", "num_heads", "width", "feed_forward_size", "key_value_size")
    for preset, shape in shapes.items():
        config = getattr(GatoConfig, preset)()
        assert tuple(getattr(config, name) for name in names) == shape
        assert (config.sequence_length, config.vocabulary_size, config.local_positions) == (1024, 33_025, 512)
        assert (config.quantization, config.stochastic_depth, config.dropout) == (128, 0.1, 0.0)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"patch_blocks": 3, "patch_channels": 64},
        {"num_heads": 3, "key_value_size": 5, "num_layers": 1},
        {"quantization": 9, "local_positions": 1, "vocabulary_size": 7, "feed_forward_size": 2, "width": 6},
        {"dropout": 0.5, "stochastic_depth": 0.0, "sequence_length": 1},
    ],
    ids=str,
)
def test_the_count_is_that_of_the_built_model(changes):
    config = dataclasses.replace(TOY, **changes)
    model = Gato(config)
    assert config.parameter_count() == model.count_params()
    assert config.parameter_count() == sum(np.size(weights) for weights in model.get_weights())


def test_counting_needs_no_tensorflow():
    code = "import sys; from gato_model import GatoConfig; GatoConfig.large().parameter_count(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "gato_model.config" in done.stdout.split()
    assert not {"tensorflow", "keras"} & set(done.stdout.split())


def test_presets_can_be_altered():
    assert GatoConfig.small(sequence_length=512) == dataclasses.replace(GatoConfig.small(), sequence_length=512)
    assert GatoConfig.tiny(width=64).width == 64
    assert GatoConfig.tiny(vocabulary_size=1).parameter_count() < 2e6


def test_there_and_back_as_json():
    config = dataclasses.replace(TOY, dropout=0.25)
    assert GatoConfig.from_json(config.to_json()) == config
    assert json.loads(config.to_json())["dropout"] == 0.25


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_layers": 0}, "num_layers must be a positive int, not 0"),
        ({"width": -2}, "width must be a positive int, not -2"),
        ({"num_heads": 2.0}, "num_heads must be a positive int, not 2.0"),
        ({"patch_blocks": True}, "patch_blocks must be a positive int, not True"),
        ({"vocabulary_size": "many"}, "vocabulary_size must be a positive int, not 'many'"),
        ({"width": 33}, "width 33 is odd: half of it holds sines"),
        ({"feed_forward_size": 47}, "feed_forward_size 47 is odd: gate and value take half each"),
        ({"patch_channels": 48}, "patch_channels must be a multiple of the 32 groups, not 48"),
        ({"dropout": 1.0}, r"dropout is a probability in \[0, 1\), not 1.0"),
        ({"stochastic_depth": -0.1}, "stochastic_depth is a probability"),
        ({"stochastic_depth": float("nan")}, "stochastic_depth is a probability"),
        ({"dropout": None}, "dropout is a probability"),
        ({"dropout": True}, "dropout is a probability"),
    ],
    ids=str,
)
def test_nonsense_is_refused_when_built(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TOY, **changes)


def test_json_of_another_shape_is_refused_by_the_names_of_keys():
    values = json.loads(TOY.to_json())
    del values["width"]
    with pytest.raises(ValueError, match=r"wrong: \['breadth', 'width'\]"):
        GatoConfig.from_json(json.dumps({**values, "breadth": 32}))
    with pytest.raises(ValueError, match=r"wrong: \[1, 2\]"):
        GatoConfig.from_json("[1, 2]")
