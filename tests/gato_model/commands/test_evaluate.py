"""The command `evaluate`, with a model that has learnt to copy: every flag's effect."""

import json

import numpy as np
import pytest
from PIL import Image
from toy_acting import COPYING, COPYING_SPEC, VOCABULARY, copying_episode, trained_on_copying

from gato_model.commands import arguments
from gato_model.commands import evaluate as command
from gato_model.commands.evaluate import seeds_of
from gato_model.evaluation.baselines import demonstration
from gato_tokenize import EpisodeMetadata, EpisodeTokenizer, Record, spec_from_spaces
from gato_tokenize.command_line import CommandParser
from gato_tokenize.environments.recipe import Recipe
from gato_tokenize.output import Output
from gato_tokenize.roles import Roles
from gato_tokenize.storage.dataset import DatasetTokenizer


@pytest.fixture(scope="module")
def model():
    return trained_on_copying(VOCABULARY)


class FakeDataset:
    """A dataset, as far as the command asks."""

    splits, path = ["train"], "data"
    tokenizer = DatasetTokenizer({"Copying-v0": COPYING_SPEC}, VOCABULARY)

    def records(self, split):
        for task in ("other", "Copying-v0"):
            sequence = EpisodeTokenizer(COPYING_SPEC, VOCABULARY).encode(copying_episode(1))
            yield Record(sequence, EpisodeMetadata(task=task))


