"""Gymnasium environments, played by experts or at random."""
