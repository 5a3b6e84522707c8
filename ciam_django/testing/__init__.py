"""A fake CIAM server that answers over real HTTP on loopback, for tests and for development.

>>> with FakeCiam() as fake:
...     fake.fail("token", code="Operation.Failure.User.Locked", status=500)

If the package is installed, pytest has the fixture ``fake_ciam``. If the package is only on the
path, one line in a ``conftest.py`` gives the fixture::

    pytest_plugins = ["ciam_django.testing.fixtures"]

``python -m ciam_django.testing`` runs the fake CIAM without a test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ciam_django.testing.server import FakeCiam

__all__ = ["FakeCiam"]


def __getattr__(name: str) -> Any:
    """Import the server at the first use, because pytest imports this package in each project."""
    if name != "FakeCiam":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from ciam_django.testing.server import FakeCiam  # noqa: PLC0415  (see above)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"FakeCiam needs {error.name}, which is not installed: install ciam_django[testing]",
            name=error.name,
        ) from error
    return FakeCiam
