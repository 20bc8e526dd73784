"""Processes that may hang or crash, and calls that survive it."""
