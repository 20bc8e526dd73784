"""Specs from Gymnasium spaces: every space, the image rule, action bounds, refusals, and no import of Gymnasium."""

import re
import subprocess
import sys

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from gato_tokenize import EpisodeSpec, Roles, spec_from_spaces, tuple_to_dict
from gato_tokenize.field_spec import ContinuousSpec, DiscreteSpec, ImageSpec, TextSpec

FLOAT32_MAX = np.finfo(np.float32).max


def observation(space):
    return spec_from_spaces(space, spaces.Discrete(2)).observation


def action(space):
    return spec_from_spaces(spaces.Discrete(2), space).action


def box(low, high, shape, dtype):
    """A Box; arrays of bounds are cast first, which Gymnasium warns of."""
    low, high = (b.astype(dtype) if isinstance(b, np.ndarray) else b for b in (low, high))
    return spaces.Box(low, high, shape, dtype)


@pytest.mark.parametrize(
    ("space", "spec"),
    [
        (spaces.Discrete(5), DiscreteSpec(5)),
        (spaces.Discrete(5, start=-2), DiscreteSpec(5, (), -2)),
        (spaces.MultiDiscrete([3, 4]), DiscreteSpec((3, 4), 2)),
        (spaces.MultiDiscrete([[3, 4], [5, 6]], start=[[0, 1], [2, 3]]),
         DiscreteSpec((3, 4, 5, 6), (2, 2), (0, 1, 2, 3))),
        (spaces.MultiBinary(3), DiscreteSpec(2, 3)),
        (spaces.MultiBinary([2, 3]), DiscreteSpec(2, (2, 3))),
        (spaces.Text(9), TextSpec()),
        (box(-3, 4, (2,), np.int8), DiscreteSpec(8, 2, -3)),
        (box(np.array([0, -1]), np.array([9, 1]), (2,), np.int64), DiscreteSpec((10, 3), 2, (0, -1))),
        (box(0, 1, (2, 2), np.bool_), DiscreteSpec(2, (2, 2))),
        (box(0, 255, (), np.uint8), DiscreteSpec(256)),
        (box(-(2**63), 2**63 - 1, (1,), np.int64), DiscreteSpec(2**64, 1, -(2**63))),
        (box(0, 2**62, (1,), np.uint64), DiscreteSpec(2**62 + 1, 1)),
        (box(-np.inf, np.inf, (3,), np.float32), ContinuousSpec(3)),
        (box(0, 7, (2, 1), np.float64), ContinuousSpec((2, 1))),  # an observation is companded, whatever its bounds
        (box(-1, 1, (), np.float16), ContinuousSpec()),
    ],
)  # fmt: skip
def test_every_space_as_an_observation(space, spec):
    assert observation(space) == spec
    if not isinstance(spec, ContinuousSpec):
        assert action(space) == spec


@pytest.mark.parametrize(
    ("shape", "dtype", "spec"),
    [
        ((64, 80, 3), np.uint8, ImageSpec((64, 80, 3))),
        ((64, 80), np.uint8, ImageSpec((64, 80))),
        ((16, 16, 1), np.uint8, ImageSpec((16, 16, 1))),
        ((7, 7, 3), np.uint8, DiscreteSpec(256, (7, 7, 3))),  # a symbolic grid
        ((15, 16), np.uint8, DiscreteSpec(256, (15, 16))),
        ((16, 15, 3), np.uint8, DiscreteSpec(256, (16, 15, 3))),
        ((128,), np.uint8, DiscreteSpec(256, 128)),  # Atari's RAM
        ((16, 16), np.int16, DiscreteSpec(256, (16, 16))),
        ((16, 16, 3), np.float32, ContinuousSpec((16, 16, 3))),
    ],
)
def test_what_is_an_image(shape, dtype, spec):
    assert observation(box(0, 255, shape, dtype)) == spec


def test_an_action_is_no_image():
    assert action(box(0, 255, (16, 16, 3), np.uint8)) == DiscreteSpec(256, (16, 16, 3))


@pytest.mark.parametrize(
    ("low", "high", "shape", "dtype", "roles"),
    [
        (0, 255, (84, 84, 4), np.uint8, "frames rgba discrete"),  # colour with alpha, or Atari's four frames
        (0, 255, (84, 84, 2), np.uint8, "frames discrete"),
        (0, 255, (84, 84, 12), np.uint8, "frames rgb-frames discrete"),
        (0, 255, (3, 84, 84), np.uint8, "frames channels-first discrete"),
        (0, 255, (1, 84, 84), np.uint8, "channels-first discrete"),
        (0, 255, (4, 84, 84), np.uint8, "frames channels-first discrete"),
        (0, 255, (4, 84, 84, 3), np.uint8, "frames discrete"),
        (0, 255, (4, 3, 84, 84), np.uint8, "frames discrete"),
        (0, 255, (4, 4, 84, 84), np.uint8, "frames discrete"),
        (0, 255, (4, 84, 84, 4), np.uint8, "frames discrete"),
        (0, 1, (4, 1, 84, 84), np.float32, "frames continuous"),
        (0, 1, (84, 84, 3), np.float32, "image frames continuous"),
        (0, 1, (84, 84), np.float64, "image continuous"),
        (0, 1, (3, 84, 84), np.float32, "frames channels-first continuous"),
    ],
)
def test_what_could_be_two_things_names_the_roles(low, high, shape, dtype, roles):
    """Each role that the message names can be chosen, and gives a spec."""
    space = spaces.Dict({"a": box(low, high, shape, dtype)})
    with pytest.raises(ValueError, match=r"^observation/a: .* can be more than one thing: choose by") as refused:
        observation(space)
    ways = str(refused.value).partition("roles=observation/a:ROLE, where ROLE is ")[2]
    assert sorted(re.findall(r"([a-z-]+) \(", ways)) == sorted(roles.split())
    for role in roles.split():
        spec = spec_from_spaces(space, spaces.Discrete(2), Roles({"observation/a": role}))
        assert set(spec.observation) == {"a"}


