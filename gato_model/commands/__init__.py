"""The commands of `gato-model`: arguments in, exit code out."""
