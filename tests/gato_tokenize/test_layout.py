"""The order of tokens in a timestep: the toy step by hand, an arrangement against a plain loop, refusals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_episodes import TEXT, nested_episode, nested_spec, toy_episode
from toy_episodes import TOY as TOY_SPEC

from gato_tokenize.episode import Episode
from gato_tokenize.field_spec import ContinuousSpec, DiscreteSpec, ImageSpec, TextSpec
from gato_tokenize.layout import SEPARATOR, Slot, arrange, image_grids, locate, slots
from gato_tokenize.spec import EpisodeSpec
from gato_tokenize.tokenizer import EpisodeTokenizer
from gato_tokenize.vocabulary import Kind

TOY = EpisodeSpec(
    {"proprio": ContinuousSpec(3), "instruction": TextSpec(), "image": ImageSpec((64, 80, 3))}, ContinuousSpec(3)
)


def slot(path, length, kind=Kind.CONTINUOUS):
    return Slot(path, kind, False, False, length)


def test_the_slots_of_the_toy_step():
    assert slots(TOY) == (
        Slot("observation/image", Kind.PATCH, loss=False, action=False, length=20),
        Slot("observation/instruction", Kind.TEXT, loss=True, action=False, length=None),
        Slot("observation/proprio", Kind.CONTINUOUS, loss=False, action=False, length=3),
        Slot("", Kind.SEPARATOR, loss=False, action=False, length=1),
        Slot("action", Kind.CONTINUOUS_ACTION, loss=True, action=True, length=3),
    )


def test_the_29_tokens_of_the_toy_step():
    lengths = {slot.path: slot.length or 2 for slot in slots(TOY)}  # the instruction has two tokens
    toy = arrange(slots(TOY), lengths, 1)
    assert toy.step_splits.tolist() == [0, 29]
    assert toy.steps == 1
    starts = {path: start.tolist() for path, start in toy.starts.items()}
    assert starts == {
        "observation/image": [0],
        "observation/instruction": [20],
        "observation/proprio": [22],
        "": [25],
        "action": [26],
    }
    assert toy.places("action").tolist() == [26, 27, 28]
    kinds = toy.fill({slot.path: int(slot.kind) for slot in slots(TOY)}, np.uint8)
    assert kinds.tolist() == [1] * 20 + [0] * 2 + [2] * 3 + [4] + [5] * 3
    mask = toy.fill({slot.path: int(slot.loss) for slot in slots(TOY)}, np.uint8)
    assert np.flatnonzero(mask).tolist() == [20, 21, 26, 27, 28]


def test_ragged_texts_by_hand():
    """Two timesteps with texts of 1 and 3 tokens: t . a | t t t . a"""
    both = arrange((slot("t", None, Kind.TEXT), SEPARATOR, slot("a", 1)), {"t": np.array([1, 3]), "": 1, "a": 1}, 2)
    assert both.step_splits.tolist() == [0, 3, 8]
    assert both.places("t").tolist() == [0, 3, 4, 5]
    assert both.places("").tolist() == [1, 6]
    stream = both.fill({"t": np.array([7, 8, 9, 10]), "": 1, "a": np.array([[5], [6]])}, np.int32)
    assert stream.dtype == np.int32
    assert stream.tolist() == [7, 1, 5, 8, 9, 10, 1, 6]


def test_fields_of_one_length_take_turns_at_every_timestep():
    two = arrange((slot("a", 2), slot("b", 1)), {"a": 2, "b": 1}, 2)
    assert two.fill({"a": np.array([[1, 2], [3, 4]]), "b": np.array([8, 9])}, np.int32).tolist() == [1, 2, 8, 3, 4, 9]


@pytest.mark.parametrize(
    ("field", "length"),
    [
        (DiscreteSpec(4), 1),
        (DiscreteSpec(4, (2, 3)), 6),
        (ContinuousSpec((2, 1, 2)), 4),
        (TextSpec(), None),
        (ImageSpec(), None),
        (ImageSpec(resize=(32, 48)), 6),
        (ImageSpec((64, 80)), 20),
        (ImageSpec((64, 80, 3), resize=(16, 16)), 1),
        (ImageSpec((210, 160, 3)), 130),  # 208 x 160
        (ImageSpec((3, 5, 1)), 1),
    ],
)
def test_the_length_of_a_slot(field, length):
    assert slots(EpisodeSpec(field))[0].length == length


def test_discrete_actions_are_predicted_and_observations_are_not():
    found = slots(EpisodeSpec(DiscreteSpec(2), {"b": DiscreteSpec(3), "a": TextSpec()}))
    assert [(s.path, s.kind, s.loss, s.action) for s in found] == [
        ("observation", Kind.DISCRETE, False, False),
        ("", Kind.SEPARATOR, False, False),
        ("action/a", Kind.TEXT, True, True),
        ("action/b", Kind.DISCRETE_ACTION, True, True),
    ]


def test_documents_and_samples_have_no_separator_and_keep_their_order():
    assert [s.path for s in slots(EpisodeSpec.document())] == ["observation/text"]
    found = slots(EpisodeSpec.question_answer())
    assert [(s.path, s.kind, s.loss) for s in found] == [
        ("observation/image", Kind.PATCH, False),
        ("observation/question", Kind.TEXT, False),
        ("observation/answer", Kind.TEXT, True),
    ]


def test_texts_side_by_side_are_refused_if_nothing_marks_their_border():
    text, silent = TextSpec(), TextSpec(predict=False)
    with pytest.raises(ValueError, match="^observation/a and observation/b are texts side by side"):
        slots(EpisodeSpec({"a": text, "b": text}))
    with pytest.raises(ValueError, match="^action/a and action/b are texts side by side"):
        slots(EpisodeSpec(text, {"a": text, "b": text}))
    assert len(slots(EpisodeSpec({"a": text, "b": silent}))) == 3
    assert len(slots(EpisodeSpec({"a": text, "b": DiscreteSpec(2), "c": text}))) == 4
    assert len(slots(EpisodeSpec(text, text))) == 3  # the separator stands between them


@st.composite
def arrangements(draw):
    steps = draw(st.integers(1, 4))
    lengths = {}
    for i in range(draw(st.integers(1, 5))):
        ragged = st.lists(st.integers(0, 3), min_size=steps, max_size=steps).map(lambda n: np.array(n, np.int64))
        lengths[f"f{i}"] = draw(st.integers(1, 3) | ragged)
    return steps, lengths


@given(arrangements(), st.booleans())
def test_an_arrangement_against_a_plain_loop(case, numbers):
    steps, lengths = case
    count = {path: [n] * steps if isinstance(n, int) else n.tolist() for path, n in lengths.items()}
    left = {path: list(range(100 * i, 100 * i + sum(count[path]))) for i, path in enumerate(lengths)}
    values = {path: 7 * i if numbers else np.array(left[path], np.int64) for i, path in enumerate(lengths)}
    stream, splits, places = [], [0], {path: [] for path in lengths}
    for t in range(steps):
        for i, path in enumerate(lengths):
            for _ in range(count[path][t]):
                places[path].append(len(stream))
                stream.append(7 * i if numbers else left[path].pop(0))
        splits.append(len(stream))
    found = arrange(tuple(slot(path, None) for path in lengths), lengths, steps)
    assert found.step_splits.tolist() == splits
    assert {path: found.places(path).tolist() for path in lengths} == places
    assert found.fill(values, np.int64).tolist() == stream


def located(spec, episode):
    sequence = EpisodeTokenizer(spec).encode(episode)
    return locate(slots(spec), sequence), sequence


def test_the_toy_step_is_located():
    found, _ = located(TOY_SPEC, toy_episode(steps=2))
    lengths = {"observation/image": 20, "observation/instruction": 2, "observation/proprio": 3, "": 1, "action": 3}
    spans = {path: found.span(path, 1) for path in found.starts}
    firsts = np.cumsum([29, *lengths.values()])
    assert spans == {
        path: (first, first + length) for (path, length), first in zip(lengths.items(), firsts, strict=False)
    }
    assert found.places("action").tolist() == [26, 27, 28, 55, 56, 57]


@pytest.mark.parametrize("predict", [False, True])
def test_texts_are_located_by_the_border_of_their_runs(predict):
    """Two texts of any length in a timestep, side by side or with a number between them."""
    fields = {"a": TextSpec(predict=predict), "b": TextSpec()}
    if predict:
        fields |= {"aa": ContinuousSpec()}
    spec = EpisodeSpec(fields, DiscreteSpec(2))
    values = {"a": ["go to", "", "stop"], "b": ["", "the red door", "now"], "aa": np.zeros(3)}
    episode = Episode(spec, {name: values[name] for name in fields}, [0, 1, 1])
    found, sequence = located(spec, episode)
    for name in ("a", "b"):
        pieces = [len(TEXT.encode(text)) for text in values[name]]
        assert np.asarray(found.lengths[f"observation/{name}"]).tolist() == pieces
    assert found.step_splits.tolist() == sequence.step_splits.tolist()


@settings(deadline=None, max_examples=30)
@given(steps=st.integers(1, 5), seed=st.integers(0, 1000))
def test_locate_finds_what_arrange_placed(steps, seed):
    found, sequence = located(nested_spec(), nested_episode(steps, seed))
    again = arrange(found.slots, found.lengths, steps)
    assert again.step_splits.tolist() == sequence.step_splits.tolist()
    for slot in found.slots:
        assert found.starts[slot.path].tolist() == again.starts[slot.path].tolist()
        assert (sequence.kinds[found.places(slot.path)] == slot.kind).all()


def test_a_sequence_of_another_layout_is_refused():
    _, sequence = located(TOY_SPEC, toy_episode(steps=2))
    other = EpisodeSpec({"v": ContinuousSpec(3)}, ContinuousSpec(3))
    with pytest.raises(ValueError, match="timestep 0: the sequence does not follow the layout"):
        locate(slots(other), sequence)


def test_the_grids_of_two_fields_take_turns():
    spec = EpisodeSpec({"a": ImageSpec(), "b": ImageSpec((16, 32))}, DiscreteSpec(2))
    pictures = [np.zeros((16 * side, 16, 3), np.uint8) for side in (1, 2)]
    found, sequence = located(spec, Episode(spec, {"a": pictures, "b": np.zeros((2, 16, 32), np.uint8)}, [0, 1]))
    grids = image_grids(slots(spec), sequence)
    assert {path: grid.tolist() for path, grid in grids.items()} == {
        "observation/a": [[1, 1], [2, 1]],
        "observation/b": [[1, 2], [1, 2]],
    }
    assert np.asarray(found.lengths["observation/a"]).tolist() == [1, 2]
    with pytest.raises(ValueError, match="observation/a: 4 images in 2 timesteps"):
        image_grids(slots(EpisodeSpec({"a": ImageSpec()}, DiscreteSpec(2))), sequence)
