"""Records to batches, with numpy alone."""
