"""The episodes of an RLDS dataset, as TFDS writes them."""
