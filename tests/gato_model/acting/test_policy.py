"""GatoPolicy against the uncached model on the very tokens that it read, in both contexts; prompts, rows, refusals."""

import numpy as np
import pytest
import tensorflow as tf
from toy_acting import (
    CONFIG,
    COPYING_SPEC,
    SPEC,
    STEP,
    VOCABULARY,
    copied,
    demonstration,
    observation,
    toy_model,
    toy_tokenizer,
    trained_on_copying,
    uncached,
)

from gato_model.acting import policy as policy_module
from gato_model.acting.chunk import Chunk
from gato_model.acting.policy import GatoPolicy
from gato_tokenize import ContinuousSpec, DiscreteSpec, EpisodeSpec, EpisodeTokenizer, Record, TextSpec
from gato_tokenize.sequence import ACTION_POSITION

ROOM = CONFIG.sequence_length  # 24 tokens: three timesteps of 7


@pytest.fixture(scope="module")
def model():
    return toy_model()


def ids_of(action):
    return [int(action["key"]), int(action["mode"]) + 1]


def timestep(seen, action):
    """The tokens of one timestep as the uncached model reads them."""
    chunk = Chunk.of_sequence(toy_tokenizer().encode_observation(seen), CONFIG.quantization)
    return Chunk.join([chunk, Chunk.of_ids(ids_of(action), ACTION_POSITION)])


def newest(steps, room):
    while sum(map(len, steps)) > room:
        steps = steps[1:]
    return steps


