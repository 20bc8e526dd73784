"""Episode: by hand, then every way in which one does not fit its spec, named by path; the metadata's types."""

import dataclasses
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gato_tokenize.episode import Episode, EpisodeMetadata
from gato_tokenize.field_spec import ContinuousSpec, DiscreteSpec, ImageSpec, TextSpec
from gato_tokenize.spec import EpisodeSpec

SPEC = EpisodeSpec(
    {"say": TextSpec(), "arm": {"joint": ContinuousSpec(2), "grip": DiscreteSpec(3, (), -1)}, "eye": ImageSpec((4, 4))},
    DiscreteSpec((2, 5), 2),
)


def observation():
    return {
        "say": ["go", "stop"],
        "arm": {"joint": [[0.0, 1.0], [2.0, -3.5]], "grip": [-1, 1]},
        "eye": np.zeros((2, 4, 4), np.uint8),
    }


ACTION = [[0, 4], [1, 0]]


def changed(path, value):
    """The episode above with another value at a path, or without it."""
    *branches, key = path.split("/")
    tree = {"observation": observation(), "action": ACTION}
    node = tree
    for branch in branches:
        node = node[branch]
    if value is None:
        del node[key]
    else:
        node[key] = value
    return Episode(SPEC, tree["observation"], tree["action"])


def test_by_hand():
    episode = Episode(SPEC, observation(), ACTION)
    assert episode.num_steps == 2
    paths = ["arm/grip", "arm/joint", "eye", "say"]
    assert list(episode.fields) == [f"observation/{path}" for path in paths] + ["action"]
    assert episode.fields["observation/arm/grip"].tolist() == [-1, 1]
    assert episode.fields["observation/arm/joint"].shape == (2, 2)
    assert episode.fields["observation/say"] == ["go", "stop"]
    assert episode.fields["action"].tolist() == ACTION


def test_documents_and_samples_have_one_of_each():
    assert Episode(EpisodeSpec.document(), {"text": ["a text"]}).num_steps == 1
    sample = Episode(EpisodeSpec.caption(), {"caption": ["a cat"], "image": [b"\xff\xd8"]})
    assert list(sample.fields) == ["observation/image", "observation/caption"]  # figure 2's order, not the dict's


def test_pictures_of_any_size_and_of_any_kind():
    spec = EpisodeSpec(ImageSpec(), {})
    pictures = [np.zeros((3, 4), np.uint8), Image.new("L", (5, 6)), b"\x89PNG", bytearray(b"BM"), memoryview(b"GIF8")]
    assert Episode(spec, pictures).num_steps == 5


def test_timesteps_without_actions_and_a_bare_observation():
    assert Episode(EpisodeSpec(DiscreteSpec(3)), [0, 1, 2]).num_steps == 3


