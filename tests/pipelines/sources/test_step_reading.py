"""The fields of a format to a spec, and its arrays to episodes: which fields, in which roles, and what is left out."""

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gato_tokenize import (
    ContinuousSpec,
    DiscreteSpec,
    Episode,
    EpisodeMetadata,
    EpisodeTokenizer,
    ImageSpec,
    TextSpec,
)
from gato_tokenize.array_spaces import Box, Discrete, PictureFiles, Text
from pipelines.sources.episode_options import EpisodeOptions, RatedOptions
from pipelines.sources.errors import SourceError
from pipelines.sources.options import parse_options
from pipelines.sources.step_fields import StepFields, choose_fields
from pipelines.sources.step_reading import StepReading

FLOAT, BYTE = np.dtype(np.float32), np.dtype(np.uint8)
ROBOT = StepFields(
    {
        "observation/arm/joints": Box((2,), FLOAT),
        "observation/eye": Box((32, 48, 3), BYTE),
        "observation/goal_embedding": Box((512,), FLOAT),
        "observation/depth": PictureFiles((32, 48, 1)),
        "action/gripper": Box((), np.dtype(bool)),
        "action/move": Box((3,), FLOAT),
        "command": Text(),
        "comment": Text(),
        "extra": Discrete(4),
    },
    instruction="command",
    apart={"observation/depth": "16 bits do not fit a picture of 8"},
)


def reading(of: StepFields = ROBOT, stride: int = 1, **options: str) -> StepReading:
    return StepReading(of, parse_options(EpisodeOptions, options), stride)


def arrays(steps: int = 3) -> dict[str, Any]:
    return {
        "observation/arm/joints": np.arange(2 * steps, dtype=np.float32).reshape(steps, 2),
        "observation/eye": np.zeros((steps, 32, 48, 3), np.uint8),
        "action/gripper": np.arange(steps) % 2 == 0,
        "action/move": np.zeros((steps, 3)),
        "command": [f"lift {i}".encode() for i in range(steps)],
        "extra": np.arange(steps) % 4,
    }


def episode(reading: StepReading, given: dict[str, Any], **more: Any) -> Episode:
    return reading.episode(given, EpisodeMetadata("a", "toy", "toy", terminated=True), **more)


def test_by_hand() -> None:
    read = reading()
    assert read.spec.fields == {
        "observation/arm/joints": ContinuousSpec(2),
        "observation/eye": ImageSpec((32, 48, 3)),
        "observation/instruction": TextSpec(),
        "action/gripper": DiscreteSpec(2),
        "action/move": ContinuousSpec(3),
    }
    assert set(read.reasons) == set(read.spec.fields)
    assert list(read.left_out) == ["observation/goal_embedding", "observation/depth", "comment", "extra"]
    assert "512 numbers" in read.left_out["observation/goal_embedding"]
    assert "16 bits" in read.left_out["observation/depth"] and "fields=extra" in read.left_out["extra"]
    one = episode(read, arrays(), rewards=[1, 2, 3])
    assert one.observations["arm"]["joints"].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert one.observations["instruction"] == ["lift 0", "lift 1", "lift 2"]
    assert one.actions["gripper"].tolist() == [True, False, True]
    named = one.metadata
    assert (named.return_, named.instruction, named.terminated, named.truncated) == (6.0, "lift 0", True, False)
    assert one.notes == {} and EpisodeTokenizer(read.spec).encode(one).num_steps == 3


