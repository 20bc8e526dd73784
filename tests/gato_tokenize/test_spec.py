"""Field specs and the episode's: by hand, JSON round trip, invented examples, the order of keys, refusals by path."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gato_tokenize.field_spec import ContinuousSpec, DiscreteSpec, ImageSpec, TextSpec
from gato_tokenize.spec import EpisodeSpec, flatten, match_keys, unflatten

FLOAT32_MAX = float(np.finfo(np.float32).max)
shapes = st.lists(st.integers(1, 3), max_size=3).map(tuple)


@st.composite
def image_specs(draw):
    sides = st.integers(1, 40)
    shape = draw(st.none() | st.tuples(sides, sides) | st.tuples(sides, sides, st.sampled_from([1, 3, 4])))
    multiple = st.integers(1, 3).map(lambda n: 16 * n)
    return ImageSpec(shape, draw(st.none() | st.tuples(multiple, multiple)))


@st.composite
def discrete_specs(draw):
    shape = draw(shapes)
    n = int(np.prod(shape))
    low = draw(st.integers(-(2**63), 2**63 - 1) | st.lists(st.integers(-9, 9), min_size=n, max_size=n))
    most = 2**63 - (low if isinstance(low, int) else 9)
    size = draw(st.integers(1, most) | st.lists(st.integers(1, min(most, 99)), min_size=n, max_size=n))
    return DiscreteSpec(size, shape, low)


@st.composite
def continuous_specs(draw):
    shape = draw(shapes)
    n = int(np.prod(shape))
    numbers = st.floats(-FLOAT32_MAX, FLOAT32_MAX, width=32)
    pairs = draw(st.lists(st.tuples(numbers, numbers).filter(lambda p: p[0] < p[1]), min_size=n, max_size=n))
    return ContinuousSpec(shape, *zip(*pairs, strict=True))


not_images = st.builds(TextSpec, st.booleans()) | discrete_specs() | continuous_specs()
keys = st.text(min_size=1, max_size=4).filter(lambda key: "/" not in key) | st.sampled_from(["type", "shape", "a-b"])


def trees(leaves):
    return st.recursive(leaves, lambda node: st.dictionaries(keys, node, min_size=1, max_size=3), max_leaves=5)


episode_specs = st.builds(EpisodeSpec, trees(not_images | image_specs()), trees(not_images) | st.just({})) | st.builds(
    EpisodeSpec, trees(not_images | image_specs()), timesteps=st.just(False)
)


def leaves_equal(one, two):
    return type(one) is type(two) and np.array_equal(np.asarray(one), np.asarray(two))


# By hand.


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (TextSpec(), "text"),
        (TextSpec(predict=False), "text, not predicted"),
        (ImageSpec(), "image, any size"),
        (ImageSpec((64, 80, 3)), "image, uint8[64, 80, 3]"),
        (ImageSpec((64, 80), resize=(16, 32)), "image, uint8[64, 80], resized to [16, 32]"),
        (DiscreteSpec(7), "discrete, int[], size 7"),
        (DiscreteSpec((2, 3), 2, -1), "discrete, int[2], size (2, 3), low -1"),
        (DiscreteSpec(2**63), f"discrete, int[], size {2**63}"),
        (DiscreteSpec((2**64, 3), 2, -(2**63)), f"discrete, int[2], size ({2**64}, 3), low {-(2**63)}"),
        (ContinuousSpec(3), "continuous, float32[3]"),
        (ContinuousSpec((2, 1), low=0), "continuous, float32[2, 1], from 0.0 to 1.0"),
    ],
)
def test_a_spec_describes_itself_and_invents_a_legal_value(spec, text):
    assert spec.describe() == text
    for seed in range(20):
        spec.validate(spec.example(np.random.default_rng(seed)))


def test_what_the_examples_are():
    generator = np.random.default_rng(0)
    assert isinstance(TextSpec().example(generator), str)
    image = ImageSpec((5, 4, 1)).example(generator)
    assert (image.shape, image.dtype) == ((5, 4, 1), np.uint8)
    values = DiscreteSpec((2, 3), 2, -1).example(generator)
    assert (values.shape, values.dtype.kind) == ((2,), "i")
    values = ContinuousSpec(3).example(generator)
    assert (values.shape, values.dtype) == ((3,), np.float32)
    seen = {tuple(DiscreteSpec((2, 3), 2, -1).example(np.random.default_rng(i)).tolist()) for i in range(99)}
    assert seen == {(a, b) for a in (-1, 0) for b in (-1, 0, 1)}


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        (TextSpec(), ""),
        (TextSpec(), np.str_("go")),
        (ImageSpec(), b"\xff\xd8"),
        (ImageSpec(), np.zeros((3, 4), np.uint8)),
        (ImageSpec(), Image.new("RGB", (3, 4))),
        (ImageSpec((2, 3)), np.zeros((2, 3), np.uint8)),
        (DiscreteSpec(5, (), -2), -2),
        (DiscreteSpec(5, (), -2), np.int8(2)),
        (DiscreteSpec(2), True),
        (DiscreteSpec((2, 9), 2), [1, 8]),
        (DiscreteSpec(2**64, (), -(2**63)), 2**63 - 1),
        (DiscreteSpec(2**63), np.uint64(2**63 - 1)),
        (ContinuousSpec(), 3),
        (ContinuousSpec(2), [-1e9, 0.5]),
        (ContinuousSpec(2), np.array([1, 2], np.float16)),
    ],
)
def test_legal_values(spec, value):
    spec.validate(value, "at")


@pytest.mark.parametrize(
    ("spec", "value", "message"),
    [
        (TextSpec(), 3, "at: expected str, got int"),
        (TextSpec(), b"go", "at: expected str, got bytes"),
        (ImageSpec(), 3, "at: expected an image or its file's bytes, got int"),
        (ImageSpec(), "a.png", "at: expected an image or its file's bytes, got str"),
        (ImageSpec((2, 3)), np.zeros((2, 3)), r"at: expected uint8, got float64: scale the pixels to 0..255 first"),
        (ImageSpec((2, 3)), np.zeros((3, 2), np.uint8), r"at: expected uint8 of shape \[2, 3\], got uint8 .*\[3, 2\]"),
        (DiscreteSpec(5, (), -2), 3, r"at: 3 is outside \[-2, 3\)"),
        (DiscreteSpec(5, (), -2), -3, r"at: -3 is outside \[-2, 3\)"),
        (DiscreteSpec(5, 2), [0, 5], r"at: 5 at index \[1\] is outside \[0, 5\)"),
        (DiscreteSpec((2, 3), 2, (0, 7)), [1, 6], r"at: 6 at index \[1\] is outside \[7, 10\)"),
        (DiscreteSpec(5), np.uint64(2**64 - 1), rf"at: {2**64 - 1} is outside \[0, 5\)"),
        (DiscreteSpec(5, (), -(2**63)), 2**63 - 1, rf"at: {2**63 - 1} is outside"),  # their difference leaves int64
        (DiscreteSpec(5), 2.0, "at: expected whole numbers, got float64"),
        (DiscreteSpec(5), "2", "at: expected whole numbers, got <U1"),
        (DiscreteSpec(5), None, "at: expected whole numbers, got object"),
        (DiscreteSpec(5, 2), [1], r"at: expected whole numbers of shape \[2\], got int64 of shape \[1\]"),
        (DiscreteSpec(5, (2, 2)), [[1, 2], [3]], r"at: expected whole numbers of shape \[2, 2\], got ragged lists"),
        (ContinuousSpec(), float("nan"), "at: nan is not finite"),
        (ContinuousSpec((2, 2)), [[0, 1], [float("inf"), 0]], r"at: inf at index \[1, 0\] is not finite"),
        (ContinuousSpec(), 1j, "at: expected real numbers, got complex128"),
        (ContinuousSpec(), True, "at: expected real numbers, got bool"),
        (ContinuousSpec(3), [1.0, 2.0], r"at: expected real numbers of shape \[3\], got float64 of shape \[2\]"),
    ],
)
def test_illegal_values_are_named_by_path(spec, value, message):
    with pytest.raises(ValueError, match="^" + message):
        spec.validate(value, "at")


@given(discrete_specs(), st.data())
def test_discrete_bounds_element_by_element(spec, data):
    n = int(np.prod(spec.shape))
    numbers = st.integers(-(2**63), 2**63 - 1) | st.integers(-12, 100)
    values = data.draw(st.lists(numbers, min_size=n, max_size=n))
    lows, sizes = ([v] * n if isinstance(v, int) else v for v in (spec.low, spec.size))
    legal = all(low <= value < low + size for value, low, size in zip(values, lows, sizes, strict=True))
    array = np.array(values, np.int64).reshape(spec.shape)
    if legal:
        spec.validate(array)
    else:
        with pytest.raises(ValueError, match="is outside"):
            spec.validate(array)


# Building a field.


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: TextSpec("no"), "predict must be True or False, not 'no'"),
        (lambda: ImageSpec((64,)), r"an image is \[height, width\] or"),
        (lambda: ImageSpec((3, 64, 64)), r"an image is \[height, width\] or .*not \(3, 64, 64\)"),
        (lambda: ImageSpec((0, 64)), "an image's shape must have sides of at least 1"),
        (lambda: ImageSpec(resize=(16, 20)), r"resize must be \[height, width\] in multiples of 16, not \(16, 20\)"),
        (lambda: ImageSpec(resize=(16,)), "resize must be"),
        (lambda: DiscreteSpec(0), "a discrete field has at least one value, not size 0"),
        (lambda: DiscreteSpec((3, 0), 2), "a discrete field has at least one value"),
        (lambda: DiscreteSpec(2.5), "size must be whole numbers, not 2.5"),
        (lambda: DiscreteSpec(3, 2.5), "a discrete field's shape must be whole numbers, not 2.5"),
        (lambda: DiscreteSpec(3, "2"), "a discrete field's shape must be whole numbers, not '2'"),
        (lambda: DiscreteSpec(3, (2, 0)), "a discrete field's shape must have sides of at least 1"),
        (lambda: DiscreteSpec((2, 3), 3), r"size has shape \(2,\), the field \(3,\)"),
        (lambda: DiscreteSpec(np.ones((2, 3), int), (3, 2)), r"size has shape \(2, 3\), the field \(3, 2\)"),
        (lambda: DiscreteSpec(2, (), 2**63 - 1), "a discrete field's values must fit int64"),
        (lambda: DiscreteSpec(1, (), -(2**63) - 1), "a discrete field's values must fit int64"),
        (lambda: ContinuousSpec(2, low=(0, 1, 2)), r"low has shape \(3,\), the field \(2,\)"),
        (lambda: ContinuousSpec(low=1), "low must be below high, not low 1.0, high 1.0"),
        (lambda: ContinuousSpec(2, low=(0, 1)), "low must be below high"),
        (lambda: ContinuousSpec(high=float("inf")), "high must be finite numbers that float32 can hold, not inf"),
        (lambda: ContinuousSpec(low=float("nan")), "low must be finite numbers"),
        (lambda: ContinuousSpec(low=-1e39), "low must be finite numbers that float32 can hold, not -1e[+]39"),
        (lambda: ContinuousSpec(low="-2"), "low must be finite numbers"),
    ],
)
def test_a_field_that_cannot_be_is_refused_when_built(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_equal_elements_become_one_number():
    assert DiscreteSpec([[4, 4]], (1, 2)) == DiscreteSpec(4, (1, 2))
    assert ContinuousSpec(2, low=np.array([-2, -2], np.float32)) == ContinuousSpec(2, low=-2)
    assert DiscreteSpec(np.array([[4, 5], [6, 7]]), (2, 2)).size == (4, 5, 6, 7)


def test_the_bounds_of_each_element():
    low, size = DiscreteSpec((4, 5, 6, 7), (2, 2), 1).bounds()
    assert low == 1
    assert size.tolist() == [[4, 5], [6, 7]]
    low, high = ContinuousSpec((1, 2), (-1, -2), 3).bounds()
    assert (low.tolist(), high) == ([[-1.0, -2.0]], 3.0)


# Trees of fields.


NESTED = {"b": {"y": TextSpec(), "x": DiscreteSpec(3)}, "a": ImageSpec((16, 16, 3))}


def test_flatten_and_unflatten_by_hand():
    flat = {"o/a": 1, "o/b/x": 2, "o/b/y": 3}
    assert flatten({"b": {"y": 3, "x": 2}, "a": 1}, "o") == flat
    assert list(flatten({"b": {"y": 3, "x": 2}, "a": 1}, "o")) == list(flat)
    assert list(flatten({"b": {"y": 3, "x": 2}, "a": 1}, "o", ordered=False)) == ["o/b/y", "o/b/x", "o/a"]
    assert unflatten(flat, "o") == {"b": {"y": 3, "x": 2}, "a": 1}
    assert unflatten({"o": 5, "p/a": 1}, "o") == 5
    assert unflatten({"op/a": 1}, "o") == {}


def test_keys_are_ordered_at_every_level_by_code_point():
    """As whole paths "a-b" stands before "a/b"; level by level "a" stands before "a-b". Capitals before "_" and a."""
    one = TextSpec()
    spec = EpisodeSpec({"a-b": one, "a": {"b": one}, "B": one, "_": one, "é": one, "z": one, "😀": one, "\uffff": one})
    order = ["B", "_", "a/b", "a-b", "z", "é", "\uffff", "😀"]
    assert list(spec.observation_fields) == [f"observation/{key}" for key in order]


def test_fields_of_observation_and_action():
    spec = EpisodeSpec(NESTED, {"t": ContinuousSpec(2), "g": DiscreteSpec(2)})
    assert list(spec.fields) == ["observation/a", "observation/b/x", "observation/b/y", "action/g", "action/t"]
    assert EpisodeSpec(TextSpec(), TextSpec()).fields == {"observation": TextSpec(), "action": TextSpec()}
    assert spec.describe().splitlines()[:2] == [
        "observation/a    image, uint8[16, 16, 3]",
        "observation/b/x  discrete, int[], size 3",
    ]


def test_documents_and_samples_keep_the_order_given():
    assert list(EpisodeSpec.document().fields) == ["observation/text"]
    assert list(EpisodeSpec.caption().fields) == ["observation/image", "observation/caption"]
    answer = EpisodeSpec.question_answer(ImageSpec(resize=(32, 32)))
    assert list(answer.fields) == ["observation/image", "observation/question", "observation/answer"]
    assert [f.predict for f in answer.fields.values() if isinstance(f, TextSpec)] == [False, True]
    assert EpisodeSpec.from_json(answer.to_json()).to_json() == answer.to_json()


def test_the_order_of_keys_makes_another_spec_only_where_it_makes_other_tokens():
    a, b = TextSpec(), ImageSpec()
    assert EpisodeSpec({"a": a, "b": b}) == EpisodeSpec({"b": b, "a": a})
    one, two = EpisodeSpec({"a": a, "b": b}, timesteps=False), EpisodeSpec({"b": b, "a": a}, timesteps=False)
    assert one != two
    assert one.sha256 != two.sha256
    assert one != "a spec"


def test_the_json_by_hand():
    spec = EpisodeSpec({"q": TextSpec(), "p": ContinuousSpec(2)}, DiscreteSpec(4))
    assert spec.to_json() == (
        '{"action":{"type":"discrete","size":4,"shape":[],"low":0},'
        '"observation":{"p":{"type":"continuous","shape":[2],"low":-1.0,"high":1.0},'
        '"q":{"type":"text","predict":true}},"timesteps":true}'
    )


def test_a_field_called_type():
    spec = EpisodeSpec({"type": TextSpec(), "a": {"type": {"type": DiscreteSpec(2)}}}, {"type": DiscreteSpec(3)})
    assert EpisodeSpec.from_json(spec.to_json()) == spec


def test_minus_zero_is_zero_in_json_as_well():
    assert ContinuousSpec(low=-0.0) == ContinuousSpec(low=0.0)
    assert EpisodeSpec(ContinuousSpec(low=-0.0)).to_json() == EpisodeSpec(ContinuousSpec(low=0.0)).to_json()


@given(episode_specs)
def test_json_round_trip(spec):
    back = EpisodeSpec.from_json(spec.to_json())
    assert back == spec
    assert back.to_json() == spec.to_json()
    assert list(back.fields) == list(spec.fields)


@given(episode_specs, episode_specs)
def test_equal_specs_and_no_others_have_equal_hashes(one, two):
    assert (one == two) == (one.sha256 == two.sha256)


@given(episode_specs, st.integers(0, 9))
def test_an_invented_timestep_is_legal(spec, seed):
    observation, action = spec.example(seed)
    spec.validate(observation, action)
    match_keys(spec.observation, observation, "observation")
    again = flatten(spec.example(seed)[0], "observation")
    assert all(leaves_equal(value, again[path]) for path, value in flatten(observation, "observation").items())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: EpisodeSpec({}), "observation: a spec needs at least one field"),
        (lambda: EpisodeSpec({"a": {}}), "observation/a: a mapping of fields must not be empty"),
        (lambda: EpisodeSpec({"a/b": {"c/~": {}}}), "observation/a~1b/c~1~0: a mapping of fields must not be empty"),
        (lambda: EpisodeSpec(TextSpec(), {3: TextSpec()}), "action: a key must be a str, not 3"),
        (lambda: EpisodeSpec(TextSpec(), TextSpec(), timesteps=False), "action: a document or sample .* has no action"),
        (lambda: EpisodeSpec(TextSpec(), {"a": ImageSpec()}), "action/a: an image is never predicted"),
        (lambda: EpisodeSpec(TextSpec(), timesteps=1), "timesteps must be True or False, not 1"),
    ],
)
def test_a_tree_that_cannot_be_is_refused_by_path(build, message):
    with pytest.raises(ValueError, match="^" + message):
        build()


def test_what_is_no_spec_is_a_type_error_with_its_path():
    with pytest.raises(TypeError, match=r"^observation/a/b: expected a field spec or a mapping of them, got int"):
        EpisodeSpec({"a": {"b": 3}})


@pytest.mark.parametrize(
    ("observation", "action", "message"),
    [
        ({"a": 0}, 0, r"observation: missing \['b'\]"),
        ({"a": 0, "b": {"x": 0, "z": 1}, "c": 0}, 0, r"observation: unknown \['c'\]"),
        ({"a": 0, "b": {"x": 0, "z": 1}}, 0, r"observation/b: missing \['y'\]; unknown \['z'\]"),
        ({"a": 0, "b": 3}, 0, r"observation/b: expected a mapping with keys \['x', 'y'\], got int"),
        ({"a": {"x": 0}, "b": {"x": 0, "y": 0}}, 0, r"observation/a: expected image, .*got a mapping with keys"),
        ({"a": 0, "b": {"x": 0, "y": ""}}, 0, r"observation/a: expected uint8 of shape \[16, 16, 3\], got int64"),
        ({"a": np.zeros((16, 16, 3), np.uint8), "b": {"x": 3, "y": ""}}, 0, r"observation/b/x: 3 is outside \[0, 3\)"),
        ({"a": np.zeros((16, 16, 3), np.uint8), "b": {"x": 2, "y": ""}}, 9, r"action: 9 is outside \[0, 4\)"),
    ],
)
def test_a_timestep_that_does_not_fit_is_named_by_path(observation, action, message):
    with pytest.raises(ValueError, match="^" + message):
        EpisodeSpec(NESTED, DiscreteSpec(4)).validate(observation, action)


def test_an_action_is_not_looked_at_where_none_is_given():
    EpisodeSpec(TextSpec(), DiscreteSpec(4)).validate("go")


LEAF = '{"action":{},"observation":{"a":%s},"timesteps":true}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", ""),
        ("[]", "a spec has exactly the keys"),
        ('{"observation":{},"action":{}}', "a spec has exactly the keys action, observation and timesteps"),
        (LEAF.replace("true", "1") % '{"type":"text","predict":true}', "timesteps must be True or False"),
        (LEAF % '{"type":"video"}', "observation/a: unknown field type 'video'; known: .*'text'"),
        (LEAF % "3", "observation/a: expected an object, got int"),
        (LEAF % '{"b":[]}', "observation/a/b: expected an object, got list"),
        (LEAF % '{"type":"text","predict":"no"}', "observation/a: predict must be True or False"),
        (LEAF % '{"type":"text","colour":3}', "observation/a: .*colour"),
        (LEAF % '{"type":"discrete"}', "observation/a: .*size"),
        (LEAF % '{"type":"discrete","size":null}', "observation/a: size must be whole numbers, not None"),
        (LEAF % '{"type":"discrete","size":Infinity}', "observation/a: size must be whole numbers, not inf"),
        (LEAF % '{"type":"discrete","size":{}}', "observation/a: size must be whole numbers"),
        (LEAF % '{"type":"continuous","shape":[2.5]}', "observation/a: a continuous field's shape must be whole"),
        (LEAF % '{"type":"continuous","shape":[[2]]}', "observation/a: a continuous field's shape must be whole"),
        (LEAF % '{"type":"continuous","low":null}', "observation/a: "),
        (LEAF % '{"type":"continuous","low":%s}' % ("-1" + "0" * 400), "observation/a: "),
        (LEAF % '{"type":"image","shape":"ab"}', "observation/a: an image's shape must be whole numbers"),
    ],
)
def test_json_that_is_no_spec_is_refused_by_path(text, message):
    with pytest.raises(ValueError, match="^" + message):
        EpisodeSpec.from_json(text)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3),
                    lambda node: st.lists(node, max_size=3) | st.dictionaries(
                        st.sampled_from(["type", "size", "shape", "low", "a"]) | st.text(max_size=2), node, max_size=4
                    ), max_leaves=8),
       st.sampled_from(["text", "image", "discrete", "continuous"]))  # fmt: skip
def test_any_json_is_a_spec_or_a_value_error(node, name):
    if isinstance(node, dict):
        node = {"type": name, **node}
    try:
        EpisodeSpec.from_json(json.dumps({"action": {}, "observation": {"a": node}, "timesteps": True}))
    except ValueError:
        pass