def test_arrays_of_text():
    assert changed("observation/say", np.array(["go", "stop"])).num_steps == 2


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("observation/say", None, r"observation: missing \['say'\]"),
        ("observation/arm/grip", None, r"observation/arm: missing \['grip'\]"),
        ("observation/arm/elbow", [0, 0], r"observation/arm: unknown \['elbow'\]"),
        ("observation/arm", [0, 0], r"observation/arm\[0\]: expected a mapping with keys \['grip', 'joint'\], got int"),
        ("observation/say", {"a": "go"}, r"observation/say: expected text, got a mapping with keys \['a'\]"),
        (
            "observation/arm/joint",
            np.zeros((2, 3)),
            r".*/joint: expected real numbers of shape \[2, 2\], got .*\[2, 3\]",
        ),
        (
            "observation/arm/joint",
            np.zeros((3, 2)),
            r".*/joint: expected real numbers of shape \[2, 2\], got .*\[3, 2\]",
        ),
        (
            "observation/arm/joint",
            [[0], [1, 2]],
            r".*/joint\[0\]: expected real numbers of shape \[2\], got int64 of shape \[1\]",
        ),
        ("observation/arm/joint", [["a", "b"]] * 2, r"observation/arm/joint\[0\]: expected real numbers, got <U1"),
        ("observation/arm/joint", [[0, 1], [np.nan, 1]], r".*/joint: nan at index \[1, 0\] is not finite"),
        ("observation/arm/joint", [[0, 1], [1, -np.inf]], r".*/joint: -inf at index \[1, 1\] is not finite"),
        ("observation/arm/grip", [0, 2], r"observation/arm/grip: 2 at index \[1\] is outside \[-1, 2\)"),
        ("observation/arm/grip", [0.0, 1.0], r"observation/arm/grip\[0\]: expected whole numbers, got float64"),
        (
            "observation/arm/grip",
            [[0], [1]],
            r".*/grip\[0\]: expected whole numbers of shape \[\], got int64 of shape \[1\]",
        ),
        ("observation/eye", np.zeros((2, 4, 4)), "observation/eye: expected uint8, got float64"),
        ("observation/eye", np.zeros((2, 4, 4, 3), np.uint8), r"observation/eye: expected uint8 of shape \[2, 4, 4\]"),
        ("observation/say", ["go"], "observation/say: expected 2 str, got 1"),
        ("observation/say", ["go", 3], r"observation/say\[1\]: expected str, got int"),
        ("observation/say", "go", "observation/say: expected one value a timestep, got str"),
        ("observation/say", np.array("go"), "observation/say: expected one value a timestep, got ndarray"),
        ("action", [[0, 4], [2, 0]], r"action: 2 at index \[1, 0\] is outside \[0, 2\)"),
        (
            "action",
            [[0, 4]] * 3,
            r"observation/arm/grip: expected whole numbers of shape \[3\], got int64 of shape \[2\]",
        ),
        ("action", {}, r"action: expected discrete, int\[2\].*, got a mapping with keys \[\]"),
    ],
)
def test_what_does_not_fit_is_named_by_path(path, value, message):
    with pytest.raises(ValueError, match="^" + message):
        changed(path, value)


@pytest.mark.parametrize(
    ("spec", "value", "message"),
    [
        (ContinuousSpec(2), np.zeros((0, 2)), "observation: the episode is empty: it has no timesteps"),
        (TextSpec(), [], "observation: the episode is empty"),
        (TextSpec(), "go", "observation: expected one value a timestep, got str"),
        (DiscreteSpec(3), 1, "observation: expected one value a timestep, got int"),
        (DiscreteSpec(3), np.array(1), "observation: expected one value a timestep, got ndarray"),
        (ImageSpec(), [b"BM", None], r"observation\[1\]: expected an image or its file's bytes, got NoneType"),
    ],
)
def test_the_first_field_sets_the_length(spec, value, message):
    with pytest.raises(ValueError, match="^" + message):
        Episode(EpisodeSpec(spec), value)


@pytest.mark.parametrize("texts", [["one", "two"], []])
def test_a_document_has_one_timestep(texts):
    with pytest.raises(ValueError, match="^observation/text: "):
        Episode(EpisodeSpec.document(), {"text": texts})


@given(st.integers(1, 4), st.integers(0, 99))
def test_a_spec_s_examples_stacked_are_an_episode(steps, seed):
    timesteps = [SPEC.example(seed + i) for i in range(steps)]
    stacked = {
        "say": [o["say"] for o, _ in timesteps],
        "arm": {key: [o["arm"][key] for o, _ in timesteps] for key in ("joint", "grip")},
        "eye": np.stack([o["eye"] for o, _ in timesteps]),
    }
    assert Episode(SPEC, stacked, [a for _, a in timesteps]).num_steps == steps


def test_metadata_takes_numpy_s_scalars_and_keeps_python_s():
    """A record's feature is float or int by the field: a return of type int or float32 must not become an int there."""
    metadata = EpisodeMetadata(
        np.str_("id"), return_=np.float32(1.5), success=np.True_, terminated=np.False_, source_index=np.int32(3)
    )
    assert metadata == EpisodeMetadata("id", return_=1.5, success=1, terminated=False, source_index=3)
    for field in dataclasses.fields(metadata):
        assert type(getattr(metadata, field.name)) is field.type
    assert type(EpisodeMetadata(return_=3).return_) is float


