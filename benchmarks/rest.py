"""Time an error that a view of REST framework raises, as a request and in the handler alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from django.core.wsgi import get_wsgi_application
from django.test import RequestFactory
from django.urls import include, path
from django.utils.module_loading import import_string
from rest_framework.exceptions import PermissionDenied
from rest_framework.response import Response
from rest_framework.views import APIView

from benchmarks.cases import Case, Row, cpu_case
from ciam_django.errors import CiamError

HANDLERS: Final = {
    "ciam_django": "ciam_django.drf.exception_handler",
    "REST framework": "rest_framework.views.exception_handler",
    "drf-standardized-errors": "drf_standardized_errors.handler.exception_handler",
    "drf-exceptions-hog": "exceptions_hog.exception_handler",
}
ROWS = [
    Row("A whole request, over REST framework's own handler", "ciam_django", "REST framework", 1.1),
    Row("… over drf-standardized-errors", "ciam_django", "drf-standardized-errors", 1.0),
    Row("… over drf-exceptions-hog", "ciam_django", "drf-exceptions-hog", None),
    *(
        Row(f"The handler alone, over {name}'s", "ciam_django alone", f"{name} alone", None)
        for name in HANDLERS
        if name != "ciam_django"
    ),
]


def error_for(name: str) -> Exception:
    """Return the exception to raise: ours, or REST framework's for the other handlers."""
    if name == "ciam_django":
        return CiamError(
            "Operation.Failure.User.Locked", request_id="1656572265429$49b4", stage="token"
        )
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
urlpatterns = [
    path("ciam/", include("ciam_django.urls")),
    *(path(name, RefusingView.as_view(name=name)) for name in HANDLERS),
]


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
    environ = RequestFactory(headers=headers)._base_environ(PATH_INFO=f"/{name}")  # type: ignore[attr-defined]

    def request() -> None:
        response = application(dict(environ), lambda status, headers: None)
        b"".join(response)
        response.close()

    request()
    return cpu_case(request)


def _handler_case(name: str) -> Case:
    handler = handlers[name]
    view = RefusingView(name=name)
    request = view.initialize_request(RequestFactory().get("/"))
    context = {"request": request, "view": view, "args": (), "kwargs": {}}
    return cpu_case(lambda: handler(error_for(name), context))
