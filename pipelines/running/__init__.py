"""What runs a plan: watched local processes, or any Beam runner."""
