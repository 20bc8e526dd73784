"""Runs: gradients by sums, the exact curve after a kill, what is refused, several workers."""

import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras
import tensorflow as tf
from model_datasets import write_dataset, write_documents
from PIL import Image
from s3_server import s3_server, upload

from gato_model.__main__ import main
from gato_model.acting.pretrained import save_pretrained
from gato_model.config import GatoConfig
from gato_model.data.batches import batches
from gato_model.data.share import Share
from gato_model.network.model import Gato
from gato_model.training.checkpoint import CheckpointError, Checkpoints, best_step, load
from gato_model.training.optimizer import OptimizerSettings
from gato_model.training.run import train
from gato_model.training.run_folder import RefusedError, TrainingError, open_run
from gato_model.training.run_log import read_metrics
from gato_model.training.settings import RunOptions, TrainSettings
from gato_model.training.training_step import TrainingStep
from gato_tokenize import Dataset, Vocabulary
from gato_tokenize.storage.dataset import DatasetTokenizer

ROOT = Path(__file__).parents[3]
CONFIG = GatoConfig(1, 2, 32, 16, 64, sequence_length=160, patch_channels=32)
FAST = OptimizerSettings(3e-3, warmup_steps=2, decay_steps=100)


@pytest.fixture(scope="module", autouse=True)
def eagerly():
    """Nothing is compiled, which would take most of the time of a run of few steps; `compiled` makes exceptions."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def compiled():
    """The step is compiled, as in every run of the command."""
    tf.config.run_functions_eagerly(False)
    yield
    tf.config.run_functions_eagerly(True)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """{"symbolic": ..., "documents": ...}, each with held-out episodes."""
    folder = tmp_path_factory.mktemp("train-data")
    before = os.getcwd()
    os.chdir(folder)
    try:
        source = "rollouts:BabyAI-GoToLocal-v0?image=cells&episodes=40"
        return {
            "symbolic": write_dataset(folder / "symbolic" / "1.0.0", [source], validation_fraction=0.2),
            "rods": write_dataset(folder / "rods" / "1.0.0", ["rollouts:Pendulum-v1?policy=random&episodes=3"]),
            "documents": write_dataset(folder / "documents" / "1.0.0", [write_documents()], validation_fraction=0.2),
        }
    finally:
        os.chdir(before)


def settings(data, *names, **changes):
    shares = tuple(Share(str(data[name])) for name in names or ("symbolic",))
    return TrainSettings(
        shares,
        changes.pop("config", CONFIG),
        changes.pop("optimizer", FAST),
        **{"steps": 6, "batch_size": 4, **changes},
    )


def losses(out):
    return [line["loss"] for line in read_metrics(out) if "loss" in line]


def without_speed(out):
    return [{name: value for name, value in line.items() if name != "tokens_per_second"} for line in read_metrics(out)]


EVERY = RunOptions(log_every=1, save_every=2, evaluate_every=3, evaluation_batches=2)


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """A run of 6 steps. To be read only, like `half`: what goes on with it, or spoils it, takes a copy."""
    path = tmp_path_factory.mktemp("runs") / "whole"
    train(settings(data), path, EVERY)
    return path


@pytest.fixture(scope="module")
def half(data, tmp_path_factory):
    """A run of the same settings, but for its 3 steps."""
    path = tmp_path_factory.mktemp("runs") / "half"
    train(settings(data, steps=3), path, EVERY)
    return path


# ------------------------------------------------------------------------------------------------- the step


def make_step(data, total_rows=4, clip_norm=None, jit_compile=False, plain=False, datasets=1):
    """plain: gradient descent, which shows every error of a gradient's size; Adam hides it, and makes much of noise."""
    keras.utils.set_random_seed(1)
    model = Gato(CONFIG)
    optimizer = keras.optimizers.SGD(0.1) if plain else FAST.make(model)
    strategy = tf.distribute.get_strategy()
    return TrainingStep(strategy, model, optimizer, datasets, total_rows, 0, clip_norm, jit_compile)


def weights(step):
    return np.concatenate([variable.numpy().ravel() for variable in step.model.trainable_variables])


