"""Runners of a conversion: watched local processes, or any Beam runner."""
