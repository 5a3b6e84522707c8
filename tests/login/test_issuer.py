"""Tests of the ``iss`` parameter of a callback (RFC 9207)."""

from __future__ import annotations

import logging
from urllib.parse import quote

import pytest
from django.core.cache import cache

from ciam_django import conf
from ciam_django.errors import CiamError
from ciam_django.login.callback import refuse_other_issuer
from tests.browser import Browser

OURS = "https://ciam.example/oidc/app"
OTHER = "https://evil.example/oidc/app"
PROMISED = {"issuer": OURS, "authorization_response_iss_parameter_supported": True}
NOT_PROMISED = {"issuer": OURS}


@pytest.mark.parametrize(
    ("metadata", "returned_issuers"),
    [
        (PROMISED, [OURS]),
        (NOT_PROMISED, []),
        (NOT_PROMISED, [OURS]),
        ({**PROMISED, "authorization_response_iss_parameter_supported": "true"}, []),
        # CIAM's own mode has no metadata to compare with.
        ({}, []),
        ({}, [OTHER]),
    ],
)
def test_a_callback_from_the_issuer_in_the_metadata_is_accepted(
    metadata: dict[str, object], returned_issuers: list[str]
) -> None:
    refuse_other_issuer(metadata, returned_issuers)


@pytest.mark.parametrize(
    ("metadata", "returned_issuers"),
    [
        (PROMISED, []),
        *(
            (metadata, issuers)
            for metadata in (PROMISED, NOT_PROMISED)
            for issuers in (
                [OTHER],
                [""],
                [f"{OURS}/"],
                [OURS.upper()],
                [OURS, OTHER],
                [OTHER, OURS],
            )
        ),
    ],
)
def test_a_callback_from_another_issuer_is_refused(
    metadata: dict[str, object], returned_issuers: list[str]
) -> None:
    with pytest.raises(CiamError, match="mismatching_issuer"):
        refuse_other_issuer(metadata, returned_issuers)


# --- At the callback --------------------------------------------------------------------------

pytestmark = pytest.mark.django_db
oidc = pytest.mark.parametrize("mode", ["oidc"])


@oidc
def test_a_callback_with_the_right_issuer_signs_in(browser: Browser) -> None:
    browser.ciam.sends_issuer = True
    callback = browser.sign_in_at_ciam(browser.start_sign_in("/next/"))

    assert f"iss={quote(browser.ciam.issuer, safe='')}" in callback
    assert browser.open_callback(callback)["Location"] == "/next/"


@oidc
@pytest.mark.parametrize("username", ["li", "fail:authorize:access_denied"])
@pytest.mark.parametrize("change", ["other", "missing"])
def test_a_wrong_or_missing_issuer_is_refused_if_the_metadata_promise_the_issuer(
    browser: Browser, username: str, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    browser.ciam.sends_issuer = True
    callback = browser.sign_in_at_ciam(browser.start_sign_in(), username)
    with_issuer = f"&iss={quote(browser.ciam.issuer, safe='')}"
    assert with_issuer in callback
    instead = {"other": f"&iss={quote(OTHER, safe='')}", "missing": ""}[change]
    with caplog.at_level(logging.DEBUG):
        response = browser.open_callback(callback.replace(with_issuer, instead))

    assert (response.status_code, response["Ciam-Error-Code"]) == (400, "mismatching_issuer")
    assert b"evil" not in response.content
    assert "evil" not in caplog.text
    assert browser.user_id is None
    # The code has not been sent to CIAM.
    assert not [request for request in browser.ciam.requests if request.stage == "token"]


@oidc
def test_a_wrong_issuer_is_refused_if_the_metadata_promise_no_issuer(browser: Browser) -> None:
    callback = browser.sign_in_at_ciam(browser.start_sign_in())
    response = browser.open_callback(f"{callback}&iss={quote(OTHER, safe='')}")

    assert response["Ciam-Error-Code"] == "mismatching_issuer"
    assert not [request for request in browser.ciam.requests if request.stage == "token"]


@oidc
def test_metadata_that_cannot_be_loaded_at_the_callback_are_answered_with_503(
    browser: Browser,
) -> None:
    callback = browser.sign_in_at_ciam(browser.start_sign_in())
    # Another process would not have loaded the metadata.
    conf.clear_settings_caches()
    cache.clear()
    browser.ciam.misbehave("discovery", "reset")
    response = browser.open_callback(callback)

    assert (response.status_code, response["Ciam-Error-Code"]) == (503, "no_connection")
