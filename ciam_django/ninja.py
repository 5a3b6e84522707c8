"""Bearer tokens of CIAM in django-ninja: ``NinjaAPI(auth=user_and_bearer)``.

This module does not import django-ninja, which accepts any callable of a request as ``auth``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final

from django.http import HttpRequest

from ciam_django.accounts import bearer
from ciam_django.coroutines import async_twin

if TYPE_CHECKING:
    # The stubs know only the one user model of the tests.
    from django.contrib.auth.models import User

__all__ = ["user_and_bearer"]

_user_and_bearer_in_thread: Final = async_twin(bearer.user_and_bearer)


class CiamBearer:
    """The ``auth`` of operations with ``def`` and with ``async def``."""

    # django-ninja then awaits the result in an operation with ``async def``. Older versions would
    # otherwise call the database inside the event loop.
    is_async: Final = True
    # django-ninja adds the scheme to its OpenAPI document, with the name of the class.
    openapi_security_schema: Final = {"type": "http", "scheme": "bearer"}

    def __call__(
        self, request: HttpRequest
    ) -> tuple[User, bearer.Bearer] | Coroutine[Any, Any, Any] | None:
        """Return the user and the bearer; in an event loop, return a coroutine for them."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return bearer.user_and_bearer(request)
        return _user_and_bearer_in_thread(request)


user_and_bearer: Final = CiamBearer()
