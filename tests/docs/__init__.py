"""Tests that run the code blocks of the documentation, and compare its facts with the code."""
