"""EpisodeTokenizer: the toy step by hand, the round trip, an independent plain reference, and errors by path."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_episodes import TEXT, TOY, nested_episode, nested_spec, toy_episode

from gato_tokenize import (
    ContinuousSpec,
    ContinuousTokenizer,
    DiscreteSpec,
    Episode,
    EpisodeSpec,
    EpisodeTokenizer,
    ImageSpec,
    Kind,
    TextSpec,
    Vocabulary,
)


def test_the_toy_step() -> None:
    """20 patches, 2 pieces, 3 observed values, the separator, 3 action values: 29 tokens."""
    pieces = TEXT.encode(TEXT.decode([900, 905])).tolist()
    assert len(pieces) == 2
    sequence = EpisodeTokenizer(TOY).encode(toy_episode())
    assert sequence.ids.tolist() == [0] * 20 + pieces + [32512, 32744, 32198, 33024, 32640, 32000, 33023]
    kinds = (
        [Kind.PATCH] * 20 + [Kind.TEXT] * 2 + [Kind.CONTINUOUS] * 3 + [Kind.SEPARATOR] + [Kind.CONTINUOUS_ACTION] * 3
    )
    assert sequence.kinds.tolist() == kinds
    assert sequence.loss_mask.tolist() == [0] * 20 + [1, 1] + [0] * 4 + [1, 1, 1]
    assert sequence.local_positions.tolist() == [*range(25), -1, -2, -2, -2]
    assert sequence.step_splits.tolist() == [0, 29]
    assert sequence.grids.tolist() == [[4, 5]]


def test_the_paper_s_length_of_a_sequence() -> None:
    """L = T (observation + 1 + action)."""
    sequence = EpisodeTokenizer(TOY).encode(toy_episode(steps=7))
    assert len(sequence) == 7 * (25 + 1 + 3)


@pytest.mark.parametrize("vocabulary", [Vocabulary(), Vocabulary(disjoint=True)])
@settings(max_examples=20, deadline=None)
@given(steps=st.integers(1, 6), seed=st.integers(0, 1000))
def test_decode_gives_back_every_modality(vocabulary: Vocabulary, steps: int, seed: int) -> None:
    episode = nested_episode(steps, seed)
    tokenizer = EpisodeTokenizer(nested_spec(), vocabulary)
    sequence = tokenizer.encode(episode)
    decoded = tokenizer.decode(sequence)
    for path in ("observation/a-b", "observation/a/c", "action/grip"):
        assert np.array_equal(decoded.fields[path], episode.fields[path]), path
    for path in ("observation/a/b", "observation/text"):
        assert list(decoded.fields[path]) == list(episode.fields[path]), path
    assert decoded.fields["observation/a/z"].shape == (steps, 16, 48)  # resized: 20 x 40 is no multiple of 16
    assert np.abs(decoded.fields["action/arm"] - episode.fields["action/arm"]).max() <= 10 / 1024 / 2 * 1.001
    error = np.abs(decoded.fields["observation/v"] - episode.fields["observation/v"])
    assert (error <= 0.011 * (np.abs(episode.fields["observation/v"]) + 0.01)).all()
    again = EpisodeTokenizer(decoded.spec, vocabulary).encode(decoded)
    assert again == sequence


def plain_reference(episode: Episode) -> tuple[list[int], list[int]]:
    """Section 2.1 as one would write it by hand: a loop over timesteps, sorted keys, one value after the other."""
    ids: list[int] = []
    kinds: list[int] = []

    def put(values: list[int], kind: Kind) -> None:
        ids.extend(values)
        kinds.extend([kind] * len(values))

    observed, acted = ContinuousTokenizer(companded=True), ContinuousTokenizer(companded=False)
    for t in range(episode.num_steps):
        put(TEXT.encode(episode.fields["observation/a/b"][t]).tolist(), Kind.TEXT)
        put([0], Kind.PATCH)
        put([0] * 3, Kind.PATCH)
        low = episode.fields["observation/a-b"][t]
        put([int(low[0]), int(low[1]) + 2], Kind.DISCRETE)
        put(TEXT.encode(episode.fields["observation/text"][t]).tolist(), Kind.TEXT)
        for value in np.asarray(episode.fields["observation/v"][t]).ravel():
            put([int(observed.encode(value))], Kind.CONTINUOUS)
        put([33024], Kind.SEPARATOR)
        for value, middle in zip(episode.fields["action/arm"][t], (5.0, 0.0), strict=True):
            put([int(acted.encode((np.float32(value) - middle) / 5))], Kind.CONTINUOUS_ACTION)
        put([int(episode.fields["action/grip"][t])], Kind.DISCRETE_ACTION)
    return ids, kinds


@settings(max_examples=20, deadline=None)
@given(steps=st.integers(1, 5), seed=st.integers(0, 1000))
def test_tokens_equal_a_plain_reference(steps: int, seed: int) -> None:
    episode = nested_episode(steps, seed)
    sequence = EpisodeTokenizer(nested_spec()).encode(episode)
    ids, kinds = plain_reference(episode)
    assert sequence.kinds.tolist() == kinds
    assert sequence.ids.tolist() == ids


def test_patches_of_two_image_fields_take_turns() -> None:
    episode = nested_episode(3, 0)
    sequence = EpisodeTokenizer(nested_spec()).encode(episode)
    assert sequence.grids.tolist() == [[1, 1], [1, 3]] * 3
    for t in range(3):
        assert np.array_equal(sequence.patches[4 * t], episode.fields["observation/a/c"][t])


def test_a_document_ends_with_the_end_piece_and_has_no_separator() -> None:
    spec = EpisodeSpec.document()
    sequence = EpisodeTokenizer(spec).encode(Episode(spec, {"text": ["a b"]}))
    assert sequence.ids.tolist() == [*TEXT.encode("a b").tolist(), TEXT.end_id]
    assert sequence.loss_mask.all() and (sequence.local_positions == -1).all()
    assert EpisodeTokenizer(spec).decode(sequence).fields["observation/text"] == ["a b"]


def test_a_question_is_not_predicted_and_stands_before_its_answer() -> None:
    spec = EpisodeSpec.question_answer()
    image = np.full((32, 16, 3), 9, np.uint8)
    episode = Episode(spec, {"image": [image], "question": ["what is it?"], "answer": ["grey"]})
    sequence = EpisodeTokenizer(spec).encode(episode)
    question, answer = TEXT.encode("what is it?").tolist(), TEXT.encode("grey").tolist()
    assert sequence.ids.tolist() == [0, 0, *question, *answer, TEXT.end_id]
    assert sequence.loss_mask.tolist() == [0, 0] + [0] * len(question) + [1] * (len(answer) + 1)
    decoded = EpisodeTokenizer(spec).decode(sequence)
    assert decoded.fields["observation/question"] == ["what is it?"]
    assert decoded.fields["observation/answer"] == ["grey"]
    assert np.array_equal(decoded.fields["observation/image"][0], image)


def test_acting_an_observation_is_the_start_of_its_timestep() -> None:
    tokenizer, episode = EpisodeTokenizer(nested_spec()), nested_episode(4, 1)
    whole = tokenizer.encode(episode)
    t = 2
    observation = {
        "a-b": episode.fields["observation/a-b"][t],
        "a": {key: episode.fields[f"observation/a/{key}"][t] for key in ("z", "b", "c")},
        "text": episode.fields["observation/text"][t],
        "v": episode.fields["observation/v"][t],
    }
    step = whole.steps(t, t + 1)
    start = tokenizer.encode_observation(observation)
    assert start.ids.tolist() == step.ids[:-3].tolist()
    assert start.local_positions.tolist() == step.local_positions[:-3].tolist()
    action = tokenizer.decode_action(step.ids[-3:])
    assert int(action["grip"]) == episode.fields["action/grip"][t]
    assert np.abs(action["arm"] - episode.fields["action/arm"][t]).max() < 0.006
    assert tokenizer.action_ranges.tolist() == [[32000, 33024], [32000, 33024], [0, 2]]


def test_an_illegal_action_id_is_refused_by_path() -> None:
    tokenizer = EpisodeTokenizer(nested_spec())
    with pytest.raises(ValueError, match=r"^action/grip: id 2 at index .* is outside \[0, 2\)"):
        tokenizer.decode_action([32000, 32000, 2])
    with pytest.raises(ValueError, match="^action/arm: id 31999"):
        tokenizer.decode_action([31999, 32000, 1])
    with pytest.raises(ValueError, match="has 3 ids"):
        tokenizer.decode_action([32000])


def test_two_texts_side_by_side_are_refused() -> None:
    with pytest.raises(ValueError, match="observation/a and observation/b are texts side by side"):
        EpisodeTokenizer(EpisodeSpec({"a": TextSpec(), "b": TextSpec()}))


def test_too_many_tokens_for_the_local_positions_are_refused_at_once_or_by_the_episode() -> None:
    with pytest.raises(
        ValueError,
        match=r"600 tokens in a timestep \(600 of them observation/v, continuous\), but 512 .* --local-positions 600",
    ):
        EpisodeTokenizer(EpisodeSpec({"v": ContinuousSpec(600)}))
    assert EpisodeTokenizer(EpisodeSpec({"v": ContinuousSpec(600)}), local_positions=600)
    spec = EpisodeSpec({"text": TextSpec()}, DiscreteSpec(2))
    with pytest.raises(ValueError, match="tokens in a timestep"):
        EpisodeTokenizer(spec).encode(Episode(spec, {"text": ["one two three " * 400]}, [0]))


def test_a_spec_that_the_vocabulary_cannot_take_is_refused_by_path() -> None:
    with pytest.raises(ValueError, match="^action: size 1025"):
        EpisodeTokenizer(EpisodeSpec({"v": ContinuousSpec(1)}, DiscreteSpec(1025)))
    with pytest.raises(ValueError, match="32000 pieces, the vocabulary 1000 text ids: .* text_size to 32000"):
        EpisodeTokenizer(EpisodeSpec.document(), Vocabulary(text_size=1000, discrete_size=1000))


def test_tokens_of_another_layout_are_refused() -> None:
    tokenizer = EpisodeTokenizer(nested_spec())
    with pytest.raises(ValueError, match="does not follow the layout"):
        EpisodeTokenizer(TOY).decode(tokenizer.encode(nested_episode(2, 0)))


def test_values_beyond_the_bins_are_clipped_and_counted() -> None:
    spec = EpisodeSpec({"v": ContinuousSpec(2)}, ContinuousSpec(1, -2.0, 2.0))
    episode = Episode(spec, {"v": [[1000.0, 1.0], [-257.0, 256.0]]}, [[2.5], [2.0]])
    tokenizer = EpisodeTokenizer(spec)
    assert tokenizer.clipped(episode) == {"observation/v": 2, "action": 1}
    assert tokenizer.encode(episode).ids[[0, 3, 4, 7]].tolist() == [33023, 33023, 32000, 33023]


def test_pictures_of_any_size_in_timesteps() -> None:
    spec = EpisodeSpec(
        {"a": ImageSpec(), "b": TextSpec(), "c": ImageSpec()}, {"say": TextSpec(), "turn": DiscreteSpec(3)}
    )
    generator = np.random.default_rng(0)
    sizes = [((16, 32), (48, 16)), ((32, 32), (16, 16)), ((64, 16), (16, 80))]
    pictures = [[generator.integers(0, 256, (*size, 3), np.uint8) for size in pair] for pair in sizes]
    observation = {"a": [p[0] for p in pictures], "b": ["x", "", "go left"], "c": [p[1] for p in pictures]}
    episode = Episode(spec, observation, {"say": ["hello", "", "bye"], "turn": [0, 1, 2]})
    tokenizer = EpisodeTokenizer(spec)
    sequence = tokenizer.encode(episode)
    assert sequence.grids.tolist() == [[1, 2], [3, 1], [2, 2], [1, 1], [4, 1], [1, 5]]
    decoded = tokenizer.decode(sequence)
    for path in ("observation/a", "observation/c"):
        assert all(map(np.array_equal, decoded.fields[path], episode.fields[path])), path
    assert decoded.fields["observation/b"] == ["x", "", "go left"]
    assert decoded.fields["action/say"] == ["hello", "", "bye"]
    assert decoded.fields["action/turn"].tolist() == [0, 1, 2]
    first = {"a": pictures[0][0], "b": "x", "c": pictures[0][1]}
    start = tokenizer.encode_observation(first)
    assert start.ids.tolist() == sequence.ids[: len(start)].tolist() and start.grids.tolist() == [[1, 2], [3, 1]]
    assert np.array_equal(start.patches, sequence.patches[:5])
    with pytest.raises(ValueError, match="action/say: a text action has no fixed number of ids"):
        _ = tokenizer.action_ranges


def test_the_tokenizer_of_a_field_knows_its_role() -> None:
    continuous = ContinuousSpec(2, low=(0.0, -5.0), high=(10.0, 5.0))
    tokenizer = EpisodeTokenizer(EpisodeSpec({"v": continuous, "text": TextSpec()}, continuous))
    assert tokenizer.field_tokenizer("action").encode([5, 5]).tolist() == [32512, 33023]
    assert tokenizer.field_tokenizer("observation/v").encode([0, 1]).tolist() == [32512, 32744]
    assert tokenizer.field_tokenizer("observation/text") == TEXT
    with pytest.raises(KeyError, match="no field 'v'; fields: observation/text, observation/v, action"):
        tokenizer.field_tokenizer("v")


def test_frames_that_are_resized_from_any_size_to_one() -> None:
    spec = EpisodeSpec({"image": ImageSpec(resize=(32, 16))}, DiscreteSpec(2))
    tokenizer = EpisodeTokenizer(spec)
    frames = np.arange(2 * 40 * 24 * 3).astype(np.uint8).reshape(2, 40, 24, 3)
    stacked, listed = (tokenizer.encode(Episode(spec, {"image": value}, [0, 1])) for value in (frames, [*frames]))
    assert stacked == listed and stacked.grids.tolist() == [[2, 1]] * 2
