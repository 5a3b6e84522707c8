"""Test that ``HasScope`` requires the scopes of the view from tokens, and only from tokens."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from django.urls import path
from pytest_django.fixtures import Settings
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import IsAdminUser, IsAuthenticated
from rest_framework.renderers import BrowsableAPIRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ciam_django.drf import exception_handler
from ciam_django.drf.authentication import CiamBearerAuthentication
from ciam_django.drf.permissions import HasScope
from ciam_django.testing import FakeCiam
from tests.drf.test_authentication import header, token_for

pytestmark = pytest.mark.django_db


class OtherAuthentication(BaseAuthentication):
    """Accepts foreign tokens, whose scopes are unknown."""

    def authenticate(self, request: Request) -> tuple[User, str]:
        return User(username="other"), "another token"


class OrdersView(APIView):
    authentication_classes: Any = (CiamBearerAuthentication, SessionAuthentication)
    permission_classes: Any = (HasScope,)
    required_scopes: Any = ("orders.read", "USER_API")

    def get(self, request: Request) -> Response:
        return Response({"user": request.user.username})

    def post(self, request: Request) -> Response:
        return Response({"user": request.user.username})


class ByMethodView(OrdersView):
    renderer_classes = (JSONRenderer, BrowsableAPIRenderer)
    required_scopes: Any = {"GET": ["orders.read"], "POST": ["orders.read", "orders.write"]}


class IncompleteView(OrdersView):
    required_scopes: Any = {"GET": ["orders.read"]}


class EitherView(OrdersView):
    permission_classes: Any = (HasScope | IsAdminUser,)


class OtherView(OrdersView):
    authentication_classes: Any = (OtherAuthentication,)


class UnauthenticatedView(OrdersView):
    authentication_classes: Any = ()


class MisconfiguredView(OrdersView):
    pass


class RaisingView(APIView):
    """Raises a refusal of the project's own with the same code."""

    authentication_classes: Any = (CiamBearerAuthentication,)
    permission_classes: Any = (IsAuthenticated,)

    def get(self, request: Request) -> Response:
        raise PermissionDenied("mine", code="insufficient_scope")


urlpatterns = [
    path("orders/", OrdersView.as_view()),
    path("by-method/", ByMethodView.as_view()),
    path("incomplete/", IncompleteView.as_view()),
    path("either/", EitherView.as_view()),
    path("other/", OtherView.as_view()),
    path("unauthenticated/", UnauthenticatedView.as_view()),
    path("misconfigured/", MisconfiguredView.as_view()),
    path("raising/", RaisingView.as_view()),
]


@pytest.fixture(autouse=True)
def site(ciam: FakeCiam, settings: Settings) -> None:
    settings.ROOT_URLCONF = __name__
    cache.clear()


@pytest.fixture
def token(ciam: FakeCiam) -> str:
    """A token with the scopes ``orders.read`` and ``USER_API``."""
    ciam.token_check = {"scope": "USER_API orders.read"}
    return token_for()


def send(token: str, url: str, method: str = "get") -> Any:
    return getattr(Client(), method)(url, headers=header(token))


def test_a_token_with_all_required_scopes_passes(token: str) -> None:
    assert send(token, "/orders/").status_code == 200


def test_the_refusal_of_a_token_names_the_required_scopes(ciam: FakeCiam, token: str) -> None:
    ciam.token_check = {"scope": "USER_API orders.reader"}

    response = send(token, "/orders/")

    assert response.status_code == 403
    assert response.json()["code"] == "insufficient_scope"
    assert response.json()["kind"] == "permission"
    assert response["WWW-Authenticate"] == (
        'Bearer error="insufficient_scope", scope="orders.read USER_API"'
    )


def test_a_refusal_is_logged_once(token: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    send(token, "/by-method/", "post")

    (record,) = [record for record in caplog.records if record.name.startswith(("ciam", "django"))]
    assert "code=insufficient_scope" in record.getMessage()
    assert token not in record.getMessage()


@pytest.mark.parametrize(
    ("method", "status"),
    [("get", 200), ("head", 200), ("post", 403), ("options", 200), ("put", 405), ("trace", 405)],
)
def test_scopes_may_differ_by_method(method: str, status: int, token: str) -> None:
    response = send(token, "/by-method/", method)

    assert response.status_code == status
    if method == "post":
        assert 'scope="orders.read orders.write"' in response["WWW-Authenticate"]


def test_the_browsable_api_works_with_a_partly_sufficient_token(token: str) -> None:
    headers = {**header(token), "accept": "text/html"}

    assert Client().get("/by-method/", headers=headers).status_code == 200


def test_a_session_needs_no_scopes(ciam: FakeCiam) -> None:
    client = Client()
    client.force_login(User.objects.create(username="li"))

    assert client.get("/orders/").status_code == 200


@pytest.mark.parametrize("url", ["/orders/", "/by-method/"])
def test_an_anonymous_user_gets_a_401(url: str) -> None:
    response = Client().get(url)

    assert response.status_code == 401
    assert response["WWW-Authenticate"] == "Bearer"


def test_a_view_without_authenticators_refuses_with_a_403() -> None:
    assert Client().get("/unauthenticated/").status_code == 403


def test_tokens_of_other_authenticators_have_no_scopes() -> None:
    response = Client().get("/other/")

    assert response.status_code == 403
    assert response.json()["code"] == "insufficient_scope"


@pytest.mark.parametrize("is_staff", [True, False])
def test_has_scope_can_be_combined_with_other_permissions(
    is_staff: bool, ciam: FakeCiam, token: str
) -> None:
    send(token, "/orders/")
    ciam.token_check = {}
    cache.clear()
    User.objects.update(is_staff=is_staff)

    assert send(token, "/either/").status_code == (200 if is_staff else 403)


@pytest.mark.parametrize(
    "required", [None, "orders.read", 7, [7], ['a"b'], ["a b"], [""], ["ä"], {"GET": "orders.read"}]
)
def test_invalid_required_scopes_are_a_misconfiguration(
    required: object, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MisconfiguredView, "required_scopes", required)

    with pytest.raises(ImproperlyConfigured, match=r"MisconfiguredView\.required_scopes is"):
        send(token, "/misconfigured/")


def test_missing_required_scopes_are_a_misconfiguration(
    token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(OrdersView, "required_scopes")

    with pytest.raises(ImproperlyConfigured, match="must be a list of scopes"):
        send(token, "/misconfigured/")


def test_a_method_without_an_entry_is_a_misconfiguration(token: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="has no scopes for POST"):
        send(token, "/incomplete/", "post")


def test_an_empty_list_of_scopes_permits_every_token(
    token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MisconfiguredView, "required_scopes", ())

    assert send(token, "/misconfigured/").status_code == 200


def test_a_refusal_by_the_projects_own_code_is_not_ours(token: str) -> None:
    response = send(token, "/raising/")

    assert response.status_code == 403
    assert response.json() == {"detail": "mine"}


def test_a_refusal_without_a_request_is_not_ours() -> None:
    refusal = PermissionDenied(code="insufficient_scope")

    response = exception_handler(refusal, {"view": OrdersView()})

    assert response is not None
    assert "code" not in response.data


def test_an_anonymous_user_that_is_none_gets_a_401(settings: Settings) -> None:
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "UNAUTHENTICATED_USER": None}

    assert Client().get("/orders/").status_code == 401
