"""Time the OpenAPI document, the JSON of the login methods, and the login page."""

from __future__ import annotations

from collections.abc import Mapping

from django.conf import settings
from django.test import Client
from django.urls import include, path

from benchmarks.cases import Case, Row, timed_case
from ciam_django.drf.schema import with_ciam
from ciam_django.testing import FakeCiam

ROWS = [
    Row("Our part of an OpenAPI document", "document", "nothing", None, "ms"),
    Row("The JSON of all login methods, over an empty page", "json", "empty", None, "ms"),
    Row("The login page with a phone number, over an empty page", "page", "empty", None, "ms"),
]
urlpatterns = [
    path("ciam/", include("ciam_django.urls")),
]


def cases() -> Mapping[str, Case]:
    fake = FakeCiam(https=True).start()
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": fake.client()}
    settings.CIAM_LOGIN_METHODS = ("hosted", "password", "sms", "email", "recover", "sign_up")
    return {
        "document": timed_case(lambda: with_ciam({})),
        "nothing": timed_case(lambda: None),
        "json": _get_case("/ciam/api/"),
        "page": _get_case("/ciam/login/?method=sms"),
        "empty": _get_case("/ciam/nothing/", 404),
    }


def _get_case(url: str, status: int = 200) -> Case:
    client = Client(headers={"Accept-Language": "zh-hans"})
    response = client.get(url)
    assert response.status_code == status, response.content
    return timed_case(lambda: client.get(url).content)
