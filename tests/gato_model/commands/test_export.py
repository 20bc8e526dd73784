"""The command `export`: every option's effect. What is written is tested with `save_pretrained` and `save_policy`."""

import json

import pytest
from toy_acting import COPYING_SPEC, VOCABULARY, toy_model

from gato_model.__main__ import main
from gato_model.acting.pretrained import load_model, save_pretrained
from gato_model.commands import export as command
from gato_tokenize.storage.dataset import DatasetTokenizer


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with an export `run`, which is read as a run is."""
    save_pretrained(toy_model(), DatasetTokenizer({"copy": COPYING_SPEC}, VOCABULARY), tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_model_alone(folder, capsys, monkeypatch):
    asked = []
    monkeypatch.setattr(command, "load_model", lambda run, which: asked.append(which) or load_model(run, which))
    assert main(["export", "run", "out", "--which", "last"]) == 0
    count = load_model(folder / "run").count_params()
    assert capsys.readouterr().out == f"out: {count:,} weights; tasks: copy\n"
    assert (folder / "out/model.safetensors").read_bytes() == (folder / "run/model.safetensors").read_bytes()
    assert not (folder / "out/saved_model").exists()
    assert main(["export", "run", "quiet", "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    assert asked == ["last", "best"]
    assert main(["export", "run", "half", "--half"]) == 0
    assert (folder / "half/model.safetensors").stat().st_size < 0.6 * (folder / "out/model.safetensors").stat().st_size


def test_a_saved_model_beside_it(folder, monkeypatch):
    made, policy = [], command.GatoPolicy
    monkeypatch.setattr(command, "GatoPolicy", lambda *a, **k: made.append((a, k)) or policy(*a, **k))
    monkeypatch.setattr(command.Dataset, "open", classmethod(lambda cls, path: path))
    monkeypatch.setattr(command, "demonstration", lambda dataset, task: made.append((str(dataset), task)))
    assert main(["export", "run", "out", *"--task copy --rows 3 --temperature 0.5 --prompt data".split()]) == 0
    assert made[0] == ("data", "copy")
    assert made[1][1] == {"rows": 3, "temperature": 0.5}
    assert json.loads((folder / "out/saved_model/policy.json").read_text())["rows"] == 3
    assert (folder / "out/saved_model/saved_model.pb").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "run"], "run cannot become an export, because it is an exported model: give another folder"),
        (["nope", "out"], "nope is not the folder of a training run or an export: there is nothing"),
        (["run", "out", "--task", "other"], "no task 'other'; tasks: copy"),
        (["run", "out[1]", "--task", "copy"], "out[1]: TensorFlow loads no model from a path with a ["),
        (["run", "out", "--temperature", "1"], "name its task by --task"),
        (["run", "out", "--rows", "2"], "name its task by --task"),
        (["run", "out", "--prompt", "data"], "name its task by --task"),
    ],
)
def test_refusals_write_nothing(folder, capsys, words, message):
    assert main(["export", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("gato-model export: ")
    assert message in error
    assert [path.name for path in folder.iterdir()] == ["run"]


def test_brackets_are_fine_without_a_saved_model(folder):
    assert main(["export", "run", "out[1]", "--quiet"]) == 0
    assert load_model(folder / "out[1]").config == load_model(folder / "run").config
