import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from layer_contract import TOY, LayerContract, spread

from gato_model.network.losses import REACH, Smoothing
from gato_model.network.model import Gato, Training
from gato_tokenize import Kind
from gato_tokenize.sequence import ACTION_POSITION, NO_POSITION

ROWS, LENGTH = 2, 12
END = ROWS * LENGTH
RANDOM = Training(tf.constant([3, 4]))


def toy_batch(rows=ROWS, length=LENGTH, seed=0):
    """Two patches a row, three places that predict, one slot of padding in each list."""
    generator = np.random.default_rng(seed)
    places = np.arange(rows)[:, None] * length
    tokens = generator.integers(0, 50, (rows, length), np.int32)
    tokens[:, 1:3] = 0
    positions = np.full((rows, length), NO_POSITION, np.int32)
    positions[:, 1:6], positions[:, 7:9] = range(5), ACTION_POSITION
    return {
        "tokens": tokens,
        "local_positions": positions,
        "segments": np.ones((rows, length), np.int32),
        "patches": generator.integers(0, 256, (2 * rows + 1, 16, 16, 3), np.uint8),
        "patch_index": np.append((places + [1, 2]).ravel(), rows * length).astype(np.int32),
        "patch_intervals": np.int32([[0, 16, 0, 8], [0, 16, 8, 16]] * rows + [[0, 1, 0, 1]]),
        "target_index": np.append((places + [4, 6, 10]).ravel(), rows * length).astype(np.int32),
        "targets": generator.integers(0, 50, (rows, length), np.int32),
    }


def no_patches(rows, length):
    """One slot of padding."""
    index = np.int32([rows * length])
    return {
        "patches": np.zeros((1, 16, 16, 3), np.uint8),
        "patch_intervals": np.int32([[0, 1, 0, 1]]),
        "patch_index": index,
    }


def everywhere(batch):
    return {name: array for name, array in batch.items() if name not in ("target_index", "targets")}


def first_rows(batch, rows):
    """The first rows alone, as a batch of its own."""
    whole = len(batch["tokens"])
    kept = slice(0, rows)
    end = rows * batch["tokens"].shape[1]
    here = {name: batch[name][kept] for name in ("tokens", "local_positions", "segments", "targets")}
    of_patches = {name: batch[name][: 2 * rows] for name in ("patches", "patch_index", "patch_intervals")}
    assert rows <= whole
    return here | of_patches | {"target_index": np.append(batch["target_index"][: 3 * rows], end).astype(np.int32)}


def changed(batch, name, place, value):
    array = batch[name].copy()
    array[place] = value
    return {**batch, name: array}


def gradients(model, batch, training=False):
    """(sum of the losses, the gradient of each variable by its path)."""
    with tf.GradientTape() as tape:
        losses = model.losses(batch, training)
        total = tf.reduce_sum(losses.cross_entropy * losses.weight)
    found = tape.gradient(total, [variable.value for variable in model.trainable_variables])
    return total, {
        variable.path: tf.convert_to_tensor(gradient)
        for variable, gradient in zip(model.trainable_variables, found, strict=True)
    }


@pytest.fixture(scope="module")
def model():
    return spread(Gato(TOY))


@pytest.fixture(scope="module")
def regularised():
    return spread(Gato(dataclasses.replace(TOY, dropout=0.2, stochastic_depth=0.4)))


class TestContract(LayerContract):
    shape = (ROWS, LENGTH, 50)

    def make(self, **options):
        return Gato(TOY, **options)

    def inputs(self):
        return [everywhere(toy_batch())]

    def first_row(self, inputs):
        return [everywhere(first_rows(toy_batch(), 1))]

    test_compiled_with_any_number_of_rows = None  # below, by `fit`
    test_mixed_precision = None  # below: logits stay float32


# What a token sees, exactly