class TestCommand:
    @pytest.fixture(autouse=True)
    def run_folder(self, monkeypatch, tmp_path, model, capsys):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "config.json").touch()
        FakeDataset.tokenizer.save(tmp_path / "run")
        self.folder, self.made, self.loaded, self.capsys = tmp_path, [], [], capsys
        monkeypatch.setattr(
            command, "load_model", lambda folder, which: self.loaded.append((folder.name, which)) or model
        )
        monkeypatch.setattr(command.Dataset, "open", classmethod(lambda cls, path: FakeDataset()))
        monkeypatch.setattr(command.Demonstrations, "of", classmethod(lambda cls, *_: cls(3, 8.0, None)))
        policy = command.GatoPolicy
        monkeypatch.setattr(command, "GatoPolicy", lambda *a, **k: self.made.append((a, k)) or policy(*a, **k))
        monkeypatch.chdir(tmp_path)

    def run(self, *words):
        parser = CommandParser()
        arguments.evaluate(parser)
        parsed = parser.parse_args(["--checkpoint", "run", "--env", COPYING, "--rows", "4", *words])
        output = Output.of("gato-model evaluate", parsed)
        with output.reserved():
            return command.run(parsed, output)

    def results(self, *words):
        """Everything on standard output, which is one JSON document."""
        assert self.run("--json", *words) == 0
        return json.loads(self.capsys.readouterr().out)

    def result(self, *words):
        result = self.results(*words)
        assert result["over_tasks"] is None
        (task,) = result["tasks"]
        return task

    def test_it_reaches_its_goal(self):
        result = self.result("--episodes", "6", "--data", "data")
        assert result["gato"]["returns"] == [8.0] * 6
        assert result["gato"]["seeds"] == [1_000_000 + i for i in range(6)]
        assert result["gato"]["return"] == {"mean": 8.0, "low": 8.0, "high": 8.0, "confidence": 0.95}
        assert result["gato"]["success"] is None
        assert result["random"]["return"]["mean"] < 4
        assert result["expert"] == {"return": 8.0, "success": None}
        assert result["normalised_score"] == 1.0
        assert result["latency"]["rows"] == 4
        assert 0 < result["latency"]["median_ms"] <= result["latency"]["p95_ms"]
        assert self.loaded == [("run", "best")]

    def test_what_a_person_reads(self, capsys):
        words = ["--episodes", "6", "--data", "data"]
        assert self.run(*words) == 0
        out = capsys.readouterr().out
        assert all(word in out for word in ("Copying-v0, 6 episodes", "gato", "random", "expert", "score 1.000", "ms"))
        assert self.run(*words, "--quiet") == 0
        assert capsys.readouterr().out == ""

    def test_two_tasks(self, capsys):
        """The second one is scored by 16, twice what the expert of the first one gets."""
        mode = '{"render_mode": "rgb_array"}'
        names = ["Copying-v0", "Copying-v0/render_mode=rgb_array"]
        DatasetTokenizer(dict.fromkeys(names, COPYING_SPEC), VOCABULARY).save(self.folder / "run")
        words = ["--episodes", "3", "--env-options", "{}", mode, "--expert-return", "8", "16"]
        result = self.results(*words)
        assert [one["task"] for one in result["tasks"]] == names
        random = np.mean(result["tasks"][0]["random"]["returns"])
        scores = [one["normalised_score"] for one in result["tasks"]]
        assert scores == pytest.approx([1, (8 - random) / (16 - random)])
        over = result["over_tasks"]
        assert (over["scored"], over["above_half_of_expert"]) == (2, 1)
        assert over["mean"]["mean"] == over["interquartile_mean"]["mean"] == pytest.approx(np.mean(scores))
        assert self.run(*words) == 0
        out = capsys.readouterr().out
        assert all(word in out for word in ("over 2 tasks", "interquartile mean", "1 of 2", *names))

    def test_what_an_environment_prints_is_no_json(self, monkeypatch):
        monkeypatch.setattr(
            command, "evaluate", lambda *a, _play=command.evaluate, **k: print("noise") or _play(*a, **k)
        )
        assert self.result("--episodes", "1")["gato"]["returns"] == [8.0]

    def test_seeds_steps_and_an_experts_return(self):
        result = self.result("--seeds", "7:2", "--max-steps", "3", "--expert-return", "6", "--which", "last")
        assert result["gato"]["seeds"] == [7, 8]
        assert result["gato"]["lengths"] == [3, 3]
        random = np.mean(result["random"]["returns"])
        assert result["normalised_score"] == pytest.approx((3 - random) / (6 - random))
        assert self.loaded == [("run", "last")]

    def test_options_of_the_policy(self):
        words = ["--temperature", "0.5", "--seed", "3", "--context", "window", "--prompt", "data", "--rows", "2"]
        words += ["--continuous", "mean"]
        result = self.result("--episodes", "2", *words)
        ((_, tokenizer, prompt), options) = self.made[0]
        assert tokenizer.spec == COPYING_SPEC
        assert prompt.metadata.task == "Copying-v0"
        assert options == {"rows": 2, "seed": 3, "temperature": 0.5, "continuous": "mean", "context": "window"}
        assert result["normalised_score"] is None

    def test_roles_as_when_it_was_recorded(self):
        """The environment shows stacked frames; the model was given four pictures, and names with a slash."""
        words = ["--env", "faulty_environments:Faulty/Stacked-v0", "--roles", "observation/eye:frames"]
        recipe = Recipe(words[1], roles=Roles({"observation/eye": "frames"}, (16, 16)))
        environment = recipe.make(0)
        spec = spec_from_spaces(environment.observation_space, environment.action_space, recipe.roles)
        DatasetTokenizer({recipe.task: spec}, VOCABULARY, local_positions=16).save(self.folder / "run")
        assert self.run("--episodes", "2", *words[:2]) == 2
        hint = "This environment was recorded with --roles observation/eye:frames --resize 16x16\n"
        assert self.capsys.readouterr().err.endswith(hint)
        assert self.result("--episodes", "2", *words, "--resize", "16x16")["gato"]["lengths"] == [2, 2]
        assert {path: field.describe() for path, field in self.made[0][0][1].spec.fields.items()} == {
            **{f"observation/eye/{i}": "image, uint8[32, 32], resized to [16, 16]" for i in range(4)},
            "observation/w~1pos": "continuous, float32[1]",
            "action/a~1b": "discrete, int[], size 3",
        }

    def test_a_video(self):
        assert self.run("--episodes", "2", "--video", "out.gif") == 0
        with Image.open(self.folder / "out.gif") as gif:
            assert gif.size == (30, 20)

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--task", "Nothing-v0"], "no task 'Nothing-v0'; tasks: Copying-v0"),
            (["--env-options", '{"mode": 1}'], "no task 'Copying-v0/mode=1'"),
            (["--env-options", "[]"], "must be a JSON object"),
            (["--roles", "observation:picture"], "roles=observation:picture must be PATH:ROLE"),
            (["--roles", "observation:image"], "no task 'Copying-v0/roles=observation:image'; tasks: Copying-v0"),
            (["--resize", "16"], "a size is HEIGHTxWIDTH"),
            (["--image", "rgb"], "option image=rgb is for MiniGrid"),
            (["--max-steps", "-1"], "--max-steps must be at least 0, not -1"),
            (["--seeds", "a"], "--seeds is FIRST"),
            (["--video", "out.avi"], "a video is .gif or .mp4"),
            (["--data", "d", "--expert-return", "1"], "leave one out"),
            (["--expert-return", "1", "2"], "--expert-return gives 2 returns for 1 task"),
            (
                ["--video", "a.gif", "--env-options", "{}", '{"a": 1}'],
                "for one task, but --env and --env-options give 2",
            ),
            (["--roles", "action:discrete"], "recorded with no --image, --roles or --resize"),
            (["--temperature", "-1"], "temperature must be 0"),
        ],
    )
    def test_refusals(self, capsys, words, message):
        assert self.run("--episodes", "1", *words) == 2
        error = capsys.readouterr().err
        assert error.startswith("gato-model evaluate: ")
        assert message in error

    def test_an_expert_who_is_no_better_is_told(self, capsys):
        words = ["--episodes", "2", "--expert-return", "-5"]
        assert self.result(*words)["normalised_score"] is None
        assert self.run(*words) == 0
        assert "no normalised score" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "episodes"), [("1:2:3", None), ("a", None), ("1,2", 3), ("1:2", 3), ("-1", 2), ("1,2:3", None), ("5", 0)]
)
def test_seeds_that_are_none(text, episodes):
    with pytest.raises(ValueError, match="--seeds"):
        seeds_of(text, episodes)


def test_a_demonstration_of_another_task():
    with pytest.raises(ValueError, match="no episode of Nothing-v0; tasks: Copying-v0"):
        demonstration(FakeDataset(), "Nothing-v0")
