"""Tests of the authorize pages of the fake's social providers."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest
import requests

from ciam_django.testing import FakeCiam
from ciam_django.testing.endpoints import s256
from ciam_django.testing.providers import PROVIDER_PAGES
from tests.browser import query_of
from tests.testing.test_server import fake, http

__all__ = ["fake", "http"]

BACK = "http://127.0.0.1:9/back/?tenant=7"


def address(fake: FakeCiam, name: str, **changes: str) -> str:
    row = PROVIDER_PAGES[name]
    parameters = {row.client_id: "app", "redirect_uri": BACK, "state": "s", **changes}
    return f"{fake.provider_urls[name]}?{urlencode(parameters)}"


@pytest.mark.parametrize("name", PROVIDER_PAGES)
def test_a_provider_redirects_the_user_back_with_a_code(fake: FakeCiam, name: str) -> None:
    back = fake.authorize_at_provider(address(fake, name), username="wang")

    assert back
    query = query_of(back)
    assert (query["tenant"], query["state"]) == ("7", "s")
    assert fake.accounts.spend_social_code(query[PROVIDER_PAGES[name].code]) == "wang"


@pytest.mark.parametrize("changes", [{"redirect_uri": "https://evil.example/"}, {"client_id": ""}])
@pytest.mark.covering
def test_a_provider_answers_an_invalid_request_with_an_error_page(
    fake: FakeCiam, changes: dict[str, str]
) -> None:
    with pytest.raises(RuntimeError, match="400"):
        fake.authorize_at_provider(address(fake, "qq", **changes))


def test_a_callback_has_no_state_if_the_request_has_no_state(fake: FakeCiam) -> None:
    url = f"{fake.provider_urls['qq']}?client_id=app&redirect_uri=http://127.0.0.1:9/back/"
    back = fake.authorize_at_provider(url, cancel=True)

    assert back == "http://127.0.0.1:9/back/?error=access_denied&usercancel=1"


def test_the_authorize_page_names_its_provider(fake: FakeCiam, http: requests.Session) -> None:
    page = http.get(address(fake, "alipay"), headers={"Accept-Language": "zh-CN"}).text

    assert "支付宝" in page
    assert "sign_in" in page


def test_a_refusal_at_wechat_does_not_redirect(fake: FakeCiam, http: requests.Session) -> None:
    assert fake.authorize_at_provider(address(fake, "wechat-website"), cancel=True) is None


def test_apple_posts_its_callback_and_the_name_only_once(fake: FakeCiam) -> None:
    asked = {"scope": "name", "response_mode": "form_post"}
    url = address(fake, "apple", **asked)
    back, first = fake.post_at_provider(url, username="wang")
    _, second = fake.post_at_provider(url, username="wang")

    assert back == BACK
    assert set(first) == {"code", "state", "user"}
    assert json.loads(first["user"])["name"] == {"firstName": "Apple", "lastName": "wang"}
    assert set(second) == {"code", "state"}


def test_apple_refuses_a_scope_without_a_form_and_qq_answers_without_a_form(
    fake: FakeCiam,
) -> None:
    with pytest.raises(RuntimeError, match="response_mode=form_post"):
        fake.post_at_provider(address(fake, "apple", scope="email"))
    with pytest.raises(RuntimeError, match="without a form"):
        fake.post_at_provider(address(fake, "qq"))


def test_a_native_code_is_bound_to_its_verifier_and_nonce(fake: FakeCiam) -> None:
    code = fake.native_code("wang", code_verifier="v" * 43, nonce="n")

    fake.accounts.check_social_proofs(code, s256("v" * 43), "n")
    assert fake.accounts.spend_social_code(code) == "wang"
    assert fake.native_code() != fake.native_code()
