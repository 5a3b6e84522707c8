"""``python -m tests.mutations`` counts the one-line changes that make a test fail."""
