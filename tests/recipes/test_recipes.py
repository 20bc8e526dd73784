"""The recipe files: each is a configuration of `gato-data convert`, of environments that can be made."""

import json
import tomllib
from pathlib import Path

import pytest

from gato_model.__main__ import COMMANDS
from gato_model.commands.train import settings_of
from gato_model.shipped import model_path
from gato_tokenize import Dataset
from gato_tokenize.command_line import parser_of
from pipelines.sources import open_source
from pipelines.sources.rollouts.source import RolloutSource
from recipes import inputs
from recipes.make_corpus import OF_A_MODEL, QUICKEST_FIRST, RECIPES, make, read_recipe
from recipes.table import HEAD, PAPER, rows

ROOT = Path(__file__).parents[2]
# Of the training of the model that comes with the package.
PARTS = "demo", "demo_second", "demo_third", "demo_fourth", "demo_sixth", "demo_seventh"


def test_every_recipe_is_made() -> None:
    assert sorted((*QUICKEST_FIRST, *OF_A_MODEL)) == sorted(
        {path.stem for path in RECIPES.glob("*.toml")} - {"mixture", "ablations", *PARTS}
    )


@pytest.mark.skipif(not (ROOT / ".gitignore").exists(), reason="the source package has no .gitignore")
def test_what_recipes_make_is_no_part_of_the_source() -> None:
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    made = [read_recipe(name, small)["out"] for name in (*QUICKEST_FIRST, *OF_A_MODEL) for small in (False, True)]
    runs = [tomllib.loads((RECIPES / f"{name}.toml").read_text(encoding="utf-8"))["out"] for name in PARTS]
    tried = [tomllib.loads(path.read_text(encoding="utf-8"))["out"] for path in (RECIPES / "tried").glob("*.toml")]
    assert {f"/{out.split('/')[0]}/" for out in (*made, *runs, *tried)} <= set(ignored)


def test_what_was_tried_reads_what_recipes_make() -> None:
    words = ["train", "--config", str(RECIPES / "tried" / "demo_fifth.toml")]
    read = {text.rpartition(":")[0] for text in parser_of("gato-model", "", COMMANDS).parse_args(words).data}
    made = {read_recipe(name, small)["out"] for name in (*QUICKEST_FIRST, *OF_A_MODEL) for small in (False, True)}
    tried = {path.stem: tomllib.loads(path.read_text(encoding="utf-8")) for path in (RECIPES / "tried").glob("*.toml")}
    assert read <= made | {recipe["out"] for recipe in tried.values()}
    played = tried["meta_world"]["sources"]
    assert len(played) == 50 and open_source(played[0]).specs()


def test_the_mixture_is_a_configuration_of_train_over_what_recipes_make() -> None:
    words = ["train", "--config", str(RECIPES / "mixture.toml")]
    shares = [text.rpartition(":") for text in parser_of("gato-model", "", COMMANDS).parse_args(words).data]
    paths = [path for path, _, _ in shares]
    assert len(set(paths)) == len(paths) and set(paths) == {read_recipe(name)["out"] for name in PAPER}
    assert {path: float(weight) for path, _, weight in shares}["corpus/babyai/1.0.0"] == 9.06
    assert all(0 < float(weight) <= 10 for _, _, weight in shares)


def test_the_recipe_of_the_demo_gives_the_model_that_comes_with_the_package() -> None:
    words = ["train", "--config", str(RECIPES / "demo.toml")]
    arguments = parser_of("gato-model", "", COMMANDS).parse_args(words)
    made = {read_recipe(name)["out"] for name in QUICKEST_FIRST}
    assert {text.rpartition(":")[0] for text in arguments.data} == made - {
        read_recipe(name)["out"]
        for name in QUICKEST_FIRST
        if name in ("atari", "dm_control_starts", "procgen") or name.endswith(("_disturbed", "_relative", "_told"))
    }
    shipped = json.loads((model_path("demo") / "config.json").read_text())
    of_the_data = {"vocabulary_size", "local_positions"}
    asked = json.loads(settings_of(arguments).config.to_json())
    assert {name: asked[name] for name in asked if name not in of_the_data} == {
        name: shipped[name] for name in shipped if name not in of_the_data
    }


