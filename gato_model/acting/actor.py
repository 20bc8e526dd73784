"""Actor: a timestep's observation to the ids of its action, all in one compiled function."""

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from gato_model.acting.decoder import Decoder, signature
from gato_tokenize.sequence import ACTION_POSITION

NONE = -1  # no id


class Actor(tf.Module):
    """Acts for each row of a decoder; no Python state, so it can be exported whole.

    ranges int32[A, 2]: the legal ids of each of the A tokens of an action, first and one past the last.

    read(chunk)                tokens that are followed by more of the same observation, or by whole timesteps
    act(chunk) -> int32[rows, A]   the rest of the observation; the ids of the action, -1 in rows of length 0
    reset(rows, seeds)         as of the decoder: back to the prompt
    empty(rows)                back to nothing, to read something else

    A chunk holds at most `longest` tokens. The last id of an action is not read until the next observation is: it
    stands in front of that, so that a timestep with an action of one id passes through the model once.
    """

    def __init__(self, decoder: Decoder, ranges: NDArray[np.int32], temperature: float) -> None:
        super().__init__(name="actor")
        if not len(ranges):
            raise ValueError("there is nothing to act with: this task's action has no tokens")
        self.decoder = decoder
        self.longest = decoder.longest - 1  # and an id from before
        self.ranges = tf.constant(ranges, tf.int32)
        self.temperature = tf.Variable(temperature, trainable=False, dtype=tf.float32)
        self.pending = tf.Variable(tf.fill([decoder.rows], NONE), trainable=False)  # chosen, but not read yet
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
        hidden = self.decoder.append(*_behind(self.pending, *chunk))
        self.pending.assign(tf.where(chunk[2] > 0, NONE, self.pending))
        return hidden

    def _act(self, *chunk: Any) -> Any:
        hidden, active = self._read(*chunk), chunk[2] > 0
        last = self.ranges.shape[0] - 1
        before = tf.zeros((0, self.decoder.rows), tf.int32)
        if last:
            before, hidden = self._all_but_last(hidden, tf.cast(active, tf.int32), last)
        chosen = self._choose(hidden, last)
        self.pending.assign(tf.where(active, chosen, self.pending))
        return tf.where(active[:, None], tf.transpose(tf.concat([before, chosen[None]], 0)), NONE)

    def _all_but_last(self, hidden: Any, active: Any, count: int) -> tuple[Any, Any]:
        """int32[count, rows], chosen and read one after the other, and what the head reads then."""

        def one(i: Any, hidden: Any, ids: Any) -> Any:
            chosen = self._choose(hidden, i)
            return i + 1, self.decoder.append(*_one(chosen, active)), ids.write(i, chosen)

        ids = tf.TensorArray(tf.int32, count, element_shape=[self.decoder.rows])
        _, hidden, ids = tf.while_loop(lambda i, *_: i < count, one, (0, hidden, ids))
        return ids.stack(), hidden

    def _choose(self, hidden: Any, i: Any) -> Any:
        return self.decoder.choose(hidden, self.ranges[i, 0], self.ranges[i, 1], self.temperature)


def _one(ids: Any, lengths: Any) -> tuple[Any, ...]:
    """An action token for each row, as a chunk."""
    positions = tf.fill(tf.shape(ids), ACTION_POSITION)
    patch = tf.zeros((1, 16, 16, 3), tf.uint8), tf.shape(ids), tf.constant([[0, 1, 0, 1]])  # padding
    return (ids[:, None], positions[:, None], lengths, *patch)


def _behind(pending: Any, tokens: Any, positions: Any, lengths: Any, patches: Any, index: Any, intervals: Any) -> Any:
    """A chunk with the pending id in front, in the rows that have one and any tokens at all."""
    one = tf.cast((pending != NONE) & (lengths > 0), tf.int32)
    n = tf.shape(tokens)[1]
    row, place = index // tf.maximum(n, 1), index % tf.maximum(n, 1)
    index = row * (n + 1) + place + tf.gather(tf.pad(one, ((0, 1),)), row)  # padding lies behind the last row
    first = tf.fill(tf.shape(pending), ACTION_POSITION)
    return (
        _in_front(one, pending, tokens), _in_front(one, first, positions), lengths + one, patches, index, intervals,
    )  # fmt: skip


def _in_front(one: Any, first: Any, rest: Any) -> Any:
    """[rows, n] -> [rows, n + 1]: `first` in front where `one`, padding behind elsewhere."""
    return tf.where(one[:, None] > 0, tf.concat([first[:, None], rest], 1), tf.pad(rest, ((0, 0), (0, 1))))