class TestFields:
    @pytest.mark.parametrize(
        ("fields", "kept"),
        [
            ("observation/eye", ["eye", "instruction"]),
            ("observation/arm,extra", ["arm/joints", "extra", "instruction"]),
            ("observation/arm/*", ["arm/joints", "instruction"]),
            ("-observation/eye", ["arm/joints", "instruction"]),
            ("observation,-observation/arm,-observation/goal_embedding,-observation/depth", ["eye", "instruction"]),
            ("-command", ["arm/joints", "eye"]),
            ("observation/goal_embedding,observation/depth", ["depth", "goal_embedding", "instruction"]),
        ],
    )
    def test_which_are_kept(self, fields: str, kept: list[str]) -> None:
        assert list(reading(fields=fields).spec.observation_fields) == [f"observation/{name}" for name in kept]

    def test_one_field_is_the_action_and_several_stand_below_it(self) -> None:
        assert reading(action="action/move").spec.action == ContinuousSpec(3)
        assert list(reading(action="action/move,extra").spec.action_fields) == ["action/extra", "action/move"]
        moved = reading(action="observation/arm/joints")
        assert moved.spec.action == ContinuousSpec(2)
        assert list(moved.spec.observation_fields) == ["observation/eye", "observation/instruction"]
        assert moved.left_out["action/move"] == "action= does not name it"
        assert episode(moved, arrays()).actions.tolist() == [[0, 1], [2, 3], [4, 5]]

    def test_another_instruction_or_none(self) -> None:
        assert reading(instruction="comment").places["observation/instruction"] == "comment"
        assert "observation/instruction" not in reading(instruction="none").places

    def test_a_bare_observation_stays_bare_unless_another_joins_it(self) -> None:
        fields = StepFields({"observation": Box((2,), FLOAT), "action": Discrete(3), "words": Text()})
        assert reading(fields).spec.observation == ContinuousSpec(2)
        joined = reading(fields, instruction="words").spec
        assert list(joined.observation_fields) == ["observation/instruction", "observation/observation"]

    def test_a_key_with_a_slash_stays_one_key(self) -> None:
        fields = StepFields({"observation/w~1pos": Box((2,), FLOAT), "observation/v": Box((), FLOAT),
                             "action": Discrete(3)})  # fmt: skip
        one = episode(reading(fields), {"observation/w~1pos": np.ones((1, 2)), "observation/v": [0.0], "action": [1]})
        assert one.observations["w/pos"].tolist() == [[1, 1]]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"fields": "observation/ear"}, "no field observation/ear; fields: observation/arm/joints"),
            ({"fields": "-ear"}, "no field ear"),
            ({"fields": "-observation"}, "no field is left for the observation"),
            ({"action": "go"}, "no field go"),
            ({"instruction": "extra"}, "no field of text; those are: command, comment"),
            ({"fields": "observation/eye,"}, "option fields=observation/eye, must be a list without gaps"),
            ({"roles": "observation/ear:image"}, "a role was chosen for observation/ear"),
            ({"resize": "observation/ear:32x32"}, "a size was chosen for observation/ear"),
            ({"resize": "observation/arm/joints:32x32"}, "which is no picture"),
            ({"resize": "observation/eye:33x32"}, "multiples of 16"),
            ({"max_steps": "-1"}, "at least 0"),
        ],
    )
    def test_nonsense_is_refused(self, options: dict[str, str], message: str) -> None:
        with pytest.raises(SourceError, match=re.escape(message)):
            reading(**options)

    def test_a_field_that_cannot_be_read_is_noted_and_refused_with_the_reason(self) -> None:
        fields = StepFields(ROBOT.spaces, ROBOT.instruction, unreadable={"observation/odd": "objects"})
        assert reading(fields, fields="-observation/odd").left_out["observation/odd"] == "objects"
        assert "the field observation/odd is left out: objects" in reading(fields).notes
        with pytest.raises(SourceError, match="observation/odd cannot be read: objects"):
            reading(fields, fields="observation/odd")

    def test_two_fields_of_one_name_and_no_action_are_refused(self) -> None:
        spaces = {"observation/x": Box((), FLOAT), "x": Box((), FLOAT), "action": Discrete(2)}
        with pytest.raises(SourceError, match="observation/x and x would both be observation/x"):
            choose_fields(StepFields(spaces), EpisodeOptions(fields="observation/x,x"))
        with pytest.raises(SourceError, match="no field is the action"):
            choose_fields(StepFields({"observation/x": Box((), FLOAT)}), EpisodeOptions())