def test_parts_of_a_batch_move_the_weights_as_the_whole_does(data, compiled):
    """Stochastic depth and parts of different token counts included: sums, not means, are added up."""
    shares = [Share(str(data[name])) for name in ("symbolic", "documents")]
    whole, cut = (make_step(data, plain=True, datasets=2) for _ in range(2))
    start, counts = weights(whole), []
    for number in range(3):
        full = batches(shares, 4, 160).batch(number)
        halves = [batches(shares, 4, 160, rows=rows).batch(number) for rows in ((0, 2), (2, 4))]
        counts.append([int(half["target_mask"].sum()) for half in halves])
        one, norm = whole([whole.replicated([full], [0])], number)
        other, norm_of_parts = cut(
            [cut.replicated([half], [first]) for half, first in zip(halves, (0, 2), strict=True)], number
        )
        np.testing.assert_allclose(one, other, rtol=1e-5)
        assert norm == pytest.approx(norm_of_parts, rel=1e-4)
    assert any(first != second for first, second in counts)
    assert np.abs(weights(whole) - start).max() > 1e-3
    np.testing.assert_allclose(weights(whole), weights(cut), atol=2e-5)


def test_the_loss_is_the_mean_over_predicted_tokens(data):
    step = make_step(data)
    batch = batches(str(data["symbolic"]), 4, 160).batch(0)
    sums = step.evaluate(step.replicated([batch], [0]))
    logits = step.model({name: tf.constant(value) for name, value in batch.items() if name != "target_index"}).numpy()
    chosen = batch["target_mask"].astype(bool)
    log_probability = logits - np.log(np.exp(logits.astype(np.float64)).sum(-1, keepdims=True))
    right = np.take_along_axis(log_probability, batch["targets"][..., None], -1)[..., 0]
    assert sums[..., 2].sum() == chosen.sum()
    assert sums[..., 0].sum() == pytest.approx(-right[chosen].sum(), rel=1e-5)


def test_clipping_shortens_the_gradient_of_all_weights_together(data):
    """Plain gradient descent shows it: the step's length is the rate times the clipped norm."""
    step = make_step(data, clip_norm=0.5)
    step.optimizer = keras.optimizers.SGD(1.0)
    step.optimizer.build(step.model.trainable_variables)
    before = weights(step)
    _, norm = step([step.replicated([batches(str(data["symbolic"]), 4, 160).batch(0)], [0])], 0)
    assert norm > 0.5
    assert np.linalg.norm(weights(step) - before) == pytest.approx(0.5, rel=1e-3)


# -------------------------------------------------------------------------------------------------- a run


def test_a_run_learns_and_tells(data, tmp_path, capfd, compiled):
    table = train(settings(data, "symbolic", "documents", steps=30), tmp_path / "run", EVERY)
    curve = losses(tmp_path / "run")
    assert len(curve) == 30 and np.mean(curve[-3:]) < np.mean(curve[:3]) - 1
    assert set(table.rows()) == {"BabyAI/text", "BabyAI/discrete_action", "text/text"}
    assert "held out: loss" in capfd.readouterr().err
    assert list((tmp_path / "run" / "tensorboard").glob("events*"))
    model = load(tmp_path / "run")
    assert model.config == CONFIG
    assert set(DatasetTokenizer.load(tmp_path / "run").specs) == {"BabyAI-GoToLocal-v0-cells", "text"}
    kept = sorted(path.stem for path in (tmp_path / "run/checkpoints/last").glob("*.index"))
    assert kept == ["step-26", "step-28", "step-30"]


def test_stopped_and_started_again_the_curve_is_the_same(data, whole, tmp_path):
    """Once in this process: 4 steps, then the rest in a new model; the weights and the best loss are equal, too."""
    cut = shutil.copytree(whole, tmp_path / "cut")
    for path in (cut / "checkpoints" / "last").glob("step-6*"):
        path.unlink()
    state = cut / "checkpoints" / "last" / "checkpoint"
    state.write_text('model_checkpoint_path: "step-4"\nall_model_checkpoint_paths: "step-4"\n')
    with open(cut / "metrics.jsonl", "a") as file:
        file.write('{"step": 5, "lo')  # what a kill leaves
    train(settings(data), cut, EVERY)
    assert losses(cut) == losses(whole)
    assert without_speed(cut) == without_speed(whole)