def test_unknown_returns_are_equal_whichever_nan_they_are():
    one, other = (EpisodeMetadata("id", return_=float("nan")) for _ in range(2))
    copied = pickle.loads(pickle.dumps(one))
    assert one == other == copied == EpisodeMetadata("id") and len({one, other, copied}) == 1
    assert one != EpisodeMetadata("id", return_=0.0) and one != EpisodeMetadata("other") and one != "id"
    assert EpisodeMetadata("id", return_=2.5) == pickle.loads(pickle.dumps(EpisodeMetadata("id", return_=2.5)))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"success": 2}, r"success is 1, 0 or -1 \(unknown\), not 2"),
        ({"success": 1.0}, "success: expected int, got float 1.0"),
        ({"success": None}, "success: expected int, got NoneType None"),
        ({"return_": "3"}, "return_: expected float, got str '3'"),
        ({"episode_id": 3}, "episode_id: expected str, got int 3"),
        ({"task": b"x"}, "task: expected str, got bytes b'x'"),
        ({"terminated": 1}, "terminated: expected bool, got int 1"),
        ({"source_index": 2.0}, "source_index: expected int, got float 2.0"),
    ],
)
def test_metadata_of_another_type_is_refused(values, message):
    with pytest.raises(ValueError, match="^" + message):
        EpisodeMetadata(**values)


def of_rewards(rewards, return_=float("nan")):
    spec = EpisodeSpec({"v": ContinuousSpec(1)}, DiscreteSpec(2))
    return Episode(spec, {"v": [[0.0]] * 3}, [0, 1, 0], EpisodeMetadata(return_=return_), rewards=rewards)


@pytest.mark.parametrize(
    ("rewards", "dtype"),
    [
        ([1, 0, -3], np.float64),
        (np.array([1, 0, -3], np.float32), np.float32),
        (np.array([1, 0, -3], np.int8), np.float64),
        ((1.0, 0.0, -3.0), np.float64),
    ],
)
def test_rewards_give_the_return_that_is_unknown_and_must_agree_with_one_that_is_given(rewards, dtype):
    episode = of_rewards(rewards)
    assert episode.rewards.tolist() == [1, 0, -3] and episode.rewards.dtype == dtype
    assert episode.metadata.return_ == -2 and of_rewards(rewards, -2).metadata.return_ == -2
    with pytest.raises(ValueError, match=r"^rewards: their sum is -2\.0, but the return in the metadata is -1\.0$"):
        of_rewards(rewards, -1)


def test_a_return_that_was_added_in_float32_agrees():
    rewards = np.array([0.1, 0.2, 1e6], np.float32)
    assert of_rewards(rewards, float(rewards.sum())).rewards.dtype == np.float32
    assert of_rewards([0.1, 0.2, 0.3], np.float32(0.6)).metadata.return_ != 0.6
    assert of_rewards(None, 4.0).rewards is None


@pytest.mark.parametrize(
    ("rewards", "message"),
    [
        ([1.0, 2.0], r"expected 3 numbers, one a timestep, got float64 of shape \[2\]"),
        ([[1.0], [2.0], [3.0]], r"expected 3 numbers, one a timestep, got float64 of shape \[3, 1\]"),
        (["1", "2", "3"], "expected 3 numbers, one a timestep, got <U1"),
        ([0.0, float("nan"), float("inf")], r"nan at index \[1\] is not finite"),
        ([0.0, 0.0, 1e39], r"1e\+39 at index \[2\] is not finite, or beyond float32"),
    ],
)
def test_rewards_that_are_refused(rewards, message):
    with pytest.raises(ValueError, match="^rewards: " + message):
        of_rewards(rewards)


def test_masked_rewards_and_those_of_a_document_are_refused():
    with pytest.raises(ValueError, match=r"reward at index \[1\] is masked"):
        of_rewards(np.ma.array([1.0, 2.0, 3.0], mask=[0, 1, 0]))
    with pytest.raises(ValueError, match="rewards: a document or sample has none"):
        Episode(EpisodeSpec.document(), {"text": ["a"]}, rewards=[1.0])


def looped(count, actions=ACTION, **changes):
    """An episode of the lists that a loop fills, whose timesteps hold arrays, dicts and tuples. changes: {index of a
    timestep: another one}."""
    spec = EpisodeSpec(
        {"say": TextSpec(), "arm": {"0": ContinuousSpec(2), "1": DiscreteSpec(3)}, "eye": ImageSpec((4, 4))},
        DiscreteSpec((2, 5), 2),
    )
    steps = [
        {"say": f"step {i}", "arm": (np.array([i, -i], np.float32), i % 3), "eye": np.full((4, 4), i, np.uint8)}
        for i in range(count)
    ]
    for index, step in changes.items():
        steps[int(index[1:])] = step
    return Episode(spec, observations=steps, actions=[np.array(action) for action in actions], rewards=[0.5, 1.0])


