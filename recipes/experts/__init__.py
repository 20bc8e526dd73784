"""Experts of a few lines, for `rollouts:ENVIRONMENT?policy=recipes.experts.MODULE:FUNCTION`."""
