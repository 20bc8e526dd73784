"""Decoder: the model token by token or a chunk at a time, with the keys and values of earlier tokens kept.

Because the weights are fixed, a token's keys and values never change. So a ring of the last `window` of them in every
layer is Transformer-XL's memory (Gato, section 2.4): each token looks at itself and at the `window` - 1 tokens before
it, and the result equals `Gato.hidden(window=window)` on the whole stream.

Token number p of a row stands in slot p % slots of its ring. With slots = window + longest - 1, a chunk of at most
`longest` tokens overwrites only slots that have left the window; its padding goes to such slots, too, until tokens
replace it. So a row's count of tokens determines what its slots hold. An example with window 4, longest 3, 6 slots: 5
tokens are there, 2 tokens and 1 of padding come:

    slot                   0  1  2  3  4  5
    token there            6  p  2  3  4  5    p: padding, where token 7 will be
    distance of query 5    5  4  3  2  1  0    below 4: the query looks at it
    distance of query 6    0  5  4  3  2  1
"""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from gato_model.network.model import Gato

LONGEST = 128  # tokens of a chunk; a longer chunk needs more slots, and every query scores every slot
_NEVER = -1e9


class _AttentionMask(NamedTuple):
    """The slots that n consecutive queries look at, and how far back these are; the same in every layer.

    distances  int32[rows, slots + n]: of each slot from the last query, and on around the ring for the queries before
    added      float32[rows, n, slots]: added to the scores, 0 or, if a query must not look there, `_NEVER`
    """

    distances: Any
    added: Any


