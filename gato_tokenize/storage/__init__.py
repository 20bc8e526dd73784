"""What lies on disk: record bytes, TFRecord shards, the list of episodes, the folder of a dataset."""
