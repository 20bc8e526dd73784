"""The command `train`: every option has its effect, the page names them all, refusals."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import toy_acting  # noqa: F401 - quiets TensorFlow
from model_datasets import write_dataset_of_documents

from gato_model.__main__ import main
from gato_model.commands import arguments, train
from gato_model.config import GatoConfig
from gato_model.data.share import Share
from gato_model.training.optimizer import OptimizerSettings
from gato_model.training.run_log import RunLog, read_metrics
from gato_tokenize.command_line import CommandParser

PAGE = (Path(__file__).parents[3] / "docs/training.md").read_text()


def parsed(*words):
    parser = CommandParser()
    arguments.train(parser)
    return parser.parse_args(["--data", "a", "--out", "run", *words])


def settings(*words):
    return train.settings_of(parsed("--steps", "100", *words))


def test_what_is_not_said_is_the_papers():
    plain = settings()
    assert plain.data == (Share("a"),)
    assert plain.config == GatoConfig.tiny()
    assert plain.optimizer == OptimizerSettings(1e-4, 10, 100, 0.1)
    assert (plain.batch_size, plain.seed, plain.prompt_share, plain.dtype, plain.fine_tune) == (
        512, 0, 0.25, "float32", "",
    )  # fmt: skip
    assert train.settings_of(parsed("--steps", "1000000")).optimizer.warmup_steps == 15_000


@pytest.mark.parametrize(
    ("words", "where", "value"),
    [
        ("--data a b:3", "data", (Share("a"), Share("b", 3.0))),
        ("--min-expert-share 0.8", "data", (Share("a", 1.0, 0.8),)),
        ("--preset small", "config", GatoConfig.small()),
        ("--set num_layers=3 stochastic_depth=0.2", "config", GatoConfig.tiny(num_layers=3, stochastic_depth=0.2)),
        ("--sequence-length 64", "config", GatoConfig.tiny(sequence_length=64)),
        ("--steps 7", "steps", 7),
        ("--batch-size 5", "batch_size", 5),
        ("--learning-rate 0.5", "optimizer", OptimizerSettings(0.5, 10, 100)),
        ("--warmup-steps 3", "optimizer", OptimizerSettings(1e-4, 3, 100)),
        ("--weight-decay 0.3", "optimizer", OptimizerSettings(1e-4, 10, 100, 0.3)),
        ("--clip-norm 2", "optimizer", OptimizerSettings(1e-4, 10, 100, clip_norm=2.0)),
        ("--seed 9", "seed", 9),
        ("--prompt-share 0.5", "prompt_share", 0.5),
        ("--history-dropout 0.7", "history_dropout", 0.7),
        ("--dtype mixed_bfloat16", "dtype", "mixed_bfloat16"),
    ],
)
def test_an_option_of_the_settings(words, where, value):
    assert getattr(settings(*words.split()), where) == value


@pytest.mark.parametrize(
    ("words", "where", "value"),
    [
        ("--log-every 3", "log_every", 3),
        ("--save-every 4", "save_every", 4),
        ("--keep 5", "keep", 5),
        ("--evaluate-every 0", "evaluate_every", 0),
        ("--evaluation-batches 6", "evaluation_batches", 6),
        ("--accumulate 2", "accumulate", 2),
        ("--jit", "jit_compile", True),
        ("--rematerialize", "rematerialize", True),
    ],
)
def test_a_run_option(words, where, value):
    assert getattr(train.run_options_of(parsed()), where) != value
    assert getattr(train.run_options_of(parsed(*words.split())), where) == value


def test_fine_tuning_has_the_papers_settings(tmp_path):
    (tmp_path / "config.json").write_text(GatoConfig.small().to_json())
    fine = train.settings_of(parsed("--fine-tune", str(tmp_path)))
    assert fine.config == GatoConfig.small(dropout=0.1, stochastic_depth=0.0)
    assert fine.optimizer == OptimizerSettings(1e-5, 0, 0, 0.0)
    assert (fine.steps, fine.batch_size, fine.fine_tune) == (10_000, 64, str(tmp_path))


def test_fine_tuning_obeys_a_schedule(tmp_path):
    """Without one the rate is constant, so that an option of the schedule would change nothing."""
    (tmp_path / "config.json").write_text(GatoConfig.tiny().to_json())
    decaying = train.settings_of(parsed("--fine-tune", str(tmp_path), "--steps", "50", "--final-rate", "0.1")).optimizer
    assert [decaying.rate(0), decaying.rate(50)] == pytest.approx([1e-5, 1e-6])
    warming = train.settings_of(parsed("--fine-tune", str(tmp_path), "--steps", "50", "--warmup-steps", "9")).optimizer
    assert [warming.rate(step) for step in (0, 10, 50)] == pytest.approx([1e-7, 1e-5, 1e-5])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "--steps is needed"),
        ("--steps 5 --set size=3", "expected NAME=NUMBER with NAME one of num_layers"),
        ("--steps 5 --set num_layers=0", "num_layers must be a positive int, not 0"),
        ("--steps 5 --warmup-steps 9", "warm-up .9 steps. must end before the decay does .5."),
        ("--steps 5 --data a:-1", "weight must be a positive finite number"),
        ("--steps 5", "a is no complete dataset"),
        ("--fine-tune nowhere", "nowhere is not the folder of a training run or an export: there is nothing"),
        ("--preset tiny --fine-tune nowhere", "has the sizes of the run that it starts from"),
    ],
)
def test_a_refusal_has_exit_code_2(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--data", "a", "--out", "run", *words.split()]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_every_option_is_named_on_the_page():
    parser = CommandParser(add_help=False)
    arguments.train(parser)
    options = set(re.findall(r"--[a-z-]+", parser.format_help()))
    assert len(options) > 20
    options = {option.replace("--no-", "--") for option in options}
    assert [option for option in sorted(options) if f"`{option}" not in PAGE] == []


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras, loading
def test_the_python_of_the_page_runs(tmp_path, monkeypatch):
    write_dataset_of_documents(tmp_path / "data", 30, 80)
    (tmp_path / "data" / "texts").rename(tmp_path / "data" / "toy")
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    exec(compile(block, "docs/training.md", "exec"), {})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--help"], "evaluate"),
        (["train", "--help"], "--sequence-length"),
        (
            ["train", "--data", "a", "--out", "b", "--steps", "0"],
            "--steps: must be a whole number of at least 1, not '0'",
        ),
        (
            ["train", "--data", "a", "--out", "b", "--keep", "x"],
            "--keep: must be a whole number of at least 1, not 'x'",
        ),
        (["evaluate", "--checkpoint", "a", "--env", "b", "--rows", "0"], "--rows: must be a whole number"),
        (["generate", "--checkpoint", "a", "--max-tokens", "-1"], "--max-tokens: must be a whole number"),
        (["nothing"], "invalid choice: 'nothing'"),
    ],
)
def test_help_and_a_refused_option_need_no_tensorflow(words, message):
    code = (
        f"import sys; from gato_model.__main__ import main\ntry: main({words})\nexcept SystemExit as e: print(e.code)\n"
    )
    code += "print('tensorflow' in sys.modules, 'keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split()[-3:] == ["0" if "--help" in words else "2", "False", "False"]
    assert message in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--steps 5 --set width=wide", "--set width=wide: 'wide' is no number"),
        ("--fine-tune nowhere", "nowhere"),
    ],
)
def test_a_size_or_a_folder_of_another_kind_is_named(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--data", "a", "--out", "run", *words.split()]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("level", [None, "0"])
def test_tensorflow_is_silent_unless_asked(level, tmp_path):
    kept = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    environment = {**kept, **({"TF_CPP_MIN_LOG_LEVEL": level} if level else {})}
    words = ["train", "--data", "a", "--out", str(tmp_path / "b"), "--steps", "1"]
    command = [sys.executable, "-m", "gato_model", *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    lines = done.stderr.splitlines()
    assert done.returncode == 2
    assert lines[-1].startswith("gato-model train: a")
    assert (len(lines) == 1) == (level is None)


def test_json_prints_each_line_of_the_log_as_it_is_written(tmp_path, monkeypatch, capsys):
    write_dataset_of_documents(tmp_path / "data", 30, 80)
    (data,) = (tmp_path / "data").glob("*/*/manifest.json")

    def logged(settings, out, options, strategy):
        out.mkdir()
        with RunLog(out, 0, 1, 8, shown=options.shown, on_line=options.on_line) as log:
            log.write(1, {"loss": 2.5})
            assert json.loads(capsys.readouterr().out) == {"step": 1, "loss": 2.5} == read_metrics(out)[0]

    monkeypatch.setattr(train, "train", logged)
    run = str(tmp_path / "run")
    assert main(["train", "--data", str(data.parent), "--out", run, "--steps", "1", "--json", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert (json.loads(out), err) == ({"run": run, "steps": 1}, "")