@pytest.mark.parametrize(
    ("before", "after", "new", "gone"),
    [
        ("demo", "demo_second", (), ()),
        ("demo_second", "demo_third", ("dm_control_starts",), ()),
        ("demo_third", "demo_fourth", (), ()),
        (
            *("demo_fourth", "demo_sixth"),
            ("own_states", "meta_world_told", "classic_control_disturbed", "box2d_disturbed"),
            ("meta_world", "classic_control", "box2d"),
        ),
        ("demo_sixth", "demo_seventh", ("meta_world_relative",), ("meta_world_told",)),
    ],
)
def test_each_part_goes_on_with_the_run_of_the_one_before_and_with_what_recipes_make(
    before: str, after: str, new: tuple[str, ...], gone: tuple[str, ...]
) -> None:
    first, second = (
        parser_of("gato-model", "", COMMANDS).parse_args(["train", "--config", str(RECIPES / f"{name}.toml")])
        for name in (before, after)
    )
    assert str(second.fine_tune) == str(first.out)
    of_first, of_second = (
        {text.rpartition(":")[0].replace("corpus-small/", "corpus/") for text in one.data} for one in (first, second)
    )
    assert of_second - of_first == {read_recipe(name)["out"] for name in new}
    assert of_first - of_second == {read_recipe(name)["out"] for name in gone}


@pytest.mark.parametrize("name", (*QUICKEST_FIRST, *OF_A_MODEL))
def test_a_recipe_is_a_configuration_of_convert(name: str) -> None:
    """Its options are known, its sources open, and its seeds are far from those of evaluation."""
    recipe = tomllib.loads((RECIPES / f"{name}.toml").read_text())
    assert set(recipe) == {"command", "out", "validation-fraction", "max-rejects", "sources"}
    assert (recipe["command"], recipe["out"]) == ("gato-data convert", f"corpus/{name}/1.0.0")
    for text in recipe["sources"]:
        source = open_source(text)
        if isinstance(source, RolloutSource):
            assert source.options.seed + source.options.episodes < 1_000_000
            source.rollout.recipe.task  # noqa: B018  (its name can be made)
    assert len(set(recipe["sources"])) == len(recipe["sources"])


def test_a_small_corpus_has_a_tenth_of_the_episodes() -> None:
    whole, small = read_recipe("sokoban"), read_recipe("sokoban", small=True)
    assert small["out"] == "corpus-small/sokoban/1.0.0"
    assert [text.replace("episodes=150&", "episodes=1500&") for text in small["sources"]] == whole["sources"]
    with pytest.raises(SystemExit, match="no recipe 'nonsense'; recipes: text, "):
        read_recipe("nonsense")


@pytest.mark.filterwarnings("ignore")  # simulators warn as they are imported
def test_a_recipe_is_made_and_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr("recipes.make_corpus._tenth", lambda source: source.replace("=1500&", "=3&"))
    assert make("sokoban", small=True, workers=1) == 0
    dataset = Dataset.open("corpus-small/sokoban/1.0.0")
    assert len(list(dataset.records())) == 6
    table = list(rows("sokoban", Path("corpus-small"), episodes=1))
    assert [row.split(" | ")[0] for row in table] == ["| Sokoban/7x7-2boxes-v0", "| Sokoban/7x7-3boxes-v0"]
    assert all(row.count("|") == HEAD.splitlines()[0].count("|") for row in table)
    assert " 1.00 (" in table[0] and table[0].endswith("| Sokoban |")


def test_inputs_are_what_their_sources_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    inputs.main(Path("corpus/inputs"))
    for name in "text", "questions":
        (text,) = read_recipe(name)["sources"]
        source = open_source(text)
        first = next(iter(source.candidates(source.partitions()[0])))
        assert first.load().num_steps >= 1
