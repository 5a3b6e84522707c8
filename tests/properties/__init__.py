"""Property tests of rules that hold for any input."""
