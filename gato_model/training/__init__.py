"""Loss, optimizer, training step, the run and its checkpoints."""
