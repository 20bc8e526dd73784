"""A plan, its work folder, its shards, the published dataset: plain Python, no Beam."""
