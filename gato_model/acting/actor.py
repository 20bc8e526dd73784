"""Actor: a timestep's observation to the ids of its action, in one compiled function."""

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from gato_model.acting.decoder import Decoder, signature
from gato_tokenize.sequence import ACTION_POSITION

NONE = -1  # no id


class Actor(tf.Module):
    """A module that acts in each row of a decoder. It has no Python state, so it can be exported whole.

    ranges: int32[A, 2], the legal ids of each of an action's A tokens: the first, and one past the last
    means: bool[A], the tokens that are not drawn but set to the mean of their bins: see `Decoder.choose`

    read(chunk)                   reads whole timesteps, or all but the last tokens of an observation
    act(chunk) -> int32[rows, A]  reads the rest of an observation, returns the action's ids; -1 in rows of length 0
    reset(rows, seeds)            returns these rows to the prompt, as the decoder does
    empty(rows)                   empties these rows

    A chunk holds at most `longest` tokens. The last id of an action is read together with the next observation, as its
    first token, so that a timestep with an action of one id passes through the model once.

    Raises ValueError if an action has no tokens.
    """

    def __init__(
        self, decoder: Decoder, ranges: NDArray[np.int32], temperature: float, means: NDArray[np.bool_]
    ) -> None:
        super().__init__(name="actor")
        if not len(ranges):
            raise ValueError("there is nothing to act with: this task's action has no tokens")
        self.decoder = decoder
        self.longest = decoder.longest - 1  # one less, for the pending id
        self.ranges = tf.constant(ranges, tf.int32)
        self.means = tf.constant(means, tf.bool)
        self.temperature = tf.Variable(temperature, trainable=False, dtype=tf.float32)
        self.pending = tf.Variable(
            tf.fill([decoder.rows], NONE), trainable=False
        )  # ids that were chosen but not read yet
        chunk = signature(decoder.rows)
        each = [tf.TensorSpec([None], tf.int32, name) for name in ("rows", "seeds")]
        self.read = tf.function(self._read, input_signature=chunk, autograph=False)
        self.act = tf.function(self._act, input_signature=chunk, autograph=False)
        self.reset = tf.function(self._reset, input_signature=each, autograph=False)
        self.empty = tf.function(self._empty, input_signature=each[:1], autograph=False)

    def _reset(self, rows: Any, seeds: Any) -> Any:
        self.decoder.reset(rows, seeds)
        self.pending.scatter_nd_update(rows[:, None], tf.fill(tf.shape(rows), NONE))
        return self.decoder.counts.value()  # a signature of a SavedModel must return something

    def _empty(self, rows: Any) -> None:
        self.decoder.counts.scatter_nd_update(rows[:, None], tf.zeros_like(rows))
        self.pending.scatter_nd_update(rows[:, None], tf.fill(tf.shape(rows), NONE))

    def _read(self, *chunk: Any) -> Any:
        hidden = self.decoder.append(*_with_pending(self.pending, *chunk))
        self.pending.assign(tf.where(chunk[2] > 0, NONE, self.pending))
        return hidden

    def _act(self, *chunk: Any) -> Any:
        return self.decide(*chunk)[0]

    def decide(self, *chunk: Any) -> tuple[Any, Any]:
        hidden, active = self._read(*chunk), chunk[2] > 0
        last = self.ranges.shape[0] - 1
        before, seen = tf.zeros((0, self.decoder.rows), tf.int32), tf.zeros((0, *hidden.shape), hidden.dtype)
        if last:
            before, seen, hidden = self._all_but_last(hidden, tf.cast(active, tf.int32), last)
        chosen = self._choose(hidden, last)
        self.pending.assign(tf.where(active, chosen, self.pending))
        ids = tf.where(active[:, None], tf.transpose(tf.concat([before, chosen[None]], 0)), NONE)
        return ids, tf.concat([seen, hidden[None]], 0)

    def _all_but_last(self, hidden: Any, active: Any, count: int) -> tuple[Any, Any, Any]:
        """Choose and read `count` ids one after the other: int32[count, rows], what the head read for each, and what it
        reads after them."""

        positions = tf.fill(tf.shape(active), ACTION_POSITION)

        def one(i: Any, hidden: Any, ids: Any, seen: Any) -> Any:
            chosen = self._choose(hidden, i)
            after = self.decoder.append_one(chosen, positions, active)
            return i + 1, after, ids.write(i, chosen), seen.write(i, hidden)

        ids = tf.TensorArray(tf.int32, count, element_shape=[self.decoder.rows])
        seen = tf.TensorArray(hidden.dtype, count, element_shape=hidden.shape)
        _, hidden, ids, seen = tf.while_loop(lambda i, *_: i < count, one, (0, hidden, ids, seen))
        return ids.stack(), seen.stack(), hidden

    def distribution(self, hidden: Any, i: int) -> Any:
        """Compute the probabilities of the legal ids from which action token i is chosen: float32[rows, ids].

        hidden: what the head reads for it. They are those of the draw at the policy's temperature; if nothing is drawn,
        those of which the likeliest id or the mean is taken.
        """
        logits = self.decoder.logits(hidden, *tf.unstack(self.ranges[i]))
        drawn = (self.temperature > 0) & ~self.means[i]
        return tf.nn.softmax(logits / tf.where(drawn, self.temperature, 1.0))

    def _choose(self, hidden: Any, i: Any) -> Any:
        low, high = self.ranges[i, 0], self.ranges[i, 1]
        return self.decoder.choose(hidden, low, high, self.temperature, mean=self.means[i])


def _with_pending(
    pending: Any, tokens: Any, positions: Any, lengths: Any, patches: Any, index: Any, intervals: Any
) -> Any:
    """Put the pending id before a chunk's tokens, in the rows that have both."""
    one = tf.cast((pending != NONE) & (lengths > 0), tf.int32)
    n = tf.shape(tokens)[1]
    row, place = index // tf.maximum(n, 1), index % tf.maximum(n, 1)
    index = row * (n + 1) + place + tf.gather(tf.pad(one, ((0, 1),)), row)  # padding indexes past the last row
    first = tf.fill(tf.shape(pending), ACTION_POSITION)
    return (
        _prepended(one, pending, tokens), _prepended(one, first, positions), lengths + one, patches, index, intervals,
    )  # fmt: skip


def _prepended(one: Any, first: Any, rest: Any) -> Any:
    """Put `first` before the row if `one` is 1, padding after it otherwise: [rows, n] -> [rows, n + 1]."""
    return tf.where(one[:, None] > 0, tf.concat([first[:, None], rest], 1), tf.pad(rest, ((0, 0), (0, 1))))
