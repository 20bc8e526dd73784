"""The commands of `gato-data`: arguments in, exit code out."""