def command(out, *data, **options):
    words = [sys.executable, "-m", "gato_model", "train", "--data", *map(str, data), "--out", str(out)]
    sizes = ["--set", "num_layers=1", "num_heads=2", "width=32", "key_value_size=16", "feed_forward_size=64"]
    usual = {"steps": 40, "batch-size": 4, "sequence-length": 160, "learning-rate": 3e-3, "log-every": 1,
             "save-every": 5, "evaluate-every": 0}  # fmt: skip
    for name, value in {**usual, **options}.items():
        words += [f"--{name}", str(value)]
    return [*words, *sizes]


def train_here(out, *data, **options):
    """Run the command in this process, which has TensorFlow already."""
    assert main(command(out, *data, **options)[3:]) == 0


def environment(**more):
    return {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", **more}


def wait_for(condition, process, seconds=240):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.05)


def test_killed_in_mid_run_the_curve_goes_on_identically(data, tmp_path, compiled):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train_here(whole, data["symbolic"])
    process = subprocess.Popen(command(killed, data["symbolic"]), env=environment(), cwd=ROOT, stderr=subprocess.PIPE)
    lines = killed / "metrics.jsonl"
    wait_for(lambda: lines.exists() and lines.read_text().count("\n") >= 8, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = lines.read_text().count("\n")
    assert done < 40
    subprocess.run(command(killed, data["symbolic"]), check=True, env=environment(), cwd=ROOT, capture_output=True)
    assert losses(killed) == losses(whole)
    assert len(losses(whole)) == 40


def test_a_loss_that_is_not_a_number_stops_and_names_step_and_dataset(data, tmp_path):
    wild = OptimizerSettings(1e30, warmup_steps=0, decay_steps=1000)
    with pytest.raises(TrainingError, match=r"not a finite number at step [1-5]: symbolic.*--learning-rate"):
        train(settings(data, optimizer=wild), tmp_path / "run", EVERY)


def test_another_run_in_the_same_folder_is_refused(data, tmp_path):
    open_run(settings(data, steps=1), tmp_path)
    with pytest.raises(TrainingError, match=r"other settings \(seed, steps\).*--steps may be larger"):
        train(settings(data, steps=2, seed=1), tmp_path)


def test_a_finished_run_goes_on_for_longer(data, whole, half, tmp_path, capfd):
    """With a schedule that does not depend on the number of steps, the curve is that of a run planned for it."""
    shutil.copytree(half, tmp_path / "longer")
    train(settings(data, steps=3), tmp_path / "longer", EVERY)
    assert "has all its 3 steps: a larger --steps trains it for longer" in capfd.readouterr().err
    train(settings(data), tmp_path / "longer", EVERY)
    said = capfd.readouterr().err
    assert "is trained for 6 steps instead of 3" in said
    assert "goes on after step 3 of 6" in said
    assert losses(tmp_path / "longer") == losses(whole)
    assert (tmp_path / "longer" / "run.json").read_text() == (whole / "run.json").read_text()
    with pytest.raises(RefusedError, match=r"other settings \(steps\)"):
        train(settings(data, steps=5), tmp_path / "longer", EVERY)


def test_settings_that_are_newer_than_a_run_had_their_defaults(data, tmp_path):
    open_run(settings(data, steps=2), tmp_path)
    path = tmp_path / "run.json"
    old = json.loads(path.read_text())
    for name in ("ordered_start", "smoothing"):
        del old[name]
    del old["optimizer"]["final_fraction"]
    path.write_text(json.dumps(old))
    (note,) = open_run(settings(data, steps=3), tmp_path)
    assert "is trained for 3 steps instead of 2" in note
    with pytest.raises(RefusedError, match="smoothing"):
        open_run(settings(data, steps=4, smoothing=0.1), tmp_path)


def test_smoothing_and_an_ordered_start_change_what_is_learned(data, tmp_path):
    """In the third step's loss: the rate of the first is as good as none."""
    curves = set()
    for name, changes in {"plain": {}, "ordered": {"ordered_start": True}, "smoothed": {"smoothing": 0.5}}.items():
        changes = {**changes, "optimizer": dataclasses.replace(FAST, final_fraction=0.0)}
        train(settings(data, "rods", steps=3, **changes), tmp_path / name, RunOptions(log_every=1, evaluate_every=0))
        curves.add(tuple(losses(tmp_path / name)))
    assert len(curves) == 3


def test_a_dataset_or_a_file_does_not_become_a_run(data, tmp_path):
    (tmp_path / "file").touch()
    for out, what in ((data["symbolic"], "it is a dataset"), (tmp_path / "file", "it is a file")):
        with pytest.raises(RefusedError, match=f"cannot become the folder of a training run, because {what}"):
            open_run(settings(data), out)
    assert not (data["symbolic"] / "run.json").exists()


@pytest.mark.parametrize(
    ("first", "then", "refused"),
    [
        (OptimizerSettings(1e-4, 2, 20), OptimizerSettings(1e-4, 3, 30), False),
        (OptimizerSettings(1e-4, 5, 20), OptimizerSettings(1e-4, 5, 30), False),
        (OptimizerSettings(1e-4, 2, 20), OptimizerSettings(2e-4, 3, 30), True),
        (OptimizerSettings(1e-4, 2, 20), OptimizerSettings(1e-4, 7, 30), True),
        (OptimizerSettings(1e-4, 2, 50), OptimizerSettings(1e-4, 2, 60), True),
    ],
)
def test_a_schedule_may_follow_the_number_of_steps_alone(first, then, refused, data, tmp_path):
    assert open_run(settings(data, steps=20, optimizer=first), tmp_path) == []
    before = (tmp_path / "run.json").read_bytes()
    longer = settings(data, steps=30, optimizer=then)
    if refused:
        with pytest.raises(RefusedError, match=r"\(optimizer, steps\)"):
            open_run(longer, tmp_path)
        assert (tmp_path / "run.json").read_bytes() == before
    else:
        (note,) = open_run(longer, tmp_path)
        assert "follows the schedule of 30 steps" in note
        written = json.loads((tmp_path / "run.json").read_text())
        assert written.pop("made_by")["data"][0]["dataset"] == "symbolic"
        assert written == longer.to_json()
        assert open_run(longer, tmp_path) == []


def test_what_keras_json_says_changes_nothing(data, tmp_path, capfd, compiled):
    """Another backend, float type and image format than the run's."""
    (tmp_path / "keras.json").write_text(
        '{"backend": "torch", "floatx": "float16", "epsilon": 1e-3, "image_data_format": "channels_first"}'
    )
    train_here(tmp_path / "plain", data["symbolic"], steps=2)
    assert "TensorFlow obeys" not in capfd.readouterr().err
    odd = environment(KERAS_HOME=str(tmp_path), NVIDIA_TF32_OVERRIDE="0")
    odd.pop("KERAS_BACKEND", None)
    words = command(tmp_path / "odd", data["symbolic"], steps=2)
    done = subprocess.run(words, env=odd, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "TensorFlow obeys NVIDIA_TF32_OVERRIDE=0" in done.stderr
    assert losses(tmp_path / "odd") == losses(tmp_path / "plain")


def test_a_global_float_type_changes_neither_a_loaded_model_nor_the_rate(half):
    before = keras.config.floatx()
    keras.config.set_floatx("float16")
    try:
        model = load(half)
        optimizer = OptimizerSettings.fine_tuning().make(model)
        assert {variable.dtype for variable in model.trainable_variables} == {"float32"}
        assert model.compute_dtype == model.loss_metric.dtype == optimizer._learning_rate.dtype == "float32"
        assert keras.config.floatx() == "float16"
    finally:
        keras.config.set_floatx(before)


def test_fine_tuning_starts_from_the_weights_of_a_run(data, whole, tmp_path):
    fine = settings(data, optimizer=OptimizerSettings.fine_tuning(), fine_tune=str(whole), steps=1)
    train(fine, tmp_path / "fine", EVERY)
    before, after = load(whole, "best"), load(tmp_path / "fine", "last")
    moved = max(np.abs(a.numpy() - b.numpy()).max() for a, b in zip(before.weights, after.weights, strict=True))
    assert 0 < moved < 5e-5  # one step of 1e-5
    save_pretrained(before, DatasetTokenizer.load(whole), tmp_path / "export")
    train(dataclasses.replace(fine, fine_tune=str(tmp_path / "export")), tmp_path / "of_export", EVERY)
    assert losses(tmp_path / "of_export") == losses(tmp_path / "fine")


def test_data_with_other_tokens_than_the_run_that_is_fine_tuned_is_refused(data, tmp_path):
    (tmp_path / "first").mkdir()
    tokenizer = Dataset.open(data["symbolic"]).tokenizer
    dataclasses.replace(tokenizer, vocabulary=Vocabulary(mu=50.0)).save(tmp_path / "first")
    with pytest.raises(ValueError, match="the model and .*symbolic.* have different vocabularies"):
        train(settings(data, fine_tune=str(tmp_path / "first")), tmp_path / "fine")


def test_data_that_does_not_fit_the_model_is_refused(data, tmp_path):
    with pytest.raises(ValueError, match="33025 ids, the model's 1000: set vocabulary_size=33025"):
        train(settings(data, config=dataclasses.replace(CONFIG, vocabulary_size=1000)), tmp_path / "a")
    with pytest.raises(ValueError, match="local positions, the model 20: set local_positions="):
        train(settings(data, config=dataclasses.replace(CONFIG, local_positions=20)), tmp_path / "b")
    with pytest.raises(ValueError, match="batch_size 4 does not divide by 1 replicas x 3 parts"):
        train(settings(data), tmp_path / "c", RunOptions(accumulate=3))


def test_a_checkpoint_of_another_model_is_refused(half, tmp_path):
    shutil.copytree(half, tmp_path / "run")
    other = Gato(GatoConfig(3, 2, 32, 16, 64))
    with pytest.raises(CheckpointError, match="not a checkpoint of this model"):
        Checkpoints(tmp_path / "run", other, FAST.make(other)).restore()
    with pytest.raises(
        CheckpointError,
        match="is not the folder of a training run or an export: it is a folder of training runs, for example .*run$",
    ):
        load(tmp_path)
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    with pytest.raises(CheckpointError, match="holds no checkpoint yet"):
        load(tmp_path / "run")


def test_a_half_written_checkpoint_is_not_taken_for_whole(half, tmp_path):
    run = shutil.copytree(half, tmp_path / "run")
    (run / "checkpoints" / "last" / "step-4.data-00000-of-00001").write_bytes(b"half")
    model = Gato(CONFIG)
    assert Checkpoints(run, model, FAST.make(model)).restore() == 3


@pytest.mark.parametrize("name", ["r[1]", "r*", "a b%d\\\n"])
def test_a_path_is_no_pattern(name, data, tmp_path):
    """A run resumes and is read back; the checkpoints of a run that the name would match are left alone."""
    neighbour = tmp_path / "run" / "checkpoints" / "last"
    neighbour.mkdir(parents=True)
    (neighbour / "step-1.index").write_bytes(b"another run's")
    train(settings(data, steps=2), tmp_path / name, RunOptions(keep=1, save_every=1, evaluate_every=2))
    model = Gato(CONFIG)
    with contextlib.closing(Checkpoints(tmp_path / name, model, FAST.make(model))) as checkpoints:
        assert checkpoints.restore() == 2
    assert best_step(tmp_path / name) == 2
    assert load(tmp_path / name).config == CONFIG
    kept = sorted(path.name for path in (tmp_path / name / "checkpoints" / "last").iterdir())
    assert kept == ["checkpoint", "step-2.data-00000-of-00001", "step-2.index"]
    assert (neighbour / "step-1.index").exists()


def test_checkpoints_that_nothing_names_stop_a_run_before_its_log_is_cut(data, half, tmp_path):
    run = shutil.copytree(half, tmp_path / "run")
    (run / "checkpoints" / "last" / "checkpoint").unlink()
    before = (run / "metrics.jsonl").read_bytes()
    with pytest.raises(CheckpointError, match="holds checkpoints, but its file `checkpoint`"):
        train(settings(data, steps=3), run, EVERY)
    assert (run / "metrics.jsonl").read_bytes() == before


def captions(folder, sides):
    """Write captioned pictures of 4 or 16 patches."""
    folder.mkdir()
    lines = []
    for number, side in enumerate(sides):
        Image.new("RGB", (side, side)).save(folder / f"{number}.png")
        lines.append(json.dumps({"image": f"{number}.png", "caption": "a square"}) + "\n")
    (folder / "pairs.jsonl").write_text("".join(lines))
    with contextlib.chdir(folder):
        return {"pictures": write_dataset(folder / "pictures" / "1.0.0", ["image-text:pairs.jsonl"])}


def test_a_task_without_any_target_is_refused_before_the_first_step(tmp_path):
    data = captions(tmp_path / "data", [64] * 4)
    config = dataclasses.replace(CONFIG, sequence_length=16)
    with pytest.raises(RefusedError, match=r"none of its 4 samples .* rows of 16 tokens.*--sequence-length 17"):
        train(settings(data, "pictures", config=config), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_batch_without_targets_is_no_fault_and_shares_are_logged(tmp_path, capfd):
    data = captions(tmp_path / "data", [64, 64, 32])
    config = dataclasses.replace(CONFIG, sequence_length=16)
    train(settings(data, "pictures", config=config, batch_size=1, steps=8), tmp_path / "run", EVERY)
    lines = read_metrics(tmp_path / "run")
    assert len(lines) == 8
    assert {"loss" in line for line in lines} == {True, False}
    for line in lines:
        assert line["share/pictures/rows"] == 1.0
        assert line["share/pictures/targets"] == float("loss" in line)
        assert np.isfinite(line["gradient_norm"])
    said = capfd.readouterr().err
    assert "about 2 of its 3 samples lose all their targets" in said
    assert "no token to predict in this batch" in said


def test_neither_accumulating_nor_compiling_changes_the_curve(data, whole, tmp_path, compiled):
    train(settings(data), tmp_path / "two", RunOptions(log_every=1, evaluate_every=0, accumulate=2, rematerialize=True))
    np.testing.assert_allclose(losses(whole), losses(tmp_path / "two"), rtol=1e-4)


# ------------------------------------------------------------------------------------------ what a run says


def test_a_run_says_what_it_does_from_its_first_line_to_its_last(data, tmp_path, capfd):
    """Off a terminal every line has the time, and the time left once a speed is known."""
    words = command(tmp_path / "run", data["symbolic"], steps=3)
    done = subprocess.run(words, env=environment(NO_COLOR="1"), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0
    lines = done.stderr.splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in lines), lines
    said = "\n".join(line[9:] for line in lines)
    tokens = Dataset.open(data["symbolic"]).manifest["splits"]["train"]["tokens"]
    model = load(tmp_path / "run")
    for part in (
        f"model: {model.count_params():,} parameters, {33025 * 32:,} of them the table of tokens; float32",
        f"data: {data['symbolic']}: ", f" records, {tokens:,} tokens; 100.0% of the rows",
        "a step: 4 sequences of 160 tokens, 640 in all; 3 steps are 1,920 tokens", "devices: CPU:0",
        "step      1  loss", " tokens/s, 0:00:00 left", "trained 3 steps in ", f"; {tmp_path}/run holds the run",
    ):  # fmt: skip
        assert part in said, part
    assert "held out" not in said or "tokens/s" not in said.split("held out")[1].splitlines()[0]
    capfd.readouterr()
    train_here(tmp_path / "run", data["symbolic"], steps=3)
    said = capfd.readouterr().err
    assert said.count("\n") == 1 and "has all its 3 steps" in said
    made_by = json.loads((tmp_path / "run" / "run.json").read_text())["made_by"]
    assert made_by["command"][1] == "train" and made_by["versions"]["tensorflow"] == tf.__version__
    assert made_by["data"] == [{
        "path": str(data["symbolic"]), "dataset": "symbolic", "version": "1.0.0",
        "sha256": Dataset.open(data["symbolic"]).manifest["sha256"],
    }]  # fmt: skip
    assert main([*command(tmp_path / "quiet", data["symbolic"], steps=1)[3:], "--quiet"]) == 0
    assert capfd.readouterr() == ("", "")
    assert len(read_metrics(tmp_path / "quiet")) == 1


def test_a_step_is_the_number_of_steps_done_everywhere(half):
    lines = [line for line in read_metrics(half) if "loss" in line]
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert [line["learning_rate"] for line in lines] == pytest.approx([FAST.rate(number) for number in range(3)])
    assert ["tokens_per_second" in line for line in lines] == [False, True, True]
    assert {line["step"] for line in read_metrics(half) if "held_out/loss" in line} == {3}
    assert best_step(half) == 3
    assert "trained for 3 of 3 steps" in (half / "README.md").read_text()
    assert "| 3 | " in (half / "README.md").read_text()


def test_a_run_of_an_older_release_counts_on(data, whole, half, tmp_path):
    """Its lines counted from 0, and its run.json named no versions."""
    shutil.copytree(half, tmp_path / "old")
    path, run = tmp_path / "old" / "metrics.jsonl", tmp_path / "old" / "run.json"
    old = [{**line, "step": line["step"] - 1} for line in read_metrics(tmp_path / "old")]
    path.write_text("".join(json.dumps(line) + "\n" for line in old))
    run.write_text(json.dumps({key: value for key, value in json.loads(run.read_text()).items() if key != "made_by"}))
    train(settings(data), tmp_path / "old", EVERY)
    assert without_speed(tmp_path / "old") == without_speed(whole)


def test_other_versions_than_at_the_start_are_named(data, tmp_path):
    open_run(settings(data), tmp_path)
    run = json.loads((tmp_path / "run.json").read_text())
    run["made_by"]["versions"]["keras"] = "3.0.0"
    (tmp_path / "run.json").write_text(json.dumps(run))
    (note,) = open_run(settings(data), tmp_path)
    assert note == f"the run began with keras 3.0.0, now {keras.__version__}"


# ----------------------------------------------------------------------------------------------- many workers


DEVICES = """
import sys, tensorflow as tf
from pathlib import Path
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
sys.path.insert(0, "tests/gato_model/training")
from test_run import EVERY, settings, train
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
data = dict(symbolic=sys.argv[2], documents=sys.argv[3])
train(settings(data, "symbolic", "documents"), Path(sys.argv[1]), EVERY, strategy)
"""


def test_two_local_devices_compute_what_one_does(data, tmp_path):
    """Two virtual CPUs stand for two GPUs: the same code divides the batch and adds the gradients."""
    train(settings(data, "symbolic", "documents"), tmp_path / "one", EVERY)
    words = [sys.executable, "-c", DEVICES, str(tmp_path / "two"), str(data["symbolic"]), str(data["documents"])]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "helpers")])
    done = subprocess.run(words, env=environment(PYTHONPATH=paths), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "devices: CPU:0, CPU:1" in done.stderr
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), rtol=2e-4)


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def start_workers(out, *data, **options):
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    return [
        subprocess.Popen(
            command(out, *data, **options),
            env=environment(
                TF_CONFIG=json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}})
            ),
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]


