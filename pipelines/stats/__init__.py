"""What is counted while a dataset is made."""
