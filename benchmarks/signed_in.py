"""Time a request of a signed-in person, with a session or with a bearer token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.test import Client, override_settings
from django.urls import include, path
from rest_framework.authentication import TokenAuthentication
from rest_framework.authtoken.models import Token
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from benchmarks import logins
from benchmarks.cases import Case, Row, Seconds, timed_case, wsgi_environ
from ciam_django.drf.authentication import CiamBearerAuthentication
from ciam_django.testing import FakeCiam
from ciam_django.tokens import access_token_of

ROWS = [
    Row(
        "A request with `CiamSessionMiddleware`, not due, over Django's own session and user",
        "session",
        "Django's session",
        1.05,
    ),
    Row("A bearer token, `check`, over TokenAuthentication", "check", "TokenAuthentication", 1.0),
    Row("A bearer token, `jwt`, over TokenAuthentication", "jwt", "TokenAuthentication", 1.0),
]
_MIDDLEWARE: Final = "ciam_django.accounts.middleware.CiamSessionMiddleware"


def show_user(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(request.user.pk))


def show_token(request: HttpRequest) -> HttpResponse:
    return HttpResponse(access_token_of(request))


class _UserView(APIView):
    """Shows the user of a token."""

    permission_classes = ()

    def get(self, request: Request) -> Response:
        return Response({"id": request.user.pk})


_API_VIEWS: Final = {
    "bearer": _UserView.as_view(authentication_classes=(CiamBearerAuthentication,)),
    "authtoken": _UserView.as_view(authentication_classes=(TokenAuthentication,)),
}


def show_user_of_token(request: HttpRequest, scheme: str) -> HttpResponseBase:
    return _API_VIEWS[scheme](request)


urlpatterns = [
    path("ciam/", include("ciam_django.urls")),
    path("user", show_user),
    path("token", show_token),
    # One pattern for both: the case with the later pattern would need more time to find its view.
    path("api/<slug:scheme>", show_user_of_token),
]


def cases() -> Mapping[str, Case]:
    call_command("migrate", verbosity=0)
    # The requests below do not call CIAM, so the fake takes no time of this process.
    fake = FakeCiam(https=True).start()
    fake.signs_access_tokens = True
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": fake.client()}
    client = Client()
    logins.sign_in("ciam", "li", lambda request: request(), client)
    session = {"HTTP_COOKIE": f"sessionid={client.cookies['sessionid'].value}"}
    bearer = {"HTTP_AUTHORIZATION": f"Bearer {client.get('/token').content.decode()}"}
    key = Token.objects.create(user=get_user_model().objects.get()).key
    return {
        "Django's session": _request_case("/user", session),
        "session": _request_case("/user", session, MIDDLEWARE=[*settings.MIDDLEWARE, _MIDDLEWARE]),
        "check": _request_case("/api/bearer", bearer, CIAM_BEARER="check"),
        "jwt": _request_case("/api/bearer", bearer, CIAM_BEARER="jwt"),
        "TokenAuthentication": _request_case(
            "/api/authtoken", {"HTTP_AUTHORIZATION": f"Token {key}"}
        ),
    }


def _request_case(url: str, extra: Mapping[str, str], **overridden: Any) -> Case:
    environ = wsgi_environ(url, extra=extra)
    with override_settings(**overridden):
        application: Any = get_wsgi_application()

    def request() -> None:
        status = ""

        def start_response(sent_status: str, headers: Any) -> None:
            nonlocal status
            status = sent_status

        response = application(dict(environ), start_response)
        b"".join(response)
        response.close()
        assert status == "200 OK", status

    timed = timed_case(request)

    def case(loops: int) -> Seconds:
        for name, value in overridden.items():
            setattr(settings, name, value)
        request()
        return timed(loops)

    return case
