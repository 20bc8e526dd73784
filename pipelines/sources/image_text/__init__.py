"""Pictures with a caption, or with a question and its answer."""
