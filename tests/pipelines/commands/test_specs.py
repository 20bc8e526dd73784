"""`plan --spec-out` writes the fields into a file, and `--spec` takes it back edited: see docs/converting.md."""

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gato_tokenize import ContinuousSpec, Dataset, DiscreteSpec, ImageSpec
from gato_tokenize.field_spec import TextSpec
from pipelines.__main__ import main
from pipelines.conversion.plan import make_plan
from pipelines.conversion.spec_change import with_specs
from pipelines.conversion.spec_file import SpecFile, SpecFileError
from pipelines.sources import open_source
from pipelines.sources.recognition import named_source
from tests.helpers.aloha_files import write_folder as write_aloha
from tests.helpers.coco_files import write_captions
from tests.helpers.conversions import minari_file, small_model, tree, write_pictures
from tests.helpers.d4rl_files import write_flat
from tests.helpers.dqn_files import write_run
from tests.helpers.lerobot_files import write_v3
from tests.helpers.npz_files import write_episodes
from tests.helpers.recording_files import write_ros2
from tests.helpers.rlds_files import by_hand, group, record, tensor
from tests.helpers.robomimic_files import write_demos
from tests.helpers.table_files import with_camera, write_parquet
from tests.helpers.zarr_files import write_replay

EYE, STATE = 'tasks."toy".fields."observation/eye"', 'tasks."toy".fields."observation/state"'


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    open_source.cache_clear()


@pytest.fixture
def toy() -> str:
    """An RLDS dataset with a picture, a state, an instruction, an action, and a number that is left out."""
    extra = {"steps/gripper": np.zeros(3, np.int64)}
    shards = {"train": [[record(3, 0, **extra), record(3, 10, **extra)]], "val": [[record(3, 20, **extra)]]}
    return f"rlds:{by_hand(Path('toy/1.0.0'), shards, {'gripper': tensor('int64')})}"


def written(source: str, *words: str) -> str:
    """The text of the file that `plan` writes."""
    Path("spec.toml").unlink(missing_ok=True)
    assert main(["plan", source, *words, "--spec-out", "spec.toml"]) == 0
    return Path("spec.toml").read_text(encoding="utf-8")


def edited(source: str, text: str) -> str:
    """The source's string after an edit of its file."""
    Path("edited.toml").write_text(text, encoding="utf-8")
    (found,) = with_specs([source], SpecFile.read(Path("edited.toml")))
    return found


def fields(source: str) -> dict[str, Any]:
    (spec,) = open_source(source).specs().values()
    return dict(spec.fields)


def without(text: str, head: str) -> str:
    """A file without the table of this head."""
    return re.sub(rf"\[{re.escape(head)}\]\n(?:(?!\[).*\n)*", "", text)


def changed(text: str, head: str, old: str, new: str) -> str:
    """A file with another line in the table of this head."""
    start = text.index(f"[{head}]")
    assert old in text[start:]
    return text[:start] + text[start:].replace(old, new, 1)