class TestRanges:
    @pytest.mark.parametrize(
        ("box", "role", "spec"),
        [
            (Box((2,), np.dtype(bool)), "", DiscreteSpec(2, 2)),
            (Box((2,), BYTE), "", DiscreteSpec(256, 2)),
            (Box((), np.dtype(np.int8)), "", DiscreteSpec(256, (), -128)),
            (Box((2,), np.dtype(np.int64)), "", ContinuousSpec(2)),
            (Box((2,), np.dtype(np.int64)), "discrete", DiscreteSpec(1024, 2)),
            (Box((), np.dtype(np.int64), np.array(1), np.array(3)), "", DiscreteSpec(3, (), 1)),
            (Box((16, 16, 3), BYTE), "", ImageSpec((16, 16, 3))),
            (Box((16, 16), FLOAT), "image", ImageSpec((16, 16))),
            (Box((16, 16), np.dtype(np.int32)), "image", ImageSpec((16, 16))),
            (PictureFiles((30, 50, 3)), "", ImageSpec(None, (32, 48))),
            (PictureFiles(), "", ImageSpec()),
        ],
    )
    def test_of_an_observation(self, box: Any, role: str, spec: Any) -> None:
        fields = StepFields({"observation": box, "action": Discrete(2)})
        assert reading(fields, roles=f"observation:{role}" if role else "").spec.observation == spec

    @pytest.mark.parametrize(
        ("box", "low", "high"),
        [
            (Box((2,), FLOAT), -1.0, 1.0),
            (Box.seen_in([np.array([[0.1, -1], [0.2, 1]])]), -1.0, 1.0),
            (Box.seen_in([np.array([[0.1, -3.0]]), np.array([[np.nan, 2.0]])]), (-1.0, -4.0), (1.0, 4.0)),
            (Box((2,), FLOAT, np.array([-2, 0]), np.array([2, 1])), (-2.0, 0.0), (2.0, 1.0)),
        ],
    )
    def test_of_an_action(self, box: Box, low: Any, high: Any) -> None:
        read = reading(StepFields({"observation": Discrete(2), "action": box}))
        assert (read.spec.action.low, read.spec.action.high) == (low, high)
        assert ("nobody states" in read.reasons["action"]) == (box.low is None and box.seen is None)
        assert ("first episodes" in read.reasons["action"]) == (box.seen is not None)

    @pytest.mark.parametrize(
        ("spaces", "message"),
        [
            ({"action": Box((), np.dtype(np.int64))}, "roles=action:ROLE, where ROLE is discrete .* or continuous"),
            ({"observation": Box((32, 32, 3), FLOAT)}, "roles=observation:ROLE, where ROLE is image"),
            ({"observation": Box((32, 32, 4), BYTE)}, "rgba"),
            ({"observation": Box((2,), np.dtype(complex))}, "no field can stand for a Box of complex128"),
            ({"action": PictureFiles((32, 32, 3))}, "an image is never an action"),
        ],
    )
    def test_what_could_be_two_things_is_refused(self, spaces: dict[str, Any], message: str) -> None:
        with pytest.raises(SourceError, match=message):
            reading(StepFields({"observation": Discrete(2), "action": Discrete(2), **spaces}))

    def test_arrays_that_differ_are_refused(self) -> None:
        with pytest.raises(ValueError, match="differ in their shapes"):
            Box.seen_in([np.ones((2, 3)), np.ones((2, 4))])

    def test_floats_of_a_picture_without_a_range_are_checked(self) -> None:
        fields = StepFields({"observation": Box((16, 16), FLOAT), "action": Discrete(2)})
        read = reading(fields, roles="observation:image")
        half = episode(read, {"observation": np.full((1, 16, 16), 0.5), "action": [1]})
        assert half.observations.max() == 128
        with pytest.raises(ValueError, match=r"outside \[0, 1\]"):
            episode(read, {"observation": np.full((1, 16, 16), 2.0), "action": [1]})