@pytest.mark.parametrize("length", [12, 300, 600])  # over the borders of query blocks, and no multiples of them
@pytest.mark.parametrize("name", ["tokens", "local_positions", "patches"])
def test_what_comes_later_changes_no_bit(model, length, name):
    batch = everywhere(toy_batch(1, length))
    batch["patch_index"] = np.int32([1, length - 3, length])
    place = {"tokens": (0, length - 2), "local_positions": (0, length - 2), "patches": 1}[name]
    before = length - 3 if name == "patches" else length - 2
    value = 255 - batch[name][place] if name == "patches" else 7
    first, second = model(batch).numpy(), model(changed(batch, name, place, value)).numpy()
    np.testing.assert_array_equal(first[:, :before], second[:, :before])
    assert np.abs(first[:, before:] - second[:, before:]).max(-1).min() > 0


def test_packed_sequences_do_not_see_each_other(model):
    batch = everywhere(toy_batch(1))
    batch["segments"] = np.int32([[1] * 3 + [2] * 4 + [3] * 5])
    packed = model(batch)[0]
    for start, stop in ((0, 3), (3, 7), (7, 12)):
        alone = {name: batch[name][:, start:stop] for name in ("tokens", "local_positions", "segments")}
        alone |= {name: batch[name] for name in ("patches", "patch_intervals")}
        alone["patch_index"] = np.int32([1, 2, 3] if start == 0 else [stop - start] * 3)
        np.testing.assert_allclose(model(alone)[0], packed[start:stop], atol=1e-5)


def test_padding_does_not_matter(model):
    batch = everywhere(toy_batch())
    longer = {name: np.pad(batch[name], ((0, 0), (0, 5))) for name in ("tokens", "local_positions", "segments")}
    longer |= {name: batch[name] for name in ("patches", "patch_intervals")}
    longer["patch_index"] = np.int32([1, 2, 18, 19, 34])
    np.testing.assert_allclose(model(longer)[:, :LENGTH], model(batch), atol=1e-5)


@pytest.mark.parametrize("length", [1, 2, 65, 257])
def test_any_length_and_number_of_rows(model, length):
    batch = toy_batch(3, 260)
    batch = {name: batch[name][:, :length] for name in ("tokens", "local_positions", "segments")}
    whole = model({**batch, **no_patches(3, length)})
    assert whole.shape == (3, length, 50)
    last = model({**{name: array[2:] for name, array in batch.items()}, **no_patches(1, length)})
    np.testing.assert_allclose(whole[2:], last, atol=1e-5)


# Embedding