@pytest.mark.parametrize(
    ("low", "high", "shape", "dtype", "spec"),
    [
        (0, 10, (19, 19), np.uint8, DiscreteSpec(11, (19, 19))),  # a board
        (0, 254, (64, 64, 3), np.uint8, DiscreteSpec(255, (64, 64, 3))),
        (1, 255, (64, 64), np.uint8, DiscreteSpec(255, (64, 64), 1)),
        (0, 10, (84, 84, 4), np.uint8, DiscreteSpec(11, (84, 84, 4))),
        (0, 1, (4, 84), np.float32, ContinuousSpec((4, 84))),
        (0, 1, (100,), np.float32, ContinuousSpec(100)),
        (-1, 1, (84, 84, 3), np.float32, ContinuousSpec((84, 84, 3))),
        (0, 255, (4, 8, 8), np.uint8, DiscreteSpec(256, (4, 8, 8))),
    ],
)
def test_other_bounds_and_shapes_are_numbers(low, high, shape, dtype, spec):
    assert observation(box(low, high, shape, dtype)) == spec


@pytest.mark.parametrize(
    ("space", "spec"),
    [
        (box(-1, 1, (2,), np.float32), ContinuousSpec(2)),
        (box(0, 2, (2,), np.float64), ContinuousSpec(2, 0, 2)),
        (box(np.array([0, -4]), np.array([2, 4]), (2,), np.float32), ContinuousSpec(2, (0, -4), (2, 4))),
        (box(-np.inf, np.inf, (2,), np.float32), ContinuousSpec(2)),
        (box(0, np.inf, (), np.float32), ContinuousSpec()),
        (box(np.array([-2, -np.inf]), np.array([2, 5]), (2,), np.float32), ContinuousSpec(2, (-2, -1), (2, 1))),
        (box(-FLOAT32_MAX, FLOAT32_MAX, (1,), np.float32), ContinuousSpec(1, -float(FLOAT32_MAX), float(FLOAT32_MAX))),
        (box(-1e308, 1e308, (1,), np.float64), ContinuousSpec(1)),
    ],
)
def test_the_bounds_of_an_action(space, spec):
    assert action(space) == spec


NESTED = spaces.Dict(
    {
        "camera": box(0, 255, (16, 32, 3), np.uint8),
        "arm": spaces.Tuple([spaces.Discrete(i + 1) for i in range(11)]),
        "inner": spaces.Dict({"mission": spaces.Text(5), "t": spaces.Tuple([spaces.MultiBinary(2)])}),
    }
)


def test_nested_spaces_and_a_tuple_of_more_than_ten():
    tree = observation(NESTED)
    assert list(tree["arm"]) == [f"{i:02d}" for i in range(11)]
    assert [field.size for field in tree["arm"].values()] == list(range(1, 12))
    assert tree["inner"] == {"mission": TextSpec(), "t": {"0": DiscreteSpec(2, 2)}}
    paths = list(EpisodeSpec(tree).observation_fields)
    assert paths[:11] == [f"observation/arm/{i:02d}" for i in range(11)]  # the order of the tuple, 10 after 09
    assert paths[11:] == ["observation/camera", "observation/inner/mission", "observation/inner/t/0"]


def test_tuple_to_dict_by_hand():
    assert tuple_to_dict(5) == 5
    assert tuple_to_dict({"a": (7, {"b": (8,)})}) == {"a": {"0": 7, "1": {"b": {"0": 8}}}}
    assert tuple_to_dict(tuple("abcdefghijk"))["10"] == "k"
    assert list(tuple_to_dict(tuple(range(101))))[:2] == ["000", "001"]
    assert tuple_to_dict(()) == {}
    assert tuple_to_dict([1, 2]) == [1, 2]


def test_an_empty_action_space_is_no_action():
    assert spec_from_spaces(spaces.Discrete(2), spaces.Tuple([])).action_fields == {}
    assert spec_from_spaces(spaces.Discrete(2), spaces.Dict({})).action_fields == {}


