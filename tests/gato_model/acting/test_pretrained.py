"""An export is loaded back: logits equal, actions and texts equal, read by safetensors alone; damage and refusals."""

import json
import os

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from toy_acting import CONFIG, COPYING_SPEC, SPEC, VOCABULARY, observation, random_chunk, toy_model, uncached

from gato_model.acting.generator import Generator
from gato_model.acting.policy import GatoPolicy
from gato_model.acting.pretrained import load_model, save_pretrained
from gato_model.training.checkpoint import CheckpointError, Checkpoints
from gato_model.training.optimizer import OptimizerSettings
from gato_tokenize import EpisodeSpec
from gato_tokenize.storage.dataset import DatasetTokenizer

TOKENIZER = DatasetTokenizer({"toy": SPEC}, VOCABULARY)
WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def model():
    return toy_model()


@pytest.fixture
def export(model, tmp_path):
    save_pretrained(model, TOKENIZER, tmp_path / "export")
    return tmp_path / "export"


@pytest.fixture
def run(model, tmp_path):
    """The folder of a run of no steps."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.json").write_text(CONFIG.to_json())
    TOKENIZER.save(folder)
    checkpoints = Checkpoints(folder, model, OptimizerSettings(warmup_steps=1, decay_steps=4).make(model))
    checkpoints.save(1)
    checkpoints.close()
    return folder


def test_the_logits_are_the_same(model, export):
    loaded, chunk = load_model(export), random_chunk(20, seed=0)
    assert loaded.config == model.config
    assert np.array_equal(uncached(loaded, chunk), uncached(model, chunk))
    assert np.abs(uncached(toy_model(), chunk) - uncached(type(model)(model.config), chunk)).max() > 0.1


def test_half_the_size_rounds_each_weight_once(model, export, tmp_path):
    save_pretrained(model, TOKENIZER, tmp_path / "half", half=True)
    sizes = [(folder / WEIGHTS).stat().st_size for folder in (export, tmp_path / "half")]
    assert 0.5 <= sizes[1] / sizes[0] < 0.55
    loaded = load_model(tmp_path / "half")
    for variable, original in zip(loaded.weights, model.weights, strict=True):
        assert variable.dtype == "float32"
        assert np.array_equal(variable.numpy(), original.numpy().astype(np.float16).astype(np.float32))


def test_a_weight_that_float16_cannot_hold_is_named(tmp_path):
    large = toy_model()
    large.weights[0].assign(np.full(large.weights[0].shape, 1e5, np.float32))
    with pytest.raises(
        ValueError, match="float16 cannot hold .*: its largest value is 100000; export it without --half"
    ):
        save_pretrained(large, TOKENIZER, tmp_path / "half", half=True)
    assert not (tmp_path / "half").exists(), "the same folder can be given again"


@pytest.mark.parametrize("kind", ["export", "run"])
def test_a_policy_acts_as_the_model_does(model, kind, request):
    policy = GatoPolicy.from_pretrained(request.getfixturevalue(kind), "toy", temperature=2.0, rows=2)
    expected = GatoPolicy(model, TOKENIZER.task("toy"), temperature=2.0, rows=2)
    for i in range(4):
        seen = [observation(2 * i), observation(2 * i + 1)]
        assert policy.act_many(seen) == expected.act_many(seen)


def test_a_generator_writes_as_the_model_does(tmp_path):
    tokenizer = DatasetTokenizer.for_specs({"text": EpisodeSpec.document()})
    model = toy_model(vocabulary_size=tokenizer.vocabulary.size)
    save_pretrained(model, tokenizer, tmp_path / "export")
    one = Generator.from_pretrained(tmp_path / "export", temperature=5.0, top_k=50)
    other = Generator(model, tokenizer, temperature=5.0, top_k=50)
    assert one.continue_text("the", 9, seed=3) == other.continue_text("the", 9, seed=3) != "the"


def test_other_libraries_read_the_weights_by_path(model, export):
    with safetensors.safe_open(export / WEIGHTS, "numpy") as file:
        table = file.get_tensor("token_embedding.table")
        assert file.get_slice("transformer.norm.gamma").get_dtype() == "F32"
    assert np.array_equal(table, model.token_embedding.table.numpy())
    assert json.loads((export / "config.json").read_text())["num_layers"] == CONFIG.num_layers
    assert sorted(path.name for path in export.iterdir()) == ["config.json", WEIGHTS, "tokenizer"]
    assert (export / WEIGHTS).stat().st_mode == (export / "config.json").stat().st_mode  # others may read it


def test_the_task_may_be_left_out_if_there_is_one(model, tmp_path):
    document = EpisodeSpec({"value": COPYING_SPEC.observation}, timesteps=False)
    for name, more in (("one", {"text": document}), ("two", {"b": COPYING_SPEC}), ("none", {})):
        tasks = {"text": document} if name == "none" else {"a": COPYING_SPEC, **more}
        save_pretrained(model, DatasetTokenizer(tasks, VOCABULARY), tmp_path / name)
    assert GatoPolicy.from_pretrained(tmp_path / "one").tokenizer.spec == COPYING_SPEC
    with pytest.raises(KeyError, match="name the task: this model knows a, b"):
        GatoPolicy.from_pretrained(tmp_path / "two")
    with pytest.raises(KeyError, match="none that has actions"):
        GatoPolicy.from_pretrained(tmp_path / "none")
    with pytest.raises(KeyError, match="no task 'c'; tasks: a, b"):
        GatoPolicy.from_pretrained(tmp_path / "two", "c")


def test_a_cut_file_is_damaged(export):
    whole = (export / WEIGHTS).read_bytes()
    (export / WEIGHTS).write_bytes(whole[:-100])
    with pytest.raises(CheckpointError, match="model.safetensors is damaged, or no safetensors file"):
        load_model(export)


@pytest.mark.parametrize("change", ["missing", "added", "reshaped"])
def test_weights_of_another_model(export, change):
    weights = safetensors.numpy.load_file(export / WEIGHTS)
    name = "transformer.norm.gamma"
    changed = {"missing": {}, "added": {name: weights[name], "a": weights[name]}, "reshaped": {name: weights[name][1:]}}
    others = {key: value for key, value in weights.items() if key != name}
    safetensors.numpy.save_file({**others, **changed[change]}, export / WEIGHTS)
    with pytest.raises(CheckpointError, match="does not hold the weights of the model that config.json"):
        load_model(export)


def test_a_folder_that_holds_no_model(tmp_path):
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").touch()
    for name, what in (("saved", "it is a SavedModel"), ("nope", "there is nothing")):
        with pytest.raises(CheckpointError, match=f"is not the folder of a training run or an export: {what}"):
            GatoPolicy.from_pretrained(tmp_path / name, "toy")


def test_a_folder_that_is_taken(model, export, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match="cannot become an export, because it is an exported model"):
        save_pretrained(model, TOKENIZER, export)
    with pytest.raises(FileExistsError, match="because it is a file"):
        save_pretrained(model, TOKENIZER, tmp_path / "file")
    (tmp_path / "empty").mkdir()
    save_pretrained(model, TOKENIZER, tmp_path / "empty")


def test_a_write_that_fails_leaves_no_export(model, tmp_path, monkeypatch):
    def full(_):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_pretrained(model, TOKENIZER, tmp_path / "export")
    assert not (tmp_path / "export" / WEIGHTS).exists()
