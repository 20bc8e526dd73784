"""The model that comes with the package plays, by its name, as well as its card says."""

import json

import pytest
from toy_acting import SPEC, VOCABULARY, toy_model

from gato_model.__main__ import main
from gato_model.acting.policy import GatoPolicy
from gato_model.acting.pretrained import load_model, save_pretrained
from gato_model.evaluation.evaluate import evaluate
from gato_tokenize.environments.recipe import Recipe
from gato_tokenize.storage.dataset import DatasetTokenizer


def test_it_goes_to_the_object_that_it_is_told():
    policy = GatoPolicy.from_pretrained("demo", "BabyAI-GoToObjS4-v0-cells", rows=20, temperature=1.0)
    found = evaluate(policy, Recipe("BabyAI-GoToObjS4-v0", image="cells"), range(3_000_000, 3_000_020))
    assert found.successes.mean() >= 0.8  # of 50 episodes, its expert and it solved all; chance a third


def test_the_command_takes_its_name(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["--env", "BabyAI-GoToObjS4-v0", "--image", "cells", "--episodes", "2", "--rows", "2", "--json"]
    assert main(["evaluate", "--checkpoint", "demo", *words]) == 0
    assert json.loads(capsys.readouterr().out)["tasks"][0]["task"] == "BabyAI-GoToObjS4-v0-cells"


def test_a_folder_of_this_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_pretrained(toy_model(), DatasetTokenizer({"toy": SPEC}, VOCABULARY), "demo")
    assert load_model("demo").config == toy_model().config


def test_an_unknown_task_lists_those_it_knows():
    with pytest.raises(KeyError, match="BabyAI-GoToLocal-v0-cells"):
        GatoPolicy.from_pretrained("demo", "no such task")