def test_keys_that_are_no_strings_are_written_as_such_in_spec_and_value():
    space = spaces.Dict({1: spaces.Discrete(3), 2: spaces.Discrete(4)})
    spec_from_spaces(space, space).validate(tuple_to_dict(space.sample()), tuple_to_dict(space.sample()))


def test_minigrid_with_its_mission():
    from minigrid.core.mission import MissionSpace

    space = spaces.Dict(
        {
            "image": box(0, 255, (7, 7, 3), np.uint8),
            "direction": spaces.Discrete(4),
            "mission": MissionSpace(lambda: "get the key"),
        }
    )
    spec = spec_from_spaces(space, spaces.Discrete(7))
    assert list(spec.observation_fields.values()) == [DiscreteSpec(4), DiscreteSpec(256, (7, 7, 3)), TextSpec()]
    spec.validate(space.sample(), 6)


class Strange(spaces.Space):
    pass


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (spaces.Sequence(spaces.Discrete(2)), "no field can stand for a Sequence space; write a spec"),
        (spaces.Graph(spaces.Discrete(2), None), "no field can stand for a Graph space"),
        (spaces.OneOf([spaces.Discrete(2)]), "no field can stand for a OneOf space"),
        (Strange((), np.float32), "no field can stand for a Strange space"),
        (5, "no field can stand for a int space"),
        (box(0, 2**64 - 1, (1,), np.uint64), "a discrete field's values must fit int64"),
        (box(0, 1, (0,), np.float32), "a continuous field's shape must have sides of at least 1"),
        (box(0, 1, (2, 0), np.int8), "a discrete field's shape must have sides of at least 1"),
    ],
)
def test_unknown_spaces_are_refused_by_path(space, message):
    inner = spaces.Dict({"b": spaces.Discrete(2)})
    inner.spaces["a"] = space
    for build, role in ((observation, "observation"), (action, "action")):
        with pytest.raises(ValueError, match=f"^{role}: {message}"):
            build(space)
        with pytest.raises(ValueError, match=f"^{role}/0/a: {message}"):
            build(spaces.Tuple([inner]))


def test_an_action_without_room_is_refused_by_path():
    with pytest.raises(ValueError, match="^action/a: low must be below high, not low 0.0, high .*; write a spec"):
        action(spaces.Dict({"a": box(np.array([0, 0]), np.array([1, 0]), (2,), np.float32)}))


def test_an_empty_space_is_refused_by_path():
    with pytest.raises(ValueError, match="^observation/a: a mapping of fields must not be empty"):
        observation(spaces.Dict({"a": spaces.Dict({}), "b": spaces.Discrete(2)}))


def test_a_slash_in_a_key_is_no_level():
    space = spaces.Dict({"walker/joints": spaces.Discrete(2), "walker": spaces.Dict({"joints": spaces.Discrete(3)})})
    spec = spec_from_spaces(space, spaces.Discrete(2))
    assert spec.observation == {"walker": {"joints": DiscreteSpec(3)}, "walker/joints": DiscreteSpec(2)}
    assert list(spec.observation_fields) == ["observation/walker/joints", "observation/walker~1joints"]
    spec.validate(tuple_to_dict(space.sample()), 1)


def test_keys_of_one_name_are_refused():
    with pytest.raises(ValueError, match=r"^observation: the keys \[1\] are also there as strings"):
        observation(spaces.Dict({1: spaces.Discrete(2), "1": spaces.Discrete(3)}))


shapes = st.lists(st.integers(1, 3), max_size=3).map(tuple)
dtypes = st.sampled_from([np.uint8, np.int8, np.int64, np.bool_, np.float32, np.float64])
leaves = (
    st.builds(lambda n, start: spaces.Discrete(n, start=start), st.integers(1, 9), st.integers(-9, 9))
    | st.lists(st.integers(1, 5), min_size=1, max_size=3).map(spaces.MultiDiscrete)
    | shapes.filter(bool).map(lambda shape: spaces.MultiBinary(list(shape)))
    | st.integers(1, 9).map(spaces.Text)
    | st.builds(lambda shape, dtype: box(0, 1, shape, dtype), shapes, dtypes)
    | st.just(box(0, 255, (17, 16, 3), np.uint8))
)
nested = st.recursive(
    leaves,
    lambda node: (
        st.lists(node, min_size=1, max_size=12).map(spaces.Tuple)
        | st.dictionaries(st.text("ab-_", min_size=1, max_size=2), node, min_size=1, max_size=3).map(spaces.Dict)
    ),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(nested, nested, st.integers(0, 2**31))
def test_a_sampled_value_fits_the_spec(one, two, seed):
    spec = spec_from_spaces(one, two)
    one.seed(seed)
    two.seed(seed)
    spec.validate(tuple_to_dict(one.sample()), tuple_to_dict(two.sample()))
    assert EpisodeSpec.from_json(spec.to_json()) == spec


def test_gymnasium_is_not_imported():
    code = "import gato_tokenize, sys; gato_tokenize.spec_from_spaces; sys.exit('gymnasium' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
