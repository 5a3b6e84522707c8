"""Run the code of docs/rest-framework.md and docs/django-ninja.md."""

from __future__ import annotations

from typing import Any, Final

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import path
from rest_framework.settings import api_settings

from ciam_django.errors import CiamError
from ciam_django.testing import FakeCiam
from tests.docs.blocks import take
from tests.docs.conftest import Project
from tests.docs.new_project import SETTINGS
from tests.drf.test_authentication import header, token_for

pytestmark = pytest.mark.django_db

PAGE: Final = "rest-framework.md"
REST_SETTINGS: Final = take(PAGE, "shop/settings.py", index=0)
ORDERS: Final = take(PAGE, "shop/orders.py")
SERIALIZERS: Final = take(PAGE, "shop/serializers.py")
NINJA: Final = (
    take("django-ninja.md", "shop/api.py"),
    take("django-ninja.md", "shop/api_urls.py"),
)
LOCKED: Final = "Operation.Failure.User.Locked"


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    cache.clear()


def test_the_view_accepts_tokens_with_its_scopes(project: Project, fake_ciam: FakeCiam) -> None:
    project.start(SETTINGS, REST_SETTINGS, ORDERS, mode="oidc")
    orders = project.module("shop.orders")

    project.use_urls(path("orders/", orders.OrdersView.as_view()))
    fake_ciam.token_check = {"scope": "orders.read"}
    headers: Any = header(token_for())
    client = Client()

    read = client.get("/orders/", headers=headers)
    written = client.post("/orders/", headers=headers)
    refused = client.get("/orders/", headers=header("of-nobody"))
    missing = client.get("/orders/", headers={"accept": "application/json"})
    fake_ciam.fail("api", code="server_error", status=500)
    cache.clear()
    down = client.get("/orders/", headers=headers)

    assert (read.status_code, read.json()["orders"]) == (200, [])
    assert (written.status_code, written.json()["code"]) == (403, "insufficient_scope")
    assert "orders.write" in written["WWW-Authenticate"]
    assert (refused.status_code, refused.json()["code"]) == (401, "invalid_token")
    assert missing.status_code == 401
    assert down.status_code == 503


def test_a_client_can_ask_for_problem_details(project: Project) -> None:
    project.start(SETTINGS, REST_SETTINGS, ORDERS)
    orders = project.module("shop.orders")

    # REST framework reads this setting when it is imported, which has happened already.
    renderers = api_settings.DEFAULT_RENDERER_CLASSES
    view = orders.OrdersView.as_view(renderer_classes=renderers)
    project.use_urls(path("orders/", view))
    accept: Any = {**header("of-nobody"), "accept": "application/problem+json"}

    answer = Client().get("/orders/", headers=accept)

    assert answer["Content-Type"] == "application/problem+json"


def test_a_failure_is_an_error_of_the_field_of_the_serializer(
    project: Project, fake_ciam: FakeCiam
) -> None:
    project.start(SETTINGS, REST_SETTINGS, SERIALIZERS)
    CustomerSerializer = project.module("shop.serializers").CustomerSerializer  # noqa: N806  (a class)

    fake_ciam.fail("api", code="Params.Illegal.User.PhoneNumber")
    serializer = CustomerSerializer(data={"mobile": "1"})
    assert not serializer.is_valid()
    assert list(serializer.errors) == ["mobile"]

    fake_ciam.fail("api", code="server_error", status=500)
    with pytest.raises(CiamError):
        CustomerSerializer(data={"mobile": "13800001234"}).is_valid()


def test_the_operations_of_ninja_accept_tokens_and_answer_failures(
    project: Project, fake_ciam: FakeCiam
) -> None:
    project.start(SETTINGS, *NINJA, ROOT_URLCONF="shop.api_urls")
    fake_ciam.token_check = {"scope": "USER_API"}

    me = Client().get("/api/me", headers=header(token_for()))
    refused = Client().get("/api/me", headers=header("of-nobody"))
    locked = Client().get("/api/locked", headers={"accept": "application/json"})

    assert me.json()["scopes"] == ["USER_API"]
    assert (refused.status_code, refused.json()["code"]) == (401, "invalid_token")
    assert (locked.status_code, locked.json()["code"]) == (403, LOCKED)
