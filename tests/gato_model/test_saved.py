"""Models and checkpoints that an older tree of this repository wrote: they load, and compute what they computed."""

import tarfile
from pathlib import Path

import keras
import numpy as np
import pytest

from gato_model import Gato, GatoConfig, load
from gato_model.training.checkpoint import Checkpoints
from gato_model.training.optimizer import OptimizerSettings

SAVED = Path(__file__).parents[1] / "data/saved"
CONFIG = GatoConfig(
    1, 2, 8, 4, 8, sequence_length=8, vocabulary_size=10, local_positions=4, quantization=4, patch_channels=32
)
BATCH = {
    "tokens": np.array([[1, 2, 0, 3]], np.int32),
    "local_positions": np.array([[0, 1, 2, -2]], np.int32),
    "segments": np.ones((1, 4), np.int32),
    "patches": np.arange(256 * 3, dtype=np.int64).reshape(1, 16, 16, 3).astype(np.uint8),
    "patch_index": np.array([2], np.int32),
    "patch_intervals": np.array([[0, 2, 1, 4]], np.int32),
}
LOGITS = [  # of ids 0 to 3 at each of the four tokens, as the older tree computed them
    [0.7051467, -0.465034, -0.64878625, 0.52362835],
    [0.18648742, -0.28947768, 0.21221344, 0.1394997],
    [0.50066507, -0.33033335, -0.5002321, 0.58308953],
    [0.2860451, -0.28257406, -0.57288134, 0.55542225],
]


def weights_by_number(model):
    """Numbers that compress well, other ones in each variable: two that change places are noticed."""
    return [np.resize(np.roll(np.arange(-5, 6) / 10, i), v.shape) for i, v in enumerate(model.weights)]


def check(model):
    assert model.config == CONFIG
    for variable, expected in zip(model.weights, weights_by_number(model), strict=True):
        np.testing.assert_allclose(variable, expected, rtol=1e-6, err_msg=variable.path)
    np.testing.assert_allclose(model(BATCH)[0, :, :4], LOGITS, atol=1e-5)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3.15 beside numpy 2
def test_a_keras_file_of_the_flat_tree():
    """Written at commit a2fbe6f, when all modules lay directly in `gato_model`:

    model = Gato(CONFIG)
    model.set_weights(weights_by_number(model))
    model.save("stored.keras")

    and packed again with zip's DEFLATE, which makes 5 KB of 177.
    """
    model = keras.models.load_model(SAVED / "gato.keras")
    assert isinstance(model, Gato)
    check(model)


def test_a_run_of_the_flat_tree(tmp_path):
    """Written at the same commit with the same model:

    Path("run/config.json").write_text(CONFIG.to_json())
    optimizer = OptimizerSettings(warmup_steps=1, decay_steps=4).make(model)
    Checkpoints(Path("run"), model, optimizer).save(3)

    and packed by `tarfile`, as "w:gz".
    """
    with tarfile.open(SAVED / "run.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    check(load(tmp_path / "run"))
    model = Gato(CONFIG)
    optimizer = OptimizerSettings(warmup_steps=1, decay_steps=4).make(model)
    checkpoints = Checkpoints(tmp_path / "run", model, optimizer)
    assert checkpoints.restore() == 3  # weights and optimizer: training goes on
    check(model)
    checkpoints.close()
