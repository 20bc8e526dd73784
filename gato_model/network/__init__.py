"""A batch to logits: embeddings, positions, attention, the transformer."""
