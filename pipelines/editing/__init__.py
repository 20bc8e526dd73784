"""Edits of datasets: merged, filtered and split into new ones, from records that stay as they are."""
