"""Time an error that a view of REST framework raises, as a request and in the handler alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponseBase
from django.test import RequestFactory
from django.urls import include, path
from django.utils.module_loading import import_string
from django.utils.translation import gettext
from rest_framework import views
from rest_framework.exceptions import PermissionDenied
from rest_framework.response import Response
from rest_framework.views import APIView

from benchmarks.cases import Case, Row, timed_case, wsgi_environ
from benchmarks.errors import CODE, HAND_TABLE, HandError, slug_of
from ciam_django.errors import CiamError

HANDLERS: Final = {
    "ciam_django": "ciam_django.drf.exception_handler",
    "REST framework": "rest_framework.views.exception_handler",
    "drf-standardized-errors": "drf_standardized_errors.handler.exception_handler",
    "drf-exceptions-hog": "exceptions_hog.exception_handler",
    "by hand": "benchmarks.rest.handle_by_hand",
    # The error of somebody else: ours passes the error to the handler of REST framework.
    "passed on": "ciam_django.drf.exception_handler",
}
ROWS = [
    Row("Our error, a whole request, over the same by hand", "ciam_django", "by hand", 1.12),
    Row("Our error, the handler alone", "ciam_django alone", "by hand alone", None),
    Row(
        "Somebody else's error, a whole request, over REST framework's own handler",
        "passed on",
        "REST framework",
        1.01,
    ),
    Row("… the handler alone", "passed on alone", "REST framework alone", 1.05),
    Row("A whole request, over REST framework's own handler", "ciam_django", "REST framework", 1.1),
    Row("… over drf-standardized-errors", "ciam_django", "drf-standardized-errors", 1.0),
    Row("… over drf-exceptions-hog", "ciam_django", "drf-exceptions-hog", None),
    *(
        Row(f"The handler alone, over {name}'s", "ciam_django alone", f"{name} alone", None)
        for name in ("REST framework", "drf-standardized-errors", "drf-exceptions-hog")
    ),
]


def handle_by_hand(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """Answer a ``HandError`` in the user's language, with the fewest steps."""
    if not isinstance(error, HandError):
        return None
    status, message = HAND_TABLE[str(error)]
    views.set_rollback()
    return Response({"code": str(error), "detail": gettext(message)}, status=status)


def error_for(name: str) -> Exception:
    """Return the exception to raise: ours, our floor's, or REST framework's own."""
    if name == "ciam_django":
        return CiamError(CODE, request_id="1656572265429$49b4", stage="token")
    if name == "by hand":
        return HandError(CODE)
    return PermissionDenied()


class RefusingView(APIView):
    """Raises the exception for its handler, which ``name`` selects."""

    name = ""
    authentication_classes = ()
    permission_classes = ()

    def get(self, request: Any) -> Response:
        raise error_for(self.name)

    def get_exception_handler(self) -> Callable[[Exception, Any], Response | None]:
        return handlers[self.name]


handlers: dict[str, Callable[[Exception, Any], Response | None]] = {}
_views: Final = {slug_of(name): RefusingView.as_view(name=name) for name in HANDLERS}


def refuse(request: HttpRequest, slug: str) -> HttpResponseBase:
    return _views[slug](request)


# One pattern for all cases: a case with a later pattern would need more time to find its view.
urlpatterns = [path("ciam/", include("ciam_django.urls")), path("<slug:slug>", refuse)]


def cases() -> Mapping[str, Case]:
    handlers.update({name: import_string(dotted_path) for name, dotted_path in HANDLERS.items()})
    application = get_wsgi_application()
    timed: dict[str, Case] = {}
    for name in HANDLERS:
        timed[name] = _request_case(application, name)
        timed[f"{name} alone"] = _handler_case(name)
    return timed


def _request_case(application: Any, name: str) -> Case:
    headers = {"Accept": "application/json", "Accept-Language": "zh-hans"}
    environ = wsgi_environ(f"/{slug_of(name)}", headers)

    def request() -> None:
        response = application(dict(environ), lambda status, headers: None)
        b"".join(response)
        response.close()

    request()
    return timed_case(request)


def _handler_case(name: str) -> Case:
    handler = handlers[name]
    view = RefusingView(name=name)
    request = view.initialize_request(RequestFactory().get("/"))
    context = {"request": request, "view": view, "args": (), "kwargs": {}}
    return timed_case(lambda: handler(error_for(name), context))
