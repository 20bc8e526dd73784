"""The episodes of a LeRobot dataset, with its videos, and of GR00T's variant of it."""
