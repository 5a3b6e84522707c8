"""A CIAM that is played on loopback over real HTTP, for tests and for looking at.

>>> with FakeCiam() as fake:
...     fake.fail("token", code="Operation.Failure.User.Locked", status=500)

With pytest, one line in a ``conftest.py`` gives the fixture ``fake_ciam``::

    pytest_plugins = ["ciam_django.testing.fixtures"]

``python -m ciam_django.testing`` runs it by itself.
"""

from __future__ import annotations

from ciam_django.testing.server import FakeCiam

__all__ = ["FakeCiam"]
