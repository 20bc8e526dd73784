"""Policies in environments: rollouts, scores, videos."""
