"""BATCH_FIELDS: the arrays of a batch, one table for `tf.data`'s signature, the training step and the documentation."""

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class BatchField:
    """One array of a batch.

    axes: sizes, or names: B rows, L = sequence_length tokens, and K predictions and N patches, which differ from batch
    to batch and are rounded up by `packing.round_up`, so that a compiled step sees few shapes.
    """

    name: str
    dtype: Literal["int32", "uint8"]
    axes: tuple[str | int, ...]
    content: str

    def shape(self, rows: int, length: int) -> tuple[int | None, ...]:
        """Return the axes' sizes for B = rows and L = length; None for K and N.

        >>> BatchField("patches", "uint8", ("N", 16, 16, 3), "pixels").shape(8, 1024)
        (None, 16, 16, 3)
        """
        known = {"B": rows, "L": length}
        return tuple(known.get(axis) if isinstance(axis, str) else axis for axis in self.axes)


BATCH_FIELDS = (
    BatchField("tokens", "int32", ("B", "L"), "ids; 0 at patches and padding"),
    BatchField("kinds", "uint8", ("B", "L"), "0 text, 1 patch, 2 continuous, 3 discrete, 4 separator, 5 continuous "
               "action, 6 discrete action; 0 at padding"),
    BatchField("local_positions", "int32", ("B", "L"), "index among the timestep's observation tokens; -2 an action; "
               "-1 none, as at padding"),
    BatchField("segments", "int32", ("B", "L"), "number of the token's sequence in its row, from 1; a prompt belongs "
               "to the sequence after it; 0 at padding"),
    BatchField("targets", "int32", ("B", "L"), "the next token's id where `target_mask` is 1, else 0"),
    BatchField("target_mask", "uint8", ("B", "L"), "1 where the next token of the same segment is in the loss"),
    BatchField("target_index", "int32", ("K",), "flat places (row * L + column) where `target_mask` is 1, rising; "
               "then B * L"),
    BatchField("patches", "uint8", ("N", 16, 16, 3), "pixels of the patch tokens, in order; then zeros"),
    BatchField("patch_index", "int32", ("N",), "flat places of the patch tokens, rising; then B * L"),
    BatchField("patch_intervals", "int32", ("N", 4), "row low, row high, column low, column high of each patch, "
               "quantised (appendix C.3); then 0, 1, 0, 1"),
    BatchField("dataset", "int32", ("B",), "index of the share that the row comes from, in the order given"),
)  # fmt: skip
