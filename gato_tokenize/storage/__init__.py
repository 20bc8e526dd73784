"""Data on disk: record bytes, TFRecord shards, the episode list, the folder of a dataset."""
