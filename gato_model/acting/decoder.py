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

from typing import Any

import numpy as np
import tensorflow as tf

from gato_model.network.model import Gato

LONGEST = 128  # tokens of a chunk; a longer chunk needs more slots, and every query scores every slot
_NEVER = -1e9  # the score of what a query must not look at


class Decoder(tf.Module):
    """A fixed number of rows, each with its own stream of tokens. It is compiled once, for chunks of any length.

    model: its weights are taken as they are now; make another decoder after more training
    window: the number of tokens that a token looks at, itself included; by default the model's `sequence_length`
    longest: the most tokens of a chunk

    append(tokens, local_positions, lengths, patches, patch_index, patch_intervals) -> [rows, width]
        appends the first lengths[row] of at most `longest` tokens to each row's stream (`chunk.batch` makes the
        arguments) and returns what the head reads at the last of them. A row of length 0 returns no meaningful values.

    append_one(ids int32[rows], local_positions int32[rows], lengths int32[rows]) -> [rows, width]
        does the same for one id a row, in less time. lengths are 1, or 0 in rows that wait.

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
        shape = (rows, config.num_heads, self.slots, config.key_value_size)
        self.keys = [_kept(tf.zeros(shape, model.compute_dtype)) for _ in blocks]
        self.values = [_kept(tf.zeros(shape, model.compute_dtype)) for _ in blocks]
        self.far = [_kept(self._distance_vectors(block.attention)) for block in blocks]
        self.counts = _kept(tf.zeros(rows, tf.int32))  # tokens of each row's stream
        self.seeds = _kept(tf.zeros(rows, tf.int32))
        self.append = tf.function(self._append, input_signature=signature(rows), autograph=False)
        one = [tf.TensorSpec([rows], tf.int32, name) for name in ("ids", "local_positions", "lengths")]
        self.append_one = tf.function(self._append_one, input_signature=one, autograph=False)
        self.mark()

    def _distance_vectors(self, attention: Any) -> Any:
        """Compute the vectors of distances 0 to `slots` - 1 and of "never": [heads, slots + 1, key size + 1].

        Their last number masks: it is `_NEVER` at distances that no query looks at, and queries have a 1 there. So the
        mask costs no array of the size of the scores.
        """
        beyond = self.slots + 1 - self.window
        vectors = tf.pad(attention.distance_vectors(self.window), ((0, 0), (0, beyond), (0, 0)))
        mask = tf.concat([tf.zeros(self.window), tf.fill([beyond], _NEVER)], 0)
        mask = tf.cast(tf.broadcast_to(mask[:, None], (*vectors.shape[:2], 1)), vectors.dtype)
        return tf.concat([vectors, mask], -1)

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
            ring.scatter_nd_update(_places(ring, rows, slot), tf.gather(marked, rows))

    def _append(self, tokens: Any, local_positions: Any, lengths: Any, patches: Any, patch_index: Any,
                patch_intervals: Any) -> Any:  # fmt: skip
        text = {"tokens": tokens, "local_positions": local_positions}
        seen = {"patches": patches, "patch_index": patch_index, "patch_intervals": patch_intervals}
        x = tf.cond(  # without pictures, the patch network has nothing to do
            tf.reduce_any(patch_index < tf.size(tokens)),
            lambda: self.model.embed({**text, **seen}),
            lambda: self.model.embed(text),
        )
        return self._read(tf.ensure_shape(x, [self.rows, None, self.model.config.width]), lengths)

    def _append_one(self, ids: Any, local_positions: Any, lengths: Any) -> Any:
        x = self.model.embed({"tokens": ids[:, None], "local_positions": local_positions[:, None]})
        return self._read(x, lengths)

    def _read(self, x: Any, lengths: Any) -> Any:
        """Pass embedded tokens [rows, n, width] through the blocks: [rows, width] at the last token of each row."""
        first, count = self.counts.value(), tf.shape(x)[1]
        last = tf.maximum(lengths - 1, 0)
        places = _places(self.keys[0], tf.range(self.rows), (first[:, None] + tf.range(count)) % self.slots)
        of_all = self._distances(first, count, self.slots + count) if x.shape[1] != 1 else None
        of_last = self._distances(first, last + 1, self.slots)
        for layer, block in enumerate(self.model.transformer.blocks):
            queries = self._store(layer, block, x, places)
            if layer == len(self.keys) - 1 and of_all is not None:  # of the last layer, one output a row is read
                x, of_all = tf.gather(x, last[:, None], batch_dims=1), None
                queries = tf.gather(tf.transpose(queries, (0, 2, 1, 3)), last[:, None], batch_dims=1)
                queries = tf.transpose(queries, (0, 2, 1, 3))
            x = x + block.attention.merge(self._attended(layer, block.attention, queries, of_all, of_last))
            x = x + block.feed_forward(block.norms[1](x))
        self.counts.assign_add(lengths)
        return tf.ensure_shape(self.model.transformer.norm(x)[:, 0], [self.rows, self.model.config.width])

    def _distances(self, first: Any, count: Any, columns: Any) -> Any:
        """Compute how far back each slot is from the last of `count` queries: int32[rows, columns], `slots` for never.

        Columns beyond the slots go on around the ring, for the queries before the last: the query i places before it
        starts at column i. A slot that is "ahead" on the first lap holds no token yet.
        """
        back = (first + count - 1)[:, None] - tf.range(columns)
        return tf.where(back < 0, self.slots, back % self.slots)

    def _store(self, layer: int, block: Any, x: Any, places: Any) -> Any:
        """Write the keys and values of x [rows, n, width] to their places; return [rows, heads, n, size] queries."""
        queries, keys, values = block.attention.project(block.norms[0](x))
        for ring, new in ((self.keys[layer], keys), (self.values[layer], values)):
            ring.scatter_nd_update(places, new)
            tf.raw_ops.DisableCopyOnRead(resource=ring.handle)  # or each read copies the ring, a third of the time
        return queries

    def _attended(self, layer: int, attention: Any, queries: Any, of_all: Any, of_last: Any) -> Any:
        """Attend with n queries a row to the ring, with one if `of_all` is None: [rows, heads, n, key size]."""
        scale, kind = self.model.config.attention_scale, queries.dtype
        content = (queries + tf.cast(attention.content_bias.value, kind)) * scale
        distant = (queries + tf.cast(attention.distance_bias.value, kind)) * scale
        distant = tf.pad(distant, ((0, 0), (0, 0), (0, 0), (0, 1)), constant_values=1)  # for the mask
        keys, values, far = self.keys[layer].value(), self.values[layer].value(), self.far[layer].value()
        if of_all is None:
            return _weighed(content, keys, _by_slot(distant, far, of_last), values)
        by_distance = turned(tf.matmul(distant, _vectors(far, of_all), transpose_b=True))
        return _weighed(content, keys, by_distance, values)

    def logits(self, hidden: Any, low: Any, high: Any) -> Any:
        """Compute the logits of the ids in [low, high) from what `append` returned: float32[rows, high - low]."""
        table = tf.cast(self.model.token_embedding.table.value[low:high], hidden.dtype)
        return tf.cast(tf.matmul(hidden, table, transpose_b=True), tf.float32)

    def choose(self, hidden: Any, low: Any, high: Any, temperature: Any, top_k: int = 0, mean: Any = False) -> Any:
        """Choose the next id in [low, high) of each row: int32[rows], from the [rows, width] that `append` returned.

        At temperature 0 it is the likeliest, otherwise it is drawn, from the `top_k` likeliest unless top_k is 0. A
        draw depends on the row's seed and its number of tokens, and on no other row. With `mean`, a bool, it is the id
        nearest to the mean of the ids under their probabilities, whatever the temperature: for bins of equal width,
        the bin that holds the expected value.
        """
        logits = self.logits(hidden, low, high)
        if top_k:
            least = tf.math.top_k(logits, tf.minimum(top_k, high - low))[0][:, -1:]
            logits = tf.where(logits < least, float("-inf"), logits)
        warm = tf.convert_to_tensor(temperature) > 0
        noise = tf.cond(warm, lambda: self._gumbel(high - low) * temperature, lambda: tf.zeros_like(logits))
        return low + tf.cond(
            tf.convert_to_tensor(mean),
            lambda: _mean_index(logits),
            lambda: tf.argmax(logits + noise, -1, tf.int32),
        )

    def _gumbel(self, count: Any) -> Any:
        """Draw float32[rows, count] so that the largest of logits + these is a draw from the softmax of the logits."""
        seeds = tf.stack([self.seeds, self.counts], 1)
        least = np.finfo(np.float32).tiny
        uniform = tf.map_fn(
            lambda seed: tf.random.stateless_uniform([count], seed, least), seeds, fn_output_signature=tf.float32
        )
        return -tf.math.log(-tf.math.log(uniform))


def _mean_index(logits: Any) -> Any:
    """Return the index nearest to the mean index under the softmax: float32[rows, n] -> int32[rows]."""
    index = tf.cast(tf.range(tf.shape(logits)[1]), tf.float32)
    return tf.cast(tf.round(tf.linalg.matvec(tf.nn.softmax(logits), index)), tf.int32)


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


def _weighed(content: Any, keys: Any, by_distance: Any, values: Any) -> Any:
    """Weigh the values by the softmax of both scores: [r, heads, n, key size]."""
    scores = tf.matmul(content, keys, transpose_b=True) + by_distance  # r, heads, n, slots
    weights = tf.cast(tf.nn.softmax(tf.cast(scores, tf.float32)), values.dtype)
    return tf.matmul(weights, values)


def _vectors(far: Any, distances: Any) -> Any:
    """Gather the vectors of each row's distances, int32[rows, columns]: [rows, heads, columns, key size + 1]."""
    heads, count, size = far.shape
    of_head = count * tf.range(heads)[:, None]
    return tf.gather(tf.reshape(far, (heads * count, size)), distances[:, None] + of_head)


