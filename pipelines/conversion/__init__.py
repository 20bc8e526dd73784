"""From a plan by way of its work folder and shards to the published dataset: plain Python, no Beam."""
