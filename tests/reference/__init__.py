"""The tests of the reference in the documentation (``docs/_ext/ciam_reference``)."""