def test_two_workers_compute_what_one_does_and_go_on_after_a_death(data, tmp_path, monkeypatch):
    """Two workers that read from an object store have the losses of one process that reads from the disk, with the same
    global batch; one worker is killed, the other ends by itself with a message, and both started again go on from the
    checkpoint."""
    alone, together = tmp_path / "alone", tmp_path / "together"
    both = data["symbolic"], data["documents"]  # so that the workers' counts of predicted tokens differ
    train_here(alone, *both)
    monkeypatch.setenv("GATO_CACHE", str(tmp_path / "cache"))
    with s3_server(monkeypatch):
        away = [upload(Path(one), f"s3://bucket/{Path(one).parent.name}/1.0.0") for one in both]
        check_two_workers(alone, together, away)


def check_two_workers(alone, together, both):
    workers = start_workers(together, *both)
    lines = together / "metrics.jsonl"
    wait_for(lambda: lines.exists() and lines.read_text().count("\n") >= 8, workers[0])
    workers[1].kill()
    workers[1].communicate()
    _, said = workers[0].communicate(timeout=180)
    assert workers[0].returncode == 1, said
    assert re.search(r"the same command \(on every worker\) goes on from the last checkpoint", said)
    workers = start_workers(together, *both)
    ended = [worker.communicate(timeout=400) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], ended
    assert len(losses(together)) == 40
    np.testing.assert_allclose(losses(together), losses(alone), rtol=2e-4)
