"""How many one-line changes of the package the tests notice: ``python -m tests.mutations``."""