def test_what_is_embedded_where(model):
    """Ids by the table, patches by network and position, each with its local position."""
    batch = toy_batch()
    x = model.embed(batch).numpy()
    table, local = model.token_embedding.table.numpy(), model.local_position.table.numpy()
    np.testing.assert_allclose(x[0, 0], table[batch["tokens"][0, 0]], rtol=1e-6)
    np.testing.assert_allclose(x[1, 4], table[batch["tokens"][1, 4]] + local[3], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(x[1, 8], table[batch["tokens"][1, 8]] + local[8], rtol=1e-5, atol=1e-6)
    patch = model.patch_embedding(batch["patches"])[3] + model.patch_position(batch["patch_intervals"])[3]
    np.testing.assert_allclose(x[1, 2], patch + local[1], rtol=1e-4, atol=1e-5)


def test_patches_are_embedded_at_their_places_alone(model):
    batch = toy_batch()
    other = {**batch, "patches": 255 - batch["patches"]}
    moved = np.abs(model.embed(batch) - model.embed(other)).max(-1) > 0
    assert np.argwhere(moved).tolist() == [[0, 1], [0, 2], [1, 1], [1, 2]]
    ids = changed(batch, "tokens", (0, 1), 33)  # what stands in a patch's place is not read
    np.testing.assert_array_equal(model.embed(batch), model.embed(ids))


def test_slots_of_padding_have_no_effect_and_no_gradient(model):
    batch = toy_batch()
    padded = {
        **batch,
        "patches": np.concatenate([batch["patches"], batch["patches"][:3]]),
        "patch_index": np.append(batch["patch_index"], np.int32([END] * 3)),
        "patch_intervals": np.concatenate([batch["patch_intervals"], np.int32([[3, 9, 3, 9]] * 3)]),
        "target_index": np.append(batch["target_index"], np.int32([END] * 4)),
    }
    loss, expected = gradients(model, batch)
    loss_padded, found = gradients(model, padded)
    np.testing.assert_allclose(loss_padded, loss, rtol=1e-6)
    for path, gradient in expected.items():
        np.testing.assert_allclose(found[path], gradient, rtol=1e-4, atol=1e-5, err_msg=path)


def test_the_one_table_learns_as_lookup_and_as_head(model):
    """A difference quotient moves both uses of the table at once."""
    assert [v.path for v in model.trainable_variables if v.shape[0] == 50] == [model.token_embedding.table.path]
    batch, table = toy_batch(), model.token_embedding.table
    row, before = batch["tokens"][0, 0], table.numpy()
    direction = np.zeros_like(before)
    direction[row] = np.random.default_rng(0).normal(size=32)
    _, found = gradients(model, batch)
    sums = []
    for sign in (1, -1):
        table.assign(before + sign * 1e-2 * direction)
        sums.append(float(gradients(model, batch)[0]))
    table.assign(before)
    assert (sums[0] - sums[1]) / 2e-2 == pytest.approx(np.sum(found[table.path] * direction), rel=0.01)


# Loss


def test_logits_at_targets_are_those_of_all_places(model):
    batch = toy_batch()
    flat = tf.reshape(model(everywhere(batch)), (-1, 50)).numpy()
    np.testing.assert_allclose(model(batch)[:-1], flat[batch["target_index"][:-1]], atol=1e-5)


def test_losses_by_hand(model):
    batch = toy_batch()
    losses, logits = model.losses(batch), model(everywhere(batch)).numpy()
    assert losses.weight.numpy().tolist() == [1] * 6 + [0]
    for k, place in enumerate(batch["target_index"][:-1]):
        at, right = logits[place // LENGTH, place % LENGTH], batch["targets"][place // LENGTH, place % LENGTH]
        assert float(losses.cross_entropy[k]) == pytest.approx(np.log(np.exp(at).sum()) - at[right], rel=1e-4)
        assert losses.correct[k] == (at.argmax() == right)


def test_the_neighbours_of_a_bin_share_its_target(model):
    """The objective against the cross-entropy with the whole distribution of targets, written out."""
    batch = toy_batch()
    bins, share = range(30, 45), 0.4
    at = batch["target_index"][:-1]
    batch["targets"].reshape(-1)[at] = [30, 37, 44, 33, 10, 40]  # both ends, between, and a text
    kinds = np.zeros((ROWS, LENGTH), np.uint8)
    kinds.reshape(-1)[at + 1] = [Kind.CONTINUOUS, Kind.CONTINUOUS_ACTION] * 2 + [Kind.TEXT, Kind.DISCRETE_ACTION]
    batch["kinds"] = kinds
    found = model.losses(batch, smoothing=Smoothing(bins, share))
    plain = model.losses(batch)
    np.testing.assert_array_equal(found.cross_entropy, plain.cross_entropy)
    np.testing.assert_array_equal(plain.objective, plain.cross_entropy)
    logits = model(batch).numpy()
    chances = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    expected = []
    for i, target in enumerate(batch["targets"].reshape(-1)[at].tolist()):
        near = {id: REACH + 1 - abs(id - target) for id in bins if 0 < abs(id - target) <= REACH}
        total = sum(near.values()) if i < 4 else 0
        parts = {id: share * weight / total for id, weight in near.items()} if total else {}
        parts[target] = 1 - share if total else 1
        expected.append(-sum(part * chances[i, id] for id, part in parts.items()))
    np.testing.assert_allclose(found.objective[:-1], expected, rtol=1e-5)
    assert np.abs(found.objective[:4] - found.cross_entropy[:4]).min() > 1e-3
    with tf.GradientTape() as tape:
        losses = model.losses(batch, smoothing=Smoothing(bins, share))
        total = tf.reduce_sum(losses.objective * losses.weight)
    for gradient in tape.gradient(total, [variable.value for variable in model.trainable_variables]):
        assert np.isfinite(tf.convert_to_tensor(gradient)).all()


def test_evaluate_means_over_tokens_not_batches(model):
    """A batch of one predicted token weighs a sixth of one of six."""
    few = {**toy_batch(seed=1), "target_index": np.int32([5] + [END] * 6)}
    model.compile()
    data = tf.data.Dataset.from_tensors(toy_batch()).concatenate(tf.data.Dataset.from_tensors(few))
    result = model.evaluate(data, verbose=0, return_dict=True)
    losses = [model.losses(batch) for batch in (toy_batch(), few)]
    total = sum(float(tf.reduce_sum(each.cross_entropy * each.weight)) for each in losses)
    assert result["loss"] == pytest.approx(total / 7, rel=1e-5)
    assert result["accuracy"] == pytest.approx(
        sum(float(tf.reduce_sum(each.correct * each.weight)) for each in losses) / 7, abs=1e-6
    )


# Random numbers


def test_training_needs_a_seed(model):
    with pytest.raises(ValueError, match=r"training=True needs a seed: training=Training\(seed\)"):
        model(toy_batch(), training=True)


def test_random_numbers_are_a_function_of_their_seed(regularised):
    batch = toy_batch()
    first, same = (gradients(regularised, batch, RANDOM)[0] for _ in range(2))
    assert first == same
    assert {float(gradients(regularised, batch, Training(tf.constant([3, i])))[0]) for i in range(3)} != {float(first)}
    assert first != gradients(regularised, batch)[0]


def test_a_part_of_a_batch_has_its_part_of_the_numbers():
    whole = RANDOM.uniform(1, 6, 2, 3).numpy()
    parts = [dataclasses.replace(RANDOM, first_row=first, total_rows=6).uniform(1, 2, 2, 3) for first in (0, 2, 4)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert whole.min() >= 0 and whole.max() < 1
    assert (RANDOM.uniform(2, 6, 2, 3).numpy() != whole).any()


def test_dropout_falls_differently_on_each_part():
    """Their rows' shapes may differ, so there is no common drawing."""
    seeds = [dataclasses.replace(RANDOM, first_row=first, total_rows=6).seeds(2, 4).numpy() for first in (0, 2)]
    assert seeds[0].shape == (4, 2) and (seeds[0] != seeds[1]).any(1).all()


def test_a_batch_in_two_parts_is_the_whole():
    """Stochastic depth and drawn patch positions: one worker or two, the same gradient."""
    model = spread(Gato(dataclasses.replace(TOY, stochastic_depth=0.4)))
    batch = toy_batch(4)
    total, expected = gradients(model, batch, Training(RANDOM.seed))
    second = {name: batch[name][2:] for name in ("tokens", "local_positions", "segments", "targets")}
    second |= {name: batch[name][4:] for name in ("patches", "patch_intervals")}
    second |= {name: batch[name][2 * n :] - 2 * LENGTH for name, n in (("patch_index", 2), ("target_index", 3))}
    halves = ((first_rows(batch, 2), 0), (second, 2))
    parts = [gradients(model, half, Training(RANDOM.seed, first, 4)) for half, first in halves]
    assert float(total) == pytest.approx(float(parts[0][0] + parts[1][0]), rel=1e-5)
    for path, gradient in expected.items():
        both = parts[0][1][path] + parts[1][1][path]
        np.testing.assert_allclose(both, gradient, rtol=1e-3, atol=1e-4, err_msg=path)


def test_stochastic_depth_drops_its_share_and_keeps_the_mean(regularised):
    keep, seeds = regularised._regularisation(RANDOM, np.zeros((5000, 1), np.int32))
    assert keep.shape == (5000, 2, 2) and seeds.shape == (2, 2, 2)
    np.testing.assert_allclose(np.unique(keep), [0, 1 / 0.6], rtol=1e-6)
    np.testing.assert_allclose(tf.reduce_mean(keep, 0), np.ones((2, 2)), atol=0.05)
    both = np.mean((keep[:, 0, 0] == 0) & (keep[:, 0, 1] == 0))  # sub-layers fall apart from each other
    assert both == pytest.approx(0.16, abs=0.02)


def test_evaluation_draws_nothing(regularised):
    assert regularised._regularisation(None, np.zeros((2, 1), np.int32)) == (None, None)
    batch = toy_batch()
    np.testing.assert_array_equal(regularised(batch), regularised(batch))


def test_patch_positions_are_drawn_in_training_alone(model):
    wide = {**toy_batch(), "patch_intervals": np.int32([[0, 16, 0, 16]] * 4 + [[0, 1, 0, 1]])}
    still, drawn = model.embed(wide).numpy(), model.embed(wide, RANDOM).numpy()
    moved = np.abs(still - drawn).max(-1) > 0
    assert np.argwhere(moved).tolist() == [[0, 1], [0, 2], [1, 1], [1, 2]]
    narrow = {**wide, "patch_intervals": np.int32([[4, 5, 8, 9]] * 5)}
    np.testing.assert_array_equal(model.embed(narrow), model.embed(narrow, RANDOM))


# Window


def test_a_window_reaches_so_far_back_in_each_block(model):
    """Two blocks that look 2 tokens back reach 4 back."""
    batch = everywhere(toy_batch(1))
    other = changed(batch, "tokens", (0, 5), (batch["tokens"][0, 5] + 1) % 50)
    moved = np.abs(model.hidden(batch, window=3) - model.hidden(other, window=3)).max(-1)[0] > 0
    assert moved.nonzero()[0].tolist() == [5, 6, 7, 8, 9]


# Training


def fitted(epochs, jit=False, dtype=None):
    """The losses and accuracies of some epochs of 5 steps."""
    keras.utils.set_random_seed(1)
    model = Gato(dataclasses.replace(TOY, num_layers=1, dropout=0.1), dtype=dtype)
    model.compile(keras.optimizers.AdamW(3e-3), jit_compile=jit)
    data = tf.data.Dataset.from_tensors(toy_batch()).repeat(5)
    return model.fit(data, epochs=epochs, verbose=0, shuffle=False).history


@pytest.fixture(scope="module")
def plain_fit():
    return fitted(15)


def test_fit_learns_a_batch_by_heart(plain_fit):
    assert plain_fit["loss"][0] > 3.5
    assert plain_fit["loss"][-1] < 0.5 and plain_fit["accuracy"][-1] > 0.9


def test_fit_compiled_by_xla_has_the_same_loss(plain_fit):
    """Both draw the same numbers."""
    np.testing.assert_allclose(fitted(3, jit=True)["loss"], plain_fit["loss"][:3], rtol=1e-4)


def test_mixed_precision_learns_the_same(plain_fit):
    np.testing.assert_allclose(fitted(3, dtype="mixed_bfloat16")["loss"], plain_fit["loss"][:3], rtol=0.05)


def test_mixed_precision_keeps_variables_and_logits_exact(model):
    twin, batch = Gato(TOY, dtype="mixed_bfloat16"), toy_batch()
    twin.set_weights(model.get_weights())
    assert {variable.dtype for variable in twin.trainable_variables} == {"float32"}
    assert twin.hidden(batch).dtype == tf.bfloat16 and twin(batch).dtype == tf.float32
    np.testing.assert_allclose(twin.losses(batch).cross_entropy, model.losses(batch).cross_entropy, rtol=0.05)


def test_recomputed_gradients_are_the_same(regularised):
    again = Gato(regularised.config, rematerialize=True)
    again.set_weights(regularised.get_weights())
    total, expected = gradients(regularised, toy_batch(), RANDOM)
    again_total, found = gradients(again, toy_batch(), RANDOM)
    assert float(total) == pytest.approx(float(again_total), rel=1e-6)
    for (path, gradient), other in zip(expected.items(), found.values(), strict=True):
        np.testing.assert_allclose(other, gradient, rtol=1e-4, atol=1e-4, err_msg=path)


# Saved


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3.15 beside numpy 2
def test_saved_and_loaded(tmp_path):
    """With its configuration and its optimizer; training goes on."""
    model = Gato(dataclasses.replace(TOY, num_layers=1), rematerialize=True, seed=5)
    model.compile(keras.optimizers.AdamW(1e-3), run_eagerly=True)
    data = tf.data.Dataset.from_tensors(toy_batch())
    model.fit(data, verbose=0, shuffle=False)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(again, Gato)
    assert (again.config, again.rematerialize, again.seed) == (model.config, True, 5)
    np.testing.assert_array_equal(again(toy_batch()), model(toy_batch()))
    again.fit(data, verbose=0, shuffle=False)
    model.fit(data, verbose=0, shuffle=False)
    np.testing.assert_allclose(again(toy_batch()), model(toy_batch()), atol=1e-5)
