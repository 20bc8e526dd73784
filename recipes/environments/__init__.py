"""Environments that the recipes register with Gymnasium, for `rollouts:recipes.environments.MODULE:ID`."""