class Decoder(tf.Module):
    """A fixed number of rows, each with its own stream of tokens. It is compiled once, for chunks of any length.

    model: its weights are taken as they are now; make another decoder after more training
    window: the number of tokens that a token looks at, itself included; by default the model's `sequence_length`
    longest: the most tokens of a chunk

    append(tokens, local_positions, lengths, patches, patch_index, patch_intervals) -> [rows, width]
        appends the first lengths[row] of at most `longest` tokens to each row's stream (`chunk.batch` makes the
        arguments) and returns what the head reads at the last of them. A row of length 0 returns no meaningful values.

    Raises ValueError for a number below 1.
    """

    def __init__(self, model: Gato, rows: int = 1, window: int | None = None, longest: int = LONGEST) -> None:
        super().__init__(name="decoder")
        config = model.config
        self.window = config.sequence_length if window is None else window
        for name, value in (("rows", rows), ("window", self.window), ("longest", longest)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        self.model, self.rows, self.longest = model, rows, longest
        self.slots = self.window + longest - 1
        blocks = model.transformer.blocks
        shape = (config.num_heads, rows, self.slots, config.key_value_size)  # heads first, as `_attended` multiplies
        self.keys = [_kept(tf.zeros(shape, model.compute_dtype)) for _ in blocks]
        self.values = [_kept(tf.zeros(shape, model.compute_dtype)) for _ in blocks]
        beyond = ((0, 0), (0, longest - 1), (0, 0))  # distances that no query looks at
        self.far = [_kept(tf.pad(block.attention.distance_vectors(self.window), beyond)) for block in blocks]
        self.counts = _kept(tf.zeros(rows, tf.int32))  # tokens of each row's stream
        self.seeds = _kept(tf.zeros(rows, tf.int32))
        self.append = tf.function(self._append, input_signature=signature(rows), autograph=False)
        self.mark()

    def mark(self) -> None:
        """Mark the rows' present tokens, at most `window` each, as the state to which `reset` returns.

        reset(rows int32[r], seeds int32[r]) returns these rows to it and sets the seeds of what `choose` draws.
        """
        held = int(np.max(self.counts.numpy()))
        if held > self.window:
            raise ValueError(f"{held} tokens are more than the {self.window} that a row keeps")
        self.marked_counts = _kept(self.counts)
        self.marked = [_kept(ring[:, :, :held]) for ring in (*self.keys, *self.values)] if held else []
        each = tf.TensorSpec([None], tf.int32)
        self.reset = tf.function(self._reset, input_signature=[each, each], autograph=False)

    def _reset(self, rows: Any, seeds: Any) -> None:
        self.counts.scatter_nd_update(rows[:, None], tf.gather(self.marked_counts, rows))
        self.seeds.scatter_nd_update(rows[:, None], seeds)
        for ring, marked in zip((*self.keys, *self.values), self.marked, strict=False):
            slot = tf.range(marked.shape[2]) + tf.zeros_like(rows)[:, None]
            ring.scatter_nd_update(_places(ring, rows, slot), tf.gather(marked, rows, axis=1))

    def _append(self, tokens: Any, local_positions: Any, lengths: Any, patches: Any, patch_index: Any,
                patch_intervals: Any) -> Any:  # fmt: skip
        embedded = {"tokens": tokens, "local_positions": local_positions, "patches": patches}
        x = self.model.embed({**embedded, "patch_index": patch_index, "patch_intervals": patch_intervals})
        first, count, last = self.counts.value(), tf.shape(tokens)[1], tf.maximum(lengths - 1, 0)
        slot = (first[:, None] + tf.range(count)) % self.slots  # rows, n
        mask = self._attention_mask(first, count)
        for layer, block in enumerate(self.model.transformer.blocks):
            queries = self._store(layer, block, x, slot)
            if layer == len(self.keys) - 1:  # of the last layer, one output a row is read
                x, queries = tf.gather(x, last[:, None], batch_dims=1), _of_rows(queries, last)
                mask = self._attention_mask(first + last, 1)
            x = x + block.attention.merge(self._attended(layer, block.attention, queries, mask))
            x = x + block.feed_forward(block.norms[1](x))
        self.counts.assign_add(lengths)
        return tf.ensure_shape(self.model.transformer.norm(x)[:, 0], [self.rows, self.model.config.width])

    def _attention_mask(self, first: Any, count: Any) -> _AttentionMask:
        """Make the mask of `count` queries in each row; the first of them is token number `first`, int32[rows]."""
        query = first[:, None] + tf.range(count)
        back = (query % self.slots)[..., None] - tf.range(self.slots)
        back = tf.where(back < 0, back + self.slots, back)  # rows, count, slots
        looks = (back < self.window) & (back <= query[..., None])
        around = first[:, None] + count - 1 - tf.range(self.slots + count)
        return _AttentionMask(around % self.slots, tf.where(looks, 0.0, _NEVER))

    def _store(self, layer: int, block: Any, x: Any, slot: Any) -> Any:
        """Write the keys and values of x [rows, n, width] to their slots; return queries [heads, rows, n, key size]."""
        projected = block.attention.project(block.norms[0](x))
        queries, keys, values = (tf.transpose(part, (1, 0, 2, 3)) for part in projected)
        places = _places(self.keys[layer], tf.range(self.rows), slot)
        for ring, new in ((self.keys[layer], keys), (self.values[layer], values)):
            ring.scatter_nd_update(places, new)
            tf.raw_ops.DisableCopyOnRead(resource=ring.handle)  # or each read copies the ring, a third of the time
        return queries

    def _attended(self, layer: int, attention: Any, queries: Any, mask: _AttentionMask) -> Any:
        """Attend to the ring: [rows, heads, n, key size].

        A row's ring is turned by its count, so the vectors of distances are turned to match. Turning their scores
        instead would move n times as much.
        """
        kind = queries.dtype
        far = tf.gather(self.far[layer], mask.distances, axis=1)  # heads, rows, slots + n, key size
        content = queries + tf.cast(attention.content_bias.value, kind)[:, None]
        distant = queries + tf.cast(attention.distance_bias.value, kind)[:, None]
        scores = tf.matmul(content, self.keys[layer], transpose_b=True)  # heads, rows, n, slots
        scores += turned(tf.matmul(distant, far, transpose_b=True), self.slots)
        scores = tf.cast(scores, tf.float32) * self.model.config.attention_scale + mask.added
        weights = tf.cast(tf.nn.softmax(scores), kind)
        return tf.transpose(tf.matmul(weights, self.values[layer]), (1, 0, 2, 3))

    def choose(self, hidden: Any, low: Any, high: Any, temperature: Any, top_k: int = 0) -> Any:
        """Choose the next id in [low, high) of each row: int32[rows], from the [rows, width] that `append` returned.

        At temperature 0 it is the likeliest, otherwise it is drawn, from the `top_k` likeliest unless top_k is 0. A
        draw depends on the row's seed and its number of tokens, and on no other row.
        """
        table = tf.cast(self.model.token_embedding.table.value[low:high], hidden.dtype)
        logits = tf.cast(tf.matmul(hidden, table, transpose_b=True), tf.float32)
        if top_k:
            least = tf.math.top_k(logits, tf.minimum(top_k, high - low))[0][:, -1:]
            logits = tf.where(logits < least, float("-inf"), logits)
        warm = tf.convert_to_tensor(temperature) > 0
        noise = tf.cond(warm, lambda: self._gumbel(high - low) * temperature, lambda: tf.zeros_like(logits))
        return tf.argmax(logits + noise, -1, tf.int32) + low

    def _gumbel(self, count: Any) -> Any:
        """Draw float32[rows, count] so that the largest of logits + these is a draw from the softmax of the logits."""
        seeds = tf.stack([self.seeds, self.counts], 1)
        least = np.finfo(np.float32).tiny
        uniform = tf.map_fn(
            lambda seed: tf.random.stateless_uniform([count], seed, least), seeds, fn_output_signature=tf.float32
        )
        return -tf.math.log(-tf.math.log(uniform))


def signature(rows: int) -> list[Any]:
    """Return the specs of the arrays of `chunk.batch`, in their order."""
    return [
        tf.TensorSpec([rows, None], tf.int32, "tokens"),
        tf.TensorSpec([rows, None], tf.int32, "local_positions"),
        tf.TensorSpec([rows], tf.int32, "lengths"),
        tf.TensorSpec([None, 16, 16, 3], tf.uint8, "patches"),
        tf.TensorSpec([None], tf.int32, "patch_index"),
        tf.TensorSpec([None, 4], tf.int32, "patch_intervals"),
    ]


def turned(scores: Any, slots: int) -> Any:
    """Move row i of n by n - 1 - i to the left: [heads, rows, n, slots + n] -> [heads, rows, n, slots].

    >>> turned(tf.constant([[[[10, 11, 12, 13], [20, 21, 22, 23]]]]), 2).numpy().tolist()
    [[[[11, 12], [20, 21]]]]
    """
    heads, rows, n, columns = tf.unstack(tf.shape(scores))
    flat = tf.reshape(scores, (heads, rows, n * columns))[..., n - 1 : -1]
    return tf.reshape(flat, (heads, rows, n, columns - 1))[..., :slots]


def _kept(value: Any) -> Any:
    return tf.Variable(value, trainable=False)


def _places(ring: Any, rows: Any, slot: Any) -> Any:
    """Index the slots int32[r, n] of r rows in a ring [heads, rows, slots, key size]: int32[heads, r, n, 3]."""
    heads = tf.range(ring.shape[0])[:, None, None]
    return tf.stack([heads + 0 * slot, rows[:, None] + 0 * (heads + slot), slot + 0 * heads], -1)


def _of_rows(queries: Any, index: Any) -> Any:
    """Take one query of each row: [heads, rows, n, key size], int32[rows] -> [heads, rows, 1, key size]."""
    chosen = tf.gather(tf.transpose(queries, (1, 2, 0, 3)), index[:, None], batch_dims=1)  # rows, 1, heads, key size
    return tf.transpose(chosen, (2, 0, 1, 3))