MAKERS: dict[str, Callable[[], str]] = {
    "rlds": lambda: f"rlds:{by_hand(Path('toy/1.0.0'))}",
    "lerobot": lambda: f"lerobot:{write_v3(Path('pusht'))}",
    "minari": lambda: minari_file("none"),
    "robomimic": lambda: f"robomimic:{write_demos(Path('low_dim.hdf5'))}?max_steps=2",
    "aloha": lambda: f"aloha:{write_aloha(Path('transfer'))}?resize=32x48",
    "d4rl": lambda: f"d4rl:{write_flat(Path('hopper.hdf5'))}",
    "zarr": lambda: f"zarr:{write_replay(Path('umi.zarr'))}",
    "parquet": lambda: f"parquet:{write_parquet(Path('a.parquet'), with_camera())}",
    "npz": lambda: f"npz:{write_episodes(Path('sets'))}",
    "dqn-replay": lambda: (write_run(Path("Pong/1/replay_logs"), (5, 4)), "dqn-replay:Pong/1?stack=4")[1],
    "mcap": lambda: f"mcap:{write_ros2(Path('a.mcap'))}?fps=10&action=/cmd_vel",
    "coco": lambda: f"coco:{write_captions(Path('coco'))}",
    "image-text": lambda: write_pictures(3),
    "rollouts": lambda: "rollouts:BabyAI-GoToLocal-v0?episodes=2&image=rgb",
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_file_that_is_not_edited_changes_no_source(name: str) -> None:
    source = MAKERS[name]()
    text = written(source)
    assert edited(source, text) == source
    (task, *_) = open_source(source).specs()
    for path, field in open_source(source).specs()[task].fields.items():
        assert f'[tasks."{task}".fields."{path}"]\n# ' in text
        assert f'role = "{type(field).__name__.removesuffix("Spec").lower()}"\n' in text


@pytest.mark.parametrize("name", [name for name in MAKERS if name not in ("coco", "image-text", "rollouts")])
def test_a_field_is_left_out_and_an_action_ranged_in_every_source_of_episodes(name: str) -> None:
    source = MAKERS[name]()
    text = written(source)
    (task,) = open_source(source).specs()
    before = fields(source)
    gone = next(path for path in before if path != "observation/instruction")
    if len([path for path in before if path.startswith("observation/")]) > 1:
        text = without(text, f'tasks."{task}".fields."{gone}"')
        before.pop(gone)
    action = f'tasks."{task}".fields."action"'
    if isinstance(before["action"], ContinuousSpec):
        text = changed(text, action, re.search(r"high = .*", text[text.index(f"[{action}]") :])[0], "high = 8.5")  # type: ignore[index]
    new = edited(source, text)
    assert list(open_source(new).specs()) == [task]
    after = fields(new)
    assert list(after) == list(before)
    if isinstance(before["action"], ContinuousSpec):
        assert np.max(after["action"].high) == 8.5 and after["action"].low == before["action"].low
    assert edited(new, written(new)) == new


class TestOneEdit:
    def test_a_role(self, toy: str) -> None:
        text = written(toy)
        new = edited(toy, changed(text, EYE, "size = [32, 48]\n", "size = [16, 32]\n"))
        assert new == toy + "?resize=observation/eye:16x32&task=toy"
        assert fields(new)["observation/eye"] == ImageSpec(None, (16, 32))
        kept = (
            text
            + '\n[tasks.toy.fields."observation/gripper"]\nfrom = "gripper"\nrole = "discrete"\nlow = 0\nhigh = 4\n'
        )
        assert fields(edited(toy, kept))["observation/gripper"] == DiscreteSpec(5)

    def test_ranges_for_all_elements_and_for_each(self, toy: str) -> None:
        text = written(toy)
        action = 'tasks."toy".fields."action"'
        one = edited(toy, changed(text, action, "high = 1.0", "high = 3"))
        assert fields(one)["action"] == ContinuousSpec(2, -1, 3)
        each = edited(toy, changed(text, action, "high = 1.0", "high = [0.5, 1e-3]"))
        assert fields(each)["action"] == ContinuousSpec(2, -1, [0.5, 1e-3])

    def test_a_text_that_is_not_predicted(self, toy: str) -> None:
        text = written(toy)
        head = 'tasks."toy".fields."observation/instruction"'
        new = edited(toy, changed(text, head, "predicted = true", "predicted = false"))
        assert fields(new)["observation/instruction"] == TextSpec(predict=False)
        back = changed(written(new), head, "predicted = false", "predicted = true")
        assert fields(edited(new, back)) == fields(toy)

    def test_the_instruction_and_the_action(self, toy: str) -> None:
        text = written(toy)
        none = edited(toy, without(text, 'tasks."toy".fields."observation/instruction"'))
        assert "instruction=none" in none and "observation/instruction" not in fields(none)
        moved = without(text, STATE).replace('from = "action"', 'from = "observation/state"')
        acted = edited(toy, moved.replace("low = -1.0", "low = -64").replace("high = 1.0", "high = 64"))
        assert "action=observation/state" in acted and fields(acted)["action"] == ContinuousSpec(3, -64, 64)
        assert "observation/state" not in fields(acted)

    def test_a_key_that_is_deleted_is_inferred(self, toy: str) -> None:
        assert edited(toy, re.sub(r"^(size|low|high|predicted|from|role) = .*\n", "", written(toy), flags=re.M)) == toy

    def test_several_tasks_of_one_source(self) -> None:
        for name in ("a", "b"):
            write_flat(Path(f"{name}.hdf5"))
        text = written("d4rl:?.hdf5")
        assert list(SpecFile(Path("x"), text).tasks) == ["a", "b"]
        for task in ("a", "b"):
            text = changed(text, f'tasks."{task}".fields."action"', "high = 1.0", "high = 2.0")
        new = edited("d4rl:?.hdf5", text)
        assert new == "d4rl:?.hdf5?ranges=action:-1.0..2.0"
        assert list(open_source(new).specs()) == ["a/ranges=action:-1.0..2.0", "b/ranges=action:-1.0..2.0"]
        half = changed(written("d4rl:?.hdf5"), 'tasks."a".fields."action"', "high = 1.0", "high = 2.0")
        with pytest.raises(SpecFileError, match=re.escape("tasks.b.fields.action.high: the source cannot make it 1.0")):
            edited("d4rl:?.hdf5", half)


WRONG = [
    ('role = "image"', 'role = "picture"', "line 13: {eye}.role: must be one of text, image, frames,"),
    ('role = "image"', 'rol = "image"', "line 13: {eye}.rol: unknown key (nearest: 'role'); the keys are role,"),
    ("size = [32, 48]", "size = [30, 48]", "line 14: {eye}.size: must be [height, width] in multiples of 16, not"),
    ("size = [32, 48]", "size = [32, 48", "cannot be read as TOML: Unclosed array (at line 15, column 1)"),
    ("predicted = false", 'predicted = "no"', '{eye}.predicted: must be true or false, not "no"'),
    ("predicted = false", "predicted = true", "{eye}.predicted: "),
    ("size = [32, 48]", "low = 0\nhigh = 9", "option ranges, observation/eye: observation/eye (image, any size,"),
    ("size = [32, 48]", "low = 0", "{eye}.low: a range needs both: high is missing"),
    ('from = "observation/eye"', 'from = "eye"', "{eye}.from: the source has no field eye; fields: action,"),
    ('"observation/eye"]', '"eye"]', "line 11: tasks.toy.fields.eye: a field's path begins with observation or"),
    ('"observation/eye"]', '"observation/i"]', "makes no field of this name; that field is called observation/eye"),
    ("format = 1", "format = 2", "line 9: format: must be 1, not 2"),
    ('[tasks."toy".', '[tasks."toi".', "line 11: tasks.toi: no source has this task; tasks: toy"),
    ('[tasks."toy".fields', "[tasks.toy.field", "line 11: tasks.toy.field: unknown key (nearest: 'fields')"),
    ("high = 1.0", "high = -2.0", "option ranges, action: low must be below high, not low -1.0, high -2.0"),
    ("high = 1.0", "high = [1, 2, 3]", "option ranges, action: high has shape (3,), the field (2,)"),
    ("high = 1.0", "high = inf", "high: must be a number, or an array with one for each element, not Infinity"),
    ('predicted = false\nfrom = "observation/state"', "low = 0\nhigh = 1", "a continuous observation has no range"),
]


@pytest.mark.parametrize(("old", "new", "message"), WRONG, ids=[new for _, new, _ in WRONG])
def test_what_is_wrong_is_named_by_line_and_field(
    toy: str, old: str, new: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = written(toy)
    assert old in text
    with pytest.raises(SpecFileError) as error:
        edited(toy, text.replace(old, new, 1) if "toi" not in new else text.replace(old, new))
    said = str(error.value)
    assert said.startswith("edited.toml") and message.format(eye='tasks.toy.fields."observation/eye"') in said
    assert main(["convert", toy, "--spec", "edited.toml", "--out", "out/toy/1.0.0"]) == 2
    assert said in capsys.readouterr().err and not Path("out").exists()


@pytest.mark.parametrize(
    ("source", "old", "new", "message"),
    [
        ("rollouts", "size = [64, 64]", "size = [32, 32]", ""),
        ("rollouts", "predicted = true", "predicted = false", "takes no option that would change it"),
        ("rollouts", "predicted = false", 'from = "x"', "names no fields of its own"),
        ("image-text", 'role = "image"', 'role = "frames"', "image-text:pairs.jsonl takes no option that would change"),
    ],
)
def test_sources_without_these_options_say_so(source: str, old: str, new: str, message: str) -> None:
    name = MAKERS[source]()
    text = written(name)
    if source == "rollouts" and "size" in old:
        text = text.replace('role = "image"\n', 'role = "image"\nsize = [32, 32]\n')
        assert ImageSpec((56, 56, 3), (32, 32)) in fields(edited(name, text)).values()
        return
    with pytest.raises(SpecFileError, match=re.escape(message)):
        edited(name, text.replace(old, new, 1))


def converted(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert main(["convert", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_conversion_is_what_the_file_says(toy: str, capsys: pytest.CaptureFixture[str]) -> None:
    """From the path to the records; with one worker or two; an unedited file makes the plan that none makes."""
    text = written("toy")
    model = small_model()
    capsys.readouterr()
    plain = converted(capsys, "toy", *model, "--out", "none/toy/1.0.0")
    same = converted(capsys, "toy", *model, "--spec", "spec.toml", "--out", "same/toy/1.0.0")
    assert plain["plan_sha256"] == same["plan_sha256"] and tree("none") == tree("same")
    text = changed(without(text, EYE), 'tasks."toy".fields."action"', "high = 1.0", "high = 4.0")
    Path("edited.toml").write_text(text, encoding="utf-8")
    other = converted(capsys, "toy", *model, "--spec", "edited.toml", "--out", "one/toy/1.0.0")
    again = converted(capsys, "toy", *model, "--spec", "edited.toml", "--out", "two/toy/1.0.0", "--workers", "2")
    assert other["plan_sha256"] == again["plan_sha256"] != plain["plan_sha256"] and tree("one") == tree("two")
    assert any("is read as rlds:toy?" in note for note in other["notes"])
    dataset = Dataset.open("one/toy/1.0.0")
    spec = dataset.tokenizer.specs["toy"]
    assert list(spec.fields) == ["observation/instruction", "observation/state", "action"]
    assert np.max(spec.fields["action"].high) == 4.0  # type: ignore[union-attr]
    wide = dataset[0].actions
    assert np.abs(wide - Dataset.open("none/toy/1.0.0")[0].actions).max() < 0.01


def test_rejects_are_tried_again_without_the_file(toy: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = changed(written(toy), 'tasks."toy".fields."action"', "high = 1.0", "high = 4.0")
    Path("edited.toml").write_text(text, encoding="utf-8")
    (shard, *_) = sorted(Path("toy/1.0.0").glob("*train*"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-20] + bytes(20))
    first = ["toy", *small_model(), "--spec", "edited.toml", "--max-rejects", "1"]
    capsys.readouterr()
    assert converted(capsys, *first, "--out", "out/toy/1.0.0")["episodes"]["written"] == 2
    shard.write_bytes(whole)
    Path("edited.toml").unlink()
    assert main(["rejects", "retry", "out/toy/1.0.0", "--out", "out/toy/1.0.1"]) == 0
    dataset = Dataset.open("out/toy/1.0.1")
    assert len(dataset) == 3 and np.max(dataset.tokenizer.specs["toy"].fields["action"].high) == 4.0  # type: ignore[union-attr]


def test_the_plans_of_a_release_stay_without_a_file() -> None:
    """The hashes are those that this release gave before there were such files: what they can set leaves no trace."""
    step = {"observation": group(state=tensor("float32", 3)), "eye": None}
    made = record(3, **{"steps/observation/eye": None})
    by_hand(Path("toy/1.0.0"), {"train": [[made]], "val": [[made]]}, step)
    Path("a.txt").write_text("words", encoding="utf-8")
    plan, tokenizer = make_plan(["rlds:toy?max_steps=2", "text:a.txt"], Path("out/toy/1.0.0"))
    assert tokenizer.sha256 == "d66b5c235d6486523595bd1e9feafbe065a8c86a543e0e5dc098aae12b991865"
    hashed = dataclasses.replace(plan, generator="a release").sha256
    assert hashed == "64254718e3c47ea5332ae381528062eb2b6b6e1845d5bcdf1b5fdcd755d86384"


def test_a_file_is_not_written_over(toy: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = written(toy)
    assert main(["plan", toy, "--spec-out", "spec.toml"]) == 2
    assert "spec.toml exists: give another name" in capsys.readouterr().err
    assert Path("spec.toml").read_text(encoding="utf-8") == text
    assert main(["plan", toy, "--spec", "none.toml"]) == 2
    assert "none.toml: a TOML file of specs is expected, but there is nothing" in capsys.readouterr().err


def test_plan_with_a_file_writes_the_same_file_again(toy: str) -> None:
    text = changed(without(written(toy), EYE), 'tasks."toy".fields."action"', "high = 1.0", "high = 4.0")
    Path("first.toml").write_text(text, encoding="utf-8")
    again = written(toy, "--spec", "first.toml")
    wanted, found = (SpecFile(Path("x"), one).tasks for one in (text, again))
    assert wanted == found
    assert edited(named_source("toy"), again) == edited("rlds:toy", text)


def test_hostile_names_stay_in_their_strings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hostile_names.py").write_text(
        "import numpy as np\n"
        "def episodes():\n"
        "    observations = {key: np.ones((2, 1)) for key in ['a\"]\\n[tasks', 'b = 1', 'c\\x7f\\\\']}\n"
        "    for i in range(3): yield {'observations': observations, 'actions': np.ones((2, 1))}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    source = 'python:hostile_names:episodes?task=a=]"b'
    text = written(source)
    assert edited(source, text) == source
    assert len(SpecFile(Path("x"), text).tasks['a=]"b'] or {}) == 4
