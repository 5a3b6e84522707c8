"""A view in, a view out of whose request no error report tells more than method and path."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from django.http import HttpRequest, HttpResponseBase, QueryDict
from django.views.decorators.debug import sensitive_post_parameters

from ciam_django.errors import leaving_no_values

R = TypeVar("R", bound=HttpResponseBase)


def private(view: Callable[..., R]) -> Callable[..., R]:
    """Keep the request's query, form and cookies, and the view's variables, out of reports.

    The address of a callback holds a code, which is good for a sign-in. Django puts the address
    into its mail to ADMINS and beside its own log lines, Sentry into each of its events.
    """
    discreet = leaving_no_values(sensitive_post_parameters()(view))

    @functools.wraps(view)
    def private_view(request: HttpRequest, *args: Any, **kwargs: Any) -> R:
        # For the view, which reads it from here on from what is parsed now.
        request.GET  # noqa: B018
        request.META["QUERY_STRING"] = ""
        _keep_from_sentry()
        try:
            return discreet(request, *args, **kwargs)
        except Exception:
            request.COOKIES = {}
            raise
        finally:
            request.GET = QueryDict()

    return private_view


def _keep_from_sentry() -> None:
    """Its events hold the request as it came in, whatever has been done to it since."""
    sentry: Any = sys.modules.get("sentry_sdk")
    if sentry and sentry.get_client().get_integration("django"):
        # Of the scope that ends with the request, and is asked last.
        sentry.get_current_scope().add_event_processor(_bare)


def _bare(event: dict[str, Any], hint: object) -> dict[str, Any]:
    """An event of Sentry's without the request's query, form and headers, and all variables.

    Of the user, whose address CIAM has just told, the id is enough.
    """
    request = event.get("request", {})
    event["request"] = {name: request[name] for name in ("method", "url") if name in request}
    if "user" in event:
        event["user"] = {name: it for name, it in event["user"].items() if name == "id"}
    # Where there is none, `attach_stacktrace` would add one after us.
    event.setdefault("threads", {"values": []})
    for part in ("exception", "threads"):
        for value in event.get(part, {}).get("values", ()):
            for frame in (value.get("stacktrace") or {}).get("frames", ()):
                frame.pop("vars", None)
    return event
