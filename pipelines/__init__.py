"""Apache Beam jobs that convert datasets into TFRecord episodes of Gato's tokens."""
