"""Time the OpenAPI document, the JSON of the login methods, and the login page."""

from __future__ import annotations

from collections.abc import Mapping

from django.test import Client, override_settings
from django.urls import include, path

from benchmarks.cases import Case, Row, Seconds, timed_case
from ciam_django.drf.schema import with_ciam
from ciam_django.testing import FakeCiam

ROWS = [
    Row("Our part of an OpenAPI document", "document", "nothing", None, "ms"),
    Row("The JSON of all login methods, over an empty page", "json", "empty", None, "ms"),
    Row("The login page with a phone number, over an empty page", "page", "empty", None, "ms"),
]
_METHODS = ("hosted", "password", "sms", "email", "recover", "sign_up")
urlpatterns = [
    path("ciam/", include("ciam_django.urls")),
]


def cases() -> Mapping[str, Case]:
    fake = FakeCiam(https=True).start()
    override_settings(AUTHLIB_OAUTH_CLIENTS={"ciam": fake.client()}).enable()
    return {
        "document": _document_case(),
        "nothing": timed_case(lambda: None),
        "json": _get_case("/ciam/api/"),
        "page": _get_case("/ciam/login/?method=sms"),
        "empty": _get_case("/ciam/nothing/", 404),
    }


def _document_case() -> Case:
    timed = timed_case(lambda: with_ciam({}))

    def case(loops: int) -> Seconds:
        with override_settings(CIAM_LOGIN_METHODS=_METHODS):
            with_ciam({})
            return timed(loops)

    return case


def _get_case(url: str, status: int = 200) -> Case:
    client = Client(headers={"Accept-Language": "zh-hans"})
    timed = timed_case(lambda: client.get(url).content)

    def case(loops: int) -> Seconds:
        with override_settings(CIAM_LOGIN_METHODS=_METHODS):
            response = client.get(url)
            assert response.status_code == status, response.content
            return timed(loops)

    return case