@pytest.fixture
def eagerly():
    """Nothing is compiled: `choose` can be watched, and a policy of few actions costs a tenth."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.parametrize(
    ("context", "prompted"), [("memory", False), ("memory", True), ("window", False), ("window", True)]
)
def test_an_episode_is_what_the_uncached_model_would_do(model, context, prompted, eagerly):
    """To 1e-4 in what the head reads, and so in the logits, far beyond the context; the choice is the best legal id."""
    prompt = demonstration(2) if prompted else None
    policy = GatoPolicy(model, toy_tokenizer(), prompt, context=context)
    hidden, choose = [], policy.actor.decoder.choose
    policy.actor.decoder.choose = lambda seen, *rest, **how: hidden.append(seen) or choose(seen, *rest, **how)
    steps = [Chunk.of_sequence(prompt.steps(i, i + 1), CONFIG.quantization) for i in range(2)] if prompted else []
    for i in range(9):  # 63 tokens
        seen = observation(i)
        action = policy.act(seen)
        if context == "window" and len(steps) * STEP + STEP > ROOM:
            steps = newest(steps, ROOM // 2)
        steps.append(timestep(seen, action))
        expected = uncached(model, Chunk.join(steps), ROOM if context == "memory" else None)[[-3, -2]]
        assert np.abs(hidden[-2][0] - expected[0]).max() < 1e-4
        assert np.abs(hidden[-1][0] - expected[1]).max() < 1e-4
        logits = model.token_embedding.logits(expected).numpy()
        assert ids_of(action) == [logits[0, :5].argmax(), logits[1, :3].argmax()]


def test_an_action_by_its_own_timestep_alone(model, eagerly):
    """It is what the uncached model would do that reads this timestep and no other."""
    policy = GatoPolicy(model, toy_tokenizer(), context="timestep")
    hidden, choose = [], policy.actor.decoder.choose
    policy.actor.decoder.choose = lambda seen, *rest, **how: hidden.append(seen) or choose(seen, *rest, **how)
    for i in range(4):
        seen = observation(i)
        action = policy.act(seen)
        expected = uncached(model, timestep(seen, action))[[-3, -2]]
        assert np.abs(hidden[-2][0] - expected[0]).max() < 1e-4
        assert np.abs(hidden[-1][0] - expected[1]).max() < 1e-4
    with pytest.raises(ValueError, match="a prompt with context='timestep': no action would see it"):
        GatoPolicy(model, toy_tokenizer(), demonstration(1), context="timestep")


def test_the_mean_is_taken_of_continuous_numbers_alone(model, eagerly):
    """An action of one discrete and two continuous numbers, beside the numbers that the uncached model expects."""
    spec = EpisodeSpec(ContinuousSpec((2,)), {"a": DiscreteSpec(5), "b": ContinuousSpec((2,))})
    tokenizer = EpisodeTokenizer(spec, VOCABULARY, local_positions=CONFIG.local_positions)
    seen = np.array([0.2, -0.7], np.float32)
    action = GatoPolicy(model, tokenizer, temperature=0.0, continuous="mean").act(seen)
    bins = VOCABULARY.continuous
    decided = GatoPolicy(model, tokenizer, temperature=9.0, continuous="mean").decide(seen)
    ids = [int(action["a"]), *(bins.start + np.round((action["b"] + 1) / 2 * len(bins) - 0.5).astype(int)).tolist()]
    steps = [Chunk.of_sequence(tokenizer.encode_observation(seen), CONFIG.quantization)]
    steps.append(Chunk.of_ids(np.array(ids, np.int32), ACTION_POSITION))
    logits = model.token_embedding.logits(uncached(model, Chunk.join(steps))[-4:-1]).numpy()
    assert ids[0] == logits[0, :5].argmax()
    for id, of_bin in zip(ids[1:], logits[1:, bins.start : bins.stop], strict=True):
        chances = np.exp(of_bin) / np.exp(of_bin).sum()
        assert id - bins.start == np.round(chances @ np.arange(len(bins)))
        assert id - bins.start != of_bin.argmax()
    other = GatoPolicy(model, tokenizer, temperature=0.0, continuous="mean").decide(seen)
    first, *numbers = other.choices
    assert [choice.id for choice in other.choices] == ids and decided.choices[0].probabilities.max() < 0.5
    for choice, of_bin in zip(numbers, logits[1:, bins.start : bins.stop], strict=True):
        assert choice.first == bins.start
        assert np.abs(choice.probabilities - np.exp(of_bin) / np.exp(of_bin).sum()).max() < 1e-4


@pytest.mark.parametrize("context", ["memory", "window", "timestep"])
@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_a_decision_tells_the_tokens_and_the_distributions_of_the_uncached_model(model, context, temperature, request):
    """Beyond the context, and beside another policy that only acts: the same actions. Compiled if it draws."""
    if not temperature:
        request.getfixturevalue("eagerly")
    options = {"context": context, "temperature": temperature, "seed": 3}
    policy, acting = (GatoPolicy(model, toy_tokenizer(), **options) for _ in range(2))
    steps = []
    for i in range(6):  # 42 tokens
        seen = observation(i)
        found = policy.decide(seen)
        assert found.action == acting.act(seen)
        assert (found.tokens.num_steps, len(found.tokens)) == (1, STEP)
        decoded = toy_tokenizer().decode(found.tokens)
        assert (decoded.fields["observation/camera"][0] == seen["camera"]).all()
        assert {name: int(decoded.fields[f"action/{name}"][0]) for name in ("key", "mode")} == found.action
        if context == "window" and len(steps) * STEP + STEP > ROOM:
            steps = newest(steps, ROOM // 2)
        steps = [*([] if context == "timestep" else steps), timestep(seen, found.action)]
        read = uncached(model, Chunk.join(steps), ROOM if context == "memory" else None)[[-3, -2]]
        logits = model.token_embedding.logits(read).numpy().astype(np.float64) / (temperature or 1)
        for choice, row, count, id in zip(found.choices, logits, (5, 3), ids_of(found.action), strict=True):
            expected = np.exp(row[:count]) / np.exp(row[:count]).sum()
            assert (choice.id, choice.first, choice.probabilities.shape) == (id, 0, (count,))
            assert np.abs(choice.probabilities - expected).max() < 1e-4
    with pytest.raises(ValueError, match="2 rows, and decide is for one"):
        GatoPolicy(model, toy_tokenizer(), rows=2).decide(observation(0))


def test_draws_follow_the_distribution_that_a_decision_tells(model):
    """An observation alone, in 400 rows with other seeds: each id as often as its probability says, within five
    sigma."""
    many = GatoPolicy(model, toy_tokenizer(), rows=400, temperature=3.0)
    many.reset(seeds=range(400))
    chosen = [action["key"] for action in many.act_many([observation(0)] * 400)]
    chances = GatoPolicy(model, toy_tokenizer(), temperature=3.0).decide(observation(0)).choices[0].probabilities
    counts = np.bincount(chosen, minlength=len(chances))
    assert (counts > 0).sum() > 2
    assert (np.abs(counts - 400 * chances) < 5 * np.sqrt(400 * chances * (1 - chances)) + 1).all()


@pytest.mark.parametrize("context", ["memory", "window", "timestep"])
def test_many_rows_act_as_one_row_alone(model, context):
    """Rows start at different times, wait, and start anew; each does what a policy of its own would do."""
    options = {"context": context, "temperature": 2.0, "prompt": None if context == "timestep" else demonstration(1)}
    many, alone = (GatoPolicy(model, toy_tokenizer(), rows=rows, **options) for rows in (3, 1))
    life = [[("reset", 10 + row)] for row in range(3)]  # what happened to each row, with its actions
    many.reset(seeds=[10, 11, 12])
    generator = np.random.default_rng(0)
    for i in range(12):
        rows = [int(row) for row in generator.permutation(3)[: 1 + i % 3]]
        seen = [observation(100 * i + row) for row in rows]
        for row, one, action in zip(rows, seen, many.act_many(seen, rows), strict=True):
            life[row].append((one, action))
        if i in (4, 7):
            many.reset(rows[:1], [20 + i])
            life[rows[0]].append(("reset", 20 + i))
    for row in range(3):
        for seen, expected in life[row]:
            if seen == "reset":
                alone.reset(seeds=[expected])
            else:
                assert alone.act(seen) == expected, row


def test_a_prompt_for_each_row(model, eagerly):
    prompts = [demonstration(2, seed=1), Record(demonstration(3, seed=2))]
    both = GatoPolicy(model, toy_tokenizer(), prompts, rows=2, temperature=2.0)
    both.reset(seeds=[1, 2])
    seen = [observation(1), observation(2)]
    for row, prompt in enumerate(prompts):
        one = GatoPolicy(model, toy_tokenizer(), prompt, temperature=2.0)
        one.reset(seeds=[row + 1])
        assert one.act(seen[row]) == both.act_many([seen[row]], [row])[0]


def test_the_prompt_is_cut_at_the_last_timestep_that_fits(model, eagerly):
    whole = GatoPolicy(model, toy_tokenizer(), demonstration(10))
    assert whole.actor.decoder.counts.numpy().tolist() == [3 * STEP]  # 21 of 24 tokens
    assert GatoPolicy(model, toy_tokenizer(), demonstration(3)).act(observation(0)) == whole.act(observation(0))


def test_a_prompt_alters_what_is_read(model):
    """The tests above would pass, were prompts read and forgotten in both computations."""
    seen, action = observation(0), {"key": 1, "mode": 0}
    prompts = [Chunk.of_sequence(demonstration(3, seed=seed), CONFIG.quantization) for seed in (0, 1)]
    one, two = (uncached(model, Chunk.join([prompt, timestep(seen, action)]))[-3] for prompt in prompts)
    assert np.abs(one - two).max() > 1e-2


def test_greedy_repeats_itself_and_drawing_follows_the_seed(model, eagerly):
    def acts(**options):
        policy = GatoPolicy(model, toy_tokenizer(), **options)
        return str([policy.act(observation(i)) for i in range(6)])

    assert acts() == acts(seed=5)
    assert acts(temperature=9.0, seed=5) == acts(temperature=9.0, seed=5) != acts(temperature=9.0, seed=6)


def test_episodes_of_one_policy_differ_when_drawn(model):
    policy, episodes = GatoPolicy(model, toy_tokenizer(), temperature=9.0), set()
    for _ in range(3):
        episodes.add(str([policy.act(observation(i)) for i in range(6)]))
        policy.reset()
    assert len(episodes) == 3


def test_an_observation_longer_than_a_chunk_is_read_in_pieces(model, monkeypatch, eagerly):
    monkeypatch.setattr(policy_module, "LONGEST", 3)  # an observation of 5 tokens, pieces of 2
    short = GatoPolicy(model, toy_tokenizer(), demonstration(2), rows=2, temperature=2.0)
    assert short.actor.longest == 2
    monkeypatch.undo()
    plain = GatoPolicy(model, toy_tokenizer(), demonstration(2), rows=2, temperature=2.0)
    for i in range(8):
        seen = [observation(2 * i), observation(2 * i + 1)]
        assert short.act_many(seen) == plain.act_many(seen)
    assert short.actor.decoder.counts.numpy().tolist() == plain.actor.decoder.counts.numpy().tolist() == [69, 69]


@pytest.fixture(scope="module")
def copier():
    return trained_on_copying(VOCABULARY)


def test_a_model_that_learnt_to_copy_copies(copier):
    policy = GatoPolicy(copier, EpisodeTokenizer(COPYING_SPEC, VOCABULARY), context="window")
    digits = np.random.default_rng(9).integers(0, 5, 30).tolist()
    assert [tuple(policy.act(digit).tolist()) for digit in digits] == [copied(digit) for digit in digits]


class TestRefusals:
    def refused(self, message, model, spec=None, *rest, **options):
        with pytest.raises(ValueError, match=message):
            GatoPolicy(model, spec or toy_tokenizer(), *rest, **options)

    def test_another_vocabulary(self, model):
        self.refused("the tokenizer has 33025 ids, the model 42", model, SPEC)

    def test_a_text_action(self, model):
        spec = EpisodeSpec(DiscreteSpec(5), TextSpec())
        text = EpisodeTokenizer(spec)
        model = type(model)(type(CONFIG)(**{**vars(CONFIG), "vocabulary_size": 33025}))
        self.refused("action: a text action", model, text)

    def test_no_action(self, model):
        self.refused("nothing to act with", model, toy_tokenizer(EpisodeSpec(DiscreteSpec(5))))

    def test_a_document(self, model):
        spec = EpisodeSpec({"value": DiscreteSpec(5)}, timesteps=False)
        self.refused("has no actions", model, toy_tokenizer(spec))

    def test_a_prompt_of_another_task(self, model):
        other = toy_tokenizer(EpisodeSpec(DiscreteSpec(5), DiscreteSpec(5)))
        self.refused("no demonstration of this task", model, other, demonstration(1))

    def test_a_prompt_too_few(self, model):
        self.refused("1 prompts for 2 rows", model, None, [demonstration(1)], rows=2)

    def test_a_prompt_that_does_not_fit(self):
        self.refused("first timestep has 7 tokens, the context 6", toy_model(sequence_length=6), None, demonstration(1))

    def test_a_timestep_that_does_not_fit(self):
        policy = GatoPolicy(toy_model(sequence_length=6), toy_tokenizer())
        with pytest.raises(ValueError, match="a timestep of 7 tokens does not fit into the model's 6"):
            policy.act(observation(0))

    def test_more_observation_tokens_than_local_positions(self):
        policy = GatoPolicy(toy_model(local_positions=3), toy_tokenizer())
        with pytest.raises(ValueError, match="an observation of 4 tokens, but the model has 3 local positions"):
            policy.act(observation(0))

    @pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
    def test_a_temperature(self, model, value):
        self.refused("temperature must be 0", model, temperature=value)

    def test_a_context(self, model):
        self.refused("context must be 'memory', 'window' or 'timestep', not 'all'", model, context="all")

    def test_rows_that_are_not_there(self, model):
        policy = GatoPolicy(model, toy_tokenizer(), rows=2)
        with pytest.raises(ValueError, match="rows 0 to 1"):
            policy.act_many([observation(0)], [2])
        with pytest.raises(ValueError, match="2 observations for rows"):
            policy.act_many([observation(0)] * 2, [1, 1])
        with pytest.raises(ValueError, match="act_many"):
            policy.act(observation(0))
        with pytest.raises(ValueError, match="one seed each"):
            policy.reset([0, 1], [5])

    def test_an_observation_that_does_not_fit_the_spec(self, model):
        with pytest.raises(ValueError, match="observation/digit: 5 is outside"):
            GatoPolicy(model, toy_tokenizer()).act(observation(0, digit=5))