def _by_slot(distant: Any, far: Any, distances: Any) -> Any:
    """Score the slots of one query a row by their distance, int32[rows, slots]: [rows, heads, 1, slots].

    All rows are multiplied with the same vectors, and the products are put in each row's order.
    """
    products = tf.matmul(tf.transpose(distant[:, :, 0], (1, 0, 2)), far, transpose_b=True)  # heads, rows, slots + 1
    rows, count, heads = distances.shape[0], far.shape[1], far.shape[0]
    flat = tf.reshape(tf.transpose(products, (1, 2, 0)), (rows * count, heads))
    ordered = tf.gather(flat, distances + count * tf.range(rows)[:, None])  # rows, slots, heads
    return tf.transpose(ordered, (0, 2, 1))[:, :, None]


def turned(scores: Any) -> Any:
    """Move row i of n by n - 1 - i to the left: [rows, heads, n, slots + n] -> [rows, heads, n, slots].

    >>> turned(tf.constant([[[[10, 11, 12, 13], [20, 21, 22, 23]]]])).numpy().tolist()
    [[[[11, 12], [20, 21]]]]
    """
    rows, heads, n, columns = tf.unstack(tf.shape(scores))
    flat = tf.reshape(scores, (rows, heads, n * columns))[..., n - 1 : -1]
    return tf.reshape(flat, (rows, heads, n, columns - 1))[..., : columns - n]


def _kept(value: Any) -> Any:
    return tf.Variable(value, trainable=False)


def _places(ring: Any, rows: Any, slot: Any) -> Any:
    """Index the slots int32[r, n] of r rows in a ring [rows, heads, slots, key size]: int32[r, heads, n, 3]."""
    heads, slot = tf.range(ring.shape[1])[:, None], slot[:, None]
    return tf.stack([rows[:, None, None] + 0 * (heads + slot), heads + 0 * slot, slot + 0 * heads], -1)
