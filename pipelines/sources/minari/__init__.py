"""The episodes of a Minari dataset."""