class TestEpisodes:
    def test_a_last_observation_is_left_out_and_counted(self) -> None:
        given = {**arrays(), "observation/arm/joints": np.arange(8).reshape(4, 2)}
        one = episode(reading(), given)
        assert one.num_steps == 3 and one.notes == {"final observation left out": 1}

    def test_max_steps_and_a_stride(self) -> None:
        one = episode(reading(stride=2, max_steps="2"), arrays(8), rewards=np.arange(8.0))
        assert one.observations["arm"]["joints"][:, 0].tolist() == [0, 4]
        assert one.notes == {"timesteps beyond max_steps left out": 4, "timesteps left out by fps": 2}
        assert (one.metadata.return_, one.metadata.terminated, one.metadata.truncated) == (6.0, False, True)
        assert one.rewards.tolist() == [0 + 1, 2 + 3]
        assert episode(reading(stride=3), arrays(7), rewards=np.arange(7.0)).rewards.tolist() == [3, 12, 6]
        whole = episode(reading(max_steps="8"), arrays(8))
        assert whole.metadata.terminated and not whole.metadata.truncated and whole.notes == {}
        assert episode(reading(stride=3), arrays(7)).num_steps == 3

    def test_picture_files_pass_through(self) -> None:
        fields = StepFields({"observation/eye": PictureFiles((32, 48, 3)), "action": Discrete(2)})
        file = io.BytesIO()
        Image.fromarray(np.zeros((32, 48, 3), np.uint8)).save(file, "JPEG")
        one = episode(reading(fields), {"observation/eye": [file.getvalue()] * 2, "action": [0, 1]})
        sequence = EpisodeTokenizer(one.spec).encode(one)
        assert sequence.encoded == (file.getvalue(),) * 2

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"action/move": np.zeros((2, 3))}, "action/move: 2 values, but action/gripper has 3"),
            ({"action/move": np.zeros((4, 3))}, "action/move: 4 values"),
            ({"observation/eye": np.zeros((5, 32, 48, 3), np.uint8)}, "observation/eye: 5 values"),
            ({"observation/arm/joints": np.full((3, 2), np.nan)}, "observation/arm/joints: nan"),
            ({"command": [b"a", b"\xff", b"c"]}, r"instruction\[1\]: not UTF-8"),
            ({"command": ["a", 3, "c"]}, "expected str, got int"),
            ({"action/gripper": np.zeros(0, bool)}, "the episode is empty"),
        ],
    )
    def test_what_does_not_fit_is_named(self, given: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            episode(reading(), {**arrays(), **given})

    def test_what_is_missing_is_named(self) -> None:
        given = arrays()
        del given["command"]
        with pytest.raises(ValueError, match="command: missing, which is observation/instruction"):
            episode(reading(), given)

    @pytest.mark.parametrize(
        ("rewards", "message"), [([1, 2], "expected 3, one a timestep"), ([1, np.nan, 2], "nan is not finite")]
    )
    def test_rewards_that_do_not_fit(self, rewards: Any, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            episode(reading(), arrays(), rewards=rewards)

    def test_one_text_holds_in_every_timestep(self) -> None:
        assert episode(reading(), {**arrays(), "command": "lift"}).observations["instruction"] == ["lift"] * 3


class TestOptions:
    def test_what_was_chosen_names_the_task(self) -> None:
        options = parse_options(EpisodeOptions, {"fields": "-a", "resize": "32x32,b:16x16", "max_steps": "3"})
        assert options.task_of("set") == "set/fields=-a/resize=32x32,b:16x16"
        assert parse_options(EpisodeOptions, {"fields": "-a", "task": "mine"}).task_of("set") == "mine"
        assert parse_options(RatedOptions, {"fps": "5"}).task_of("set") == "set/fps=5"

    def test_splits(self) -> None:
        found = ["train", "val", "test"]
        assert EpisodeOptions().splits_of(found) == {"train": "train", "val": "validation", "test": "test"}
        assert EpisodeOptions(splits="val,train:dev").splits_of(found) == {"train": "dev", "val": "validation"}
        with pytest.raises(SourceError, match="no split dev; splits: train, val, test"):
            EpisodeOptions(splits="dev").splits_of(found)
        with pytest.raises(SourceError, match="splits=SPLIT:NAME"):
            EpisodeOptions().splits_of(["a-b"])
        for wrong in ("a:b-c", "a,a:b", "a,"):
            with pytest.raises(SourceError, match="split"):
                EpisodeOptions(splits=wrong)

    def test_a_rate_that_does_not_divide_is_refused(self) -> None:
        assert RatedOptions().stride_of(10) == 1 and RatedOptions(fps=2.5).stride_of(10) == 4
        with pytest.raises(SourceError, match="10 timesteps a second were recorded, so it is one of 10, 5, 3.33"):
            RatedOptions(fps=4).stride_of(10)
        for wrong in (-1.0, float("inf"), float("nan")):
            with pytest.raises(SourceError, match="fps"):
                RatedOptions(fps=wrong)

    def test_every_size_has_its_field(self, tmp_path: Path) -> None:
        spaces = {"observation/a": Box((32, 48, 3), BYTE), "observation/b": Box((32, 48, 3), BYTE)}
        fields = StepFields({**spaces, "action": Discrete(2)})
        sizes = {path: spec.resize for path, spec in
                 reading(fields, resize="64x64,observation/b:16x32").spec.observation_fields.items()}  # fmt: skip
        assert sizes == {"observation/a": (64, 64), "observation/b": (16, 32)}
        only = reading(fields, resize="observation/b:16x32").spec
        assert [spec.resize for spec in only.observation_fields.values()] == [None, (16, 32)]
