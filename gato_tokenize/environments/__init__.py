"""Gymnasium environments as a dataset recorded them, and how an episode is played in them."""
