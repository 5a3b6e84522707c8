"""Tests of the authorize pages of the fake's social providers."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
import requests

from ciam_django.testing import FakeCiam
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
