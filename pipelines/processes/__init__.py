"""Processes that may hang or crash, and how to survive them."""