class TestLoops:
    def test_lists_of_timesteps_are_stacked_by_field(self):
        episode = looped(2)
        assert episode.num_steps == 2 and episode.metadata.return_ == 1.5 and episode.notes == {}
        assert episode.observations["say"] == ["step 0", "step 1"]
        assert episode.fields["observation/arm/0"].tolist() == [[0, 0], [1, -1]]
        assert episode.fields["observation/arm/1"].tolist() == [0, 1]
        assert episode.fields["observation/eye"].shape == (2, 4, 4)
        assert episode.fields["action"].tolist() == ACTION

    @pytest.mark.parametrize("stacked", [False, True])
    def test_the_observation_after_the_last_action_is_left_out_and_noted(self, stacked):
        three = looped(3, ACTION)
        if stacked:
            joint = np.arange(6.0).reshape(3, 2)
            three = Episode(EpisodeSpec(ContinuousSpec(2), DiscreteSpec(3)), joint, [1, 2], notes={"other": 4})
            assert three.notes["other"] == 4 and three.observations.tolist() == [[0, 1], [2, 3]]
        assert three.num_steps == 2 and three.notes["final observation left out"] == 1
        assert all(len(values) == 2 for values in three.fields.values())

    @pytest.mark.parametrize(("observed", "acted"), [(4, 2), (2, 3), (1, 2)])
    def test_other_numbers_of_observations_are_refused(self, observed, acted):
        with pytest.raises(ValueError, match="observation/arm/0: expected real numbers of shape|expected 2|expected 3"):
            looped(observed, ACTION[:1] * acted)

    def test_fields_of_different_lengths_are_refused(self):
        spec = EpisodeSpec({"a": DiscreteSpec(9), "b": DiscreteSpec(9)}, DiscreteSpec(9))
        with pytest.raises(ValueError, match=r"observation/a: expected whole numbers of shape \[2\], got .*\[3\]"):
            Episode(spec, {"a": [1, 2, 3], "b": [1, 2]}, [1, 2])

    def test_rewards_are_one_an_action(self):
        spec = EpisodeSpec(DiscreteSpec(9), DiscreteSpec(9))
        with pytest.raises(ValueError, match="rewards: expected 2 numbers"):
            Episode(spec, [1, 2, 3], [1, 2], rewards=[0, 0, 0])

    @pytest.mark.parametrize(
        ("step", "message"),
        [
            ({"say": "", "arm": (np.zeros(2), 0)}, r"observation\[1\]: missing \['eye'\]"),
            ({"say": "", "arm": (np.zeros(2),), "eye": np.zeros((4, 4), np.uint8)}, r"observation\[1\]/arm: missing"),
            (np.zeros(2), r"observation\[1\]: expected a mapping with keys \['arm', 'eye', 'say'\], got ndarray"),
            (
                {"say": "", "arm": (np.zeros(3), 0), "eye": np.zeros((4, 4), np.uint8)},
                r"observation/arm/0\[1\]: expected real numbers of shape \[2\], got float64 of shape \[3\]",
            ),
            (
                {"say": "", "arm": (np.zeros(2), 0.0), "eye": np.zeros((4, 4), np.uint8)},
                r"observation/arm/1\[1\]: expected whole numbers, got float64",
            ),
            (
                {"say": "", "arm": (np.zeros(2), 0), "eye": np.zeros((4, 4))},
                r"observation/eye\[1\]: expected uint8, got float64: scale",
            ),
        ],
    )
    def test_a_timestep_that_differs_is_named_by_its_index(self, step, message):
        with pytest.raises(ValueError, match="^" + message):
            looped(3, ACTION, _1=step)

    def test_a_tuple_of_timesteps_is_ambiguous(self):
        spec = EpisodeSpec({"0": DiscreteSpec(9), "1": DiscreteSpec(9)})
        with pytest.raises(ValueError, match="observation: a tuple holds fields or timesteps: give a list"):
            Episode(spec, ([1, 2], [3, 4]))

    def test_no_timesteps(self):
        with pytest.raises(ValueError, match="observation: the episode is empty: it has no timesteps"):
            Episode(EpisodeSpec({"a": DiscreteSpec(9)}, DiscreteSpec(9)), [], [])
