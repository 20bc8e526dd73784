"""Roles: what a Box can be taken for, and that its values become just that."""

import pickle

import numpy as np
import pytest
from gymnasium import spaces

from gato_tokenize import (
    ContinuousSpec,
    DiscreteSpec,
    Episode,
    EpisodeSpec,
    EpisodeTokenizer,
    ImageSpec,
    Roles,
    read_spaces,
)


def reading(space, role, resize=None, action=None):
    return read_spaces(space, action or spaces.Discrete(2), Roles({"observation": role} if role else {}, resize))


def pixels(*shape):
    return np.arange(np.prod(shape), dtype=np.int64).astype(np.uint8).reshape(shape)


def cut(picture, like):
    """Leave out alpha, which `like` does not have."""
    return picture[..., : like.shape[-1]]


def of(low, high, shape, dtype=np.uint8):
    return spaces.Box(low, high, shape, dtype)


@pytest.mark.parametrize(
    ("space", "role", "spec"),
    [
        (of(0, 10, (19, 19)), "image", ImageSpec((19, 19))),
        (of(0, 255, (7, 7, 3)), "image", ImageSpec((7, 7, 3))),
        (of(0, 255, (84, 84, 4)), "rgba", ImageSpec((84, 84, 4))),
        (of(0, 255, (3, 64, 80)), "channels-first", ImageSpec((64, 80, 3))),
        (of(0, 255, (64, 64, 3)), "discrete", DiscreteSpec(256, (64, 64, 3))),
        (of(0, 255, (64, 64, 3)), "continuous", ContinuousSpec((64, 64, 3))),
        (of(0, 1, (32, 16), np.float32), "image", ImageSpec((32, 16))),
        (of(0, 10**6, (2,), np.int64), "continuous", ContinuousSpec(2)),
    ],
)
def test_one_field(space, role, spec):
    read = reading(space, role)
    assert read.spec.observation == spec and role in read.reasons["observation"]
    value = space.sample()
    read.spec.validate(read.observation(value))
    stacked = read.observation(np.stack([value] * 3))
    Episode(read.spec, stacked, [0, 1, 0])


class TestFrames:
    @pytest.mark.parametrize(
        ("shape", "role", "frame"),
        [
            ((84, 84, 4), "frames", lambda stack, i: stack[..., i]),
            ((4, 84, 84), "frames", lambda stack, i: stack[i]),
            ((4, 32, 48, 3), "frames", lambda stack, i: stack[i]),
            ((4, 32, 48, 4), "frames", lambda stack, i: stack[i, ..., :3]),
            ((4, 3, 32, 48), "frames", lambda stack, i: stack[i].transpose(1, 2, 0)),
            ((4, 1, 32, 48), "frames", lambda stack, i: stack[i].transpose(1, 2, 0)),
            ((4, 4, 32, 48), "frames", lambda stack, i: stack[i, :3].transpose(1, 2, 0)),
            ((32, 48, 12), "rgb-frames", lambda stack, i: stack[..., 3 * i : 3 * i + 3]),
            ((12, 32, 48), "rgb-frames", lambda stack, i: stack[3 * i : 3 * i + 3].transpose(1, 2, 0)),
        ],
    )
    def test_each_becomes_a_picture_in_order(self, shape, role, frame):
        read, stack = reading(of(0, 255, shape), role), pixels(*shape)
        assert list(read.spec.observation_fields) == [f"observation/{i}" for i in range(4)]
        seen, stacked = read.observation(stack), read.observation(np.stack([stack, stack + 1]))
        for i in range(4):
            np.testing.assert_array_equal(cut(seen[str(i)], frame(stack, i)), frame(stack, i))
            np.testing.assert_array_equal(cut(stacked[str(i)][1], frame(stack, i)), frame(stack + 1, i))
        read.spec.validate(seen)

    def test_nothing_is_dropped_by_the_tokens(self):
        read, stack = reading(of(0, 255, (16, 32, 4)), "frames"), pixels(16, 32, 4)
        tokenizer = EpisodeTokenizer(read.spec)
        sequence = tokenizer.encode(Episode(read.spec, read.observation(stack[None]), [1]))
        decoded = tokenizer.decode(sequence).observations
        np.testing.assert_array_equal(np.stack([decoded[str(i)][0] for i in range(4)], axis=-1), stack)

    def test_more_than_ten_stay_in_order(self):
        assert list(reading(of(0, 255, (16, 16, 12)), "frames").spec.observation)[-2:] == ["10", "11"]

    def test_a_size_for_all(self):
        spec = reading(of(0, 255, (84, 84, 4)), "frames", (96, 64)).spec
        assert set(spec.observation.values()) == {ImageSpec((84, 84), (96, 64))}


