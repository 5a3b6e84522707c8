"""Tests of the answer to each failure, at each stage of a sign-in, on each surface."""
