"""Tables in Parquet and Arrow files, as the `datasets` library writes them: a row is an episode, or a timestep."""