class TestValues:
    def test_channels_first_are_moved(self):
        stack = pixels(3, 16, 32)
        seen = reading(of(0, 255, (3, 16, 32)), "channels-first").observation(stack)
        np.testing.assert_array_equal(seen, stack.transpose(1, 2, 0))

    def test_a_float_picture_is_scaled(self):
        read = reading(of(0, 1, (16, 16), np.float32), "image")
        seen = read.observation(pixels(16, 16) / np.float32(255))
        np.testing.assert_array_equal(seen, pixels(16, 16))
        assert seen.dtype == np.uint8

    @pytest.mark.parametrize("value", [1.1, -0.1, np.nan])
    def test_a_value_that_is_no_pixel_is_refused(self, value):
        picture = np.zeros((16, 16), np.float32)
        picture[2, 3] = value
        with pytest.raises(ValueError, match=r"^observation: .* at index \[2, 3\] is outside \[0, 1\]"):
            reading(of(0, 1, (16, 16), np.float32), "image").observation(picture)

    def test_without_roles_nothing_changes(self):
        value = {"a": (pixels(16, 16), 1)}
        space = spaces.Dict({"a": spaces.Tuple([of(0, 255, (16, 16)), spaces.Discrete(3)])})
        seen = read_spaces(space, spaces.Discrete(2)).observation(value)
        assert seen["a"]["0"] is value["a"][0] and seen["a"]["1"] == 1

    def test_a_whole_action_as_real_numbers(self):
        read = read_spaces(spaces.Discrete(2), of(0, 5000, (2,), np.int32), Roles({"action": "continuous"}))
        assert read.spec.action == ContinuousSpec(2, 0, 5000)
        assert read.action(np.array([3, 5000], np.int32)).dtype == np.float32

    def test_a_reading_travels(self):
        read = pickle.loads(pickle.dumps(reading(of(0, 255, (84, 84, 4)), "frames")))
        assert read.observation(pixels(84, 84, 4))["2"].shape == (84, 84)


@pytest.mark.parametrize(
    ("space", "role", "message"),
    [
        (of(0, 255, (84, 84, 4)), "image", "has not the shape of a picture: its role cannot be image"),
        (of(0, 255, (84, 84)), "frames", "frames are stacked as"),
        (of(0, 255, (16, 16, 16)), "frames", "frames are stacked as"),
        (of(0, 255, (16, 16, 16)), "rgb-frames", r"frames are stacked as \[h, w, 3k\] or \[3k, h, w\], not"),
        (of(0, 255, (4, 3, 16, 3)), "frames", r"frames are stacked as .* not \[4, 3, 16, 3\]"),
        (of(0, 255, (16, 16, 4)), "rgb-frames", "4 channels along axis -1 .* do not make frames of 3"),
        (of(0, 255, (16, 16, 5)), "channels-first", "has not the shape"),
        (of(-1, 1, (16, 16), np.float32), "image", "holds no pixels"),
        (of(0, 1, (16, 16), np.float32), "discrete", "holds no whole numbers"),
    ],
)
def test_a_role_that_a_box_cannot_have(space, role, message):
    with pytest.raises(ValueError, match=f"^observation: .*{message}"):
        reading(space, role)


