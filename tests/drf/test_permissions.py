"""``HasScope`` asks the token for what the view needs, and nobody else."""

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
    """Tokens of somebody else's, of which we know no scopes."""

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


class HalfView(OrdersView):
    required_scopes: Any = {"GET": ["orders.read"]}


class EitherView(OrdersView):
    permission_classes: Any = (HasScope | IsAdminUser,)


class OtherView(OrdersView):
    authentication_classes: Any = (OtherAuthentication,)


class NobodysView(OrdersView):
    authentication_classes: Any = ()


class MisconfiguredView(OrdersView):
    pass


class RaisingView(APIView):
    """A project's own refusal by the same code."""

    authentication_classes: Any = (CiamBearerAuthentication,)
    permission_classes: Any = (IsAuthenticated,)

    def get(self, request: Request) -> Response:
        raise PermissionDenied("mine", code="insufficient_scope")


urlpatterns = [
    path("orders/", OrdersView.as_view()),
    path("by-method/", ByMethodView.as_view()),
    path("half/", HalfView.as_view()),
    path("either/", EitherView.as_view()),
    path("other/", OtherView.as_view()),
    path("nobody/", NobodysView.as_view()),
    path("misconfigured/", MisconfiguredView.as_view()),
    path("raising/", RaisingView.as_view()),
]


@pytest.fixture(autouse=True)
def site(ciam: FakeCiam, settings: Settings) -> None:
    settings.ROOT_URLCONF = __name__
    cache.clear()


@pytest.fixture
def token(ciam: FakeCiam) -> str:
    """One with the scopes ``orders.read`` and ``USER_API``."""
    ciam.token_check = {"scope": "USER_API orders.read"}
    return token_for()


def sent(token: str, place: str, method: str = "get") -> Any:
    return getattr(Client(), method)(place, headers=header(token))


def test_a_token_with_all_of_them_passes(token: str) -> None:
    assert sent(token, "/orders/").status_code == 200


def test_a_token_without_one_is_told_which_it_needs(ciam: FakeCiam, token: str) -> None:
    ciam.token_check = {"scope": "USER_API orders.reader"}

    response = sent(token, "/orders/")

    assert response.status_code == 403
    assert response.json()["code"] == "insufficient_scope"
    assert response.json()["kind"] == "permission"
    assert response["WWW-Authenticate"] == (
        'Bearer error="insufficient_scope", scope="orders.read USER_API"'
    )


def test_it_is_logged_once(token: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    sent(token, "/by-method/", "post")

    (record,) = [record for record in caplog.records if record.name.startswith(("ciam", "django"))]
    assert "code=insufficient_scope" in record.getMessage()
    assert token not in record.getMessage()


@pytest.mark.parametrize(
    ("method", "status"),
    [("get", 200), ("head", 200), ("post", 403), ("options", 200), ("put", 405), ("trace", 405)],
)
def test_scopes_can_be_of_a_method(method: str, status: int, token: str) -> None:
    response = sent(token, "/by-method/", method)

    assert response.status_code == status
    if method == "post":
        assert 'scope="orders.read orders.write"' in response["WWW-Authenticate"]


def test_a_page_of_rest_frameworks_shows_what_is_left(token: str) -> None:
    headers = {**header(token), "accept": "text/html"}

    assert Client().get("/by-method/", headers=headers).status_code == 200


def test_a_session_needs_none(ciam: FakeCiam) -> None:
    client = Client()
    client.force_login(User.objects.create(username="li"))

    assert client.get("/orders/").status_code == 200


@pytest.mark.parametrize("place", ["/orders/", "/by-method/"])
def test_who_is_nobody_is_asked_to_sign_in(place: str) -> None:
    response = Client().get(place)

    assert response.status_code == 401
    assert response["WWW-Authenticate"] == "Bearer"


def test_where_nobody_can_be_anybody_it_is_a_refusal() -> None:
    assert Client().get("/nobody/").status_code == 403


def test_others_tokens_have_no_scopes() -> None:
    response = Client().get("/other/")

    assert response.status_code == 403
    assert response.json()["code"] == "insufficient_scope"


@pytest.mark.parametrize("is_staff", [True, False])
def test_it_can_stand_beside_other_permissions(is_staff: bool, ciam: FakeCiam, token: str) -> None:
    sent(token, "/orders/")
    ciam.token_check = {}
    cache.clear()
    User.objects.update(is_staff=is_staff)

    assert sent(token, "/either/").status_code == (200 if is_staff else 403)


@pytest.mark.parametrize(
    "required", [None, "orders.read", 7, [7], ['a"b'], ["a b"], [""], ["ä"], {"GET": "orders.read"}]
)
def test_a_view_that_asks_nothing_that_can_be_had_is_a_slip(
    required: object, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MisconfiguredView, "required_scopes", required)

    with pytest.raises(ImproperlyConfigured, match=r"MisconfiguredView\.required_scopes is"):
        sent(token, "/misconfigured/")


def test_a_view_without_the_attribute_is_a_slip(
    token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(OrdersView, "required_scopes")

    with pytest.raises(ImproperlyConfigured, match="is to be a list of scopes"):
        sent(token, "/misconfigured/")


def test_a_method_that_was_forgotten_is_a_slip(token: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="has nothing for POST"):
        sent(token, "/half/", "post")


def test_no_scopes_at_all_are_some(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MisconfiguredView, "required_scopes", ())

    assert sent(token, "/misconfigured/").status_code == 200


def test_a_refusal_of_a_projects_own_is_its_own(token: str) -> None:
    response = sent(token, "/raising/")

    assert response.status_code == 403
    assert response.json() == {"detail": "mine"}


def test_without_a_request_it_is_rest_frameworks() -> None:
    refusal = PermissionDenied(code="insufficient_scope")

    response = exception_handler(refusal, {"view": OrdersView()})

    assert response is not None
    assert "code" not in response.data


def test_who_has_none_for_nobody_is_asked_too(settings: Settings) -> None:
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "UNAUTHENTICATED_USER": None}

    assert Client().get("/orders/").status_code == 401
