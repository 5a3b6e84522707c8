"""A fake CIAM server that answers over real HTTP on loopback, for tests and for development.

>>> with FakeCiam() as fake:
...     fake.fail("token", code="Operation.Failure.User.Locked", status=500)

With pytest, one line in a ``conftest.py`` gives the fixture ``fake_ciam``::

    pytest_plugins = ["ciam_django.testing.fixtures"]

``python -m ciam_django.testing`` runs the fake CIAM without a test.
"""

from __future__ import annotations

from ciam_django.testing.server import FakeCiam

__all__ = ["FakeCiam"]