@pytest.mark.parametrize(("high", "shape", "dtype"), [
    (255, (2, 4, 84, 84, 3), np.uint8), (255, (84, 84, 84), np.uint8), (1, (2, 2, 84, 84), np.float32),
])  # fmt: skip
def test_pictures_in_an_order_of_axes_that_no_role_has(high, shape, dtype):
    """They are refused, and the role that the message names can be chosen."""
    space = of(0, high, shape, dtype)
    with pytest.raises(ValueError, match=r"^observation: .* may hold pictures, but in no order .*:") as refused:
        reading(space, "")
    role = str(refused.value).partition("roles=observation:")[2].split()[0]
    read = reading(space, role).spec.observation
    assert read.shape == shape


def test_an_action_is_no_picture():
    with pytest.raises(ValueError, match="^action: an action is discrete or continuous, so its role cannot be image"):
        read_spaces(spaces.Discrete(2), of(0, 255, (16, 16)), Roles({"action": "image"}))


def test_a_choice_without_effect_is_refused():
    with pytest.raises(ValueError, match="^action: a Discrete space has one meaning, so its role cannot be chosen"):
        read_spaces(spaces.Discrete(2), spaces.Discrete(2), Roles({"action": "continuous"}))
    with pytest.raises(ValueError, match="a role was chosen for observation/b, but the fields are observation, action"):
        read_spaces(spaces.Discrete(2), spaces.Discrete(2), Roles({"observation/b": "image"}))
    with pytest.raises(ValueError, match="a size of pictures was chosen, but no field is a picture"):
        reading(of(0, 10, (19, 19)), "", (16, 16))


class TestText:
    def test_a_path_may_hold_commas_and_colons(self):
        assert Roles.parse("observation/a,b:c:image,action:discrete").by_path == (
            ("action", "discrete"), ("observation/a,b:c", "image"),
        )  # fmt: skip
        assert Roles.parse("") == Roles() and Roles().suffix == ""

    @pytest.mark.parametrize(
        "text",
        ["observation", "observation:picture", "observation:image,", ":image", "a:image,a:rgba"],
    )
    def test_nonsense_is_refused(self, text):
        with pytest.raises(ValueError, match=f"roles={text}"):
            Roles.parse(text)

    def test_an_unknown_role_or_size(self):
        with pytest.raises(ValueError, match="observation: unknown role 'picture'; known: image, frames"):
            Roles({"observation": "picture"})
        with pytest.raises(ValueError, match="resize must be .* multiples of 16"):
            Roles(resize=(20, 16))


def test_any_key_there_and_back():
    """Keys with "/" and "~", an empty one, and two that unescaped paths would confuse."""
    keys = ["w/pos", "w~1pos", "w~01pos", "", "/", "~"]
    spec = EpisodeSpec(
        {**{key: DiscreteSpec(9) for key in keys}, "w": {"pos": DiscreteSpec(9)}}, {"a/b": DiscreteSpec(3)}
    )
    assert EpisodeSpec.from_json(spec.to_json()) == spec and len(spec.fields) == len(keys) + 2
    observation = {**{key: [i] for i, key in enumerate(keys)}, "w": {"pos": [8]}}
    tokenizer = EpisodeTokenizer(spec)
    decoded = tokenizer.decode(tokenizer.encode(Episode(spec, observation, {"a/b": [2]})))
    assert decoded.observations == observation and decoded.actions == {"a/b": [2]}
    one = {**{key: i for i, key in enumerate(keys)}, "w": {"pos": 8}}
    assert tokenizer.encode_observation(one).ids.tolist() == tokenizer.encode(decoded).ids.tolist()[:-1]
    assert tokenizer.decode_action([2]) == {"a/b": 2}
