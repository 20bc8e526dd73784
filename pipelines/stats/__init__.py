"""Statistics that are counted while a dataset is made."""
