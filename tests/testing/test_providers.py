"""The pages of social providers, played by the fake."""

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


def address(fake: FakeCiam, name: str, **asked: str) -> str:
    row = PROVIDER_PAGES[name]
    given = {row.client_id: "app", "redirect_uri": BACK, "state": "s", **asked}
    return f"{fake.provider_urls[name]}?{urlencode(given)}"


@pytest.mark.parametrize("name", PROVIDER_PAGES)
def test_a_person_is_sent_back_with_a_code(fake: FakeCiam, name: str) -> None:
    back = fake.authorize_at_provider(address(fake, name), username="wang")

    assert back
    query = query_of(back)
    assert (query["tenant"], query["state"]) == ("7", "s")
    assert fake.accounts.spend_social_code(query[PROVIDER_PAGES[name].code]) == "wang"


@pytest.mark.parametrize("asked", [{"redirect_uri": "https://evil.example/"}, {"client_id": ""}])
def test_what_a_provider_refuses_is_a_page(fake: FakeCiam, asked: dict[str, str]) -> None:
    with pytest.raises(RuntimeError, match="400"):
        fake.authorize_at_provider(address(fake, "qq", **asked))


def test_without_a_state_there_is_none(fake: FakeCiam) -> None:
    url = f"{fake.provider_urls['qq']}?client_id=app&redirect_uri=http://127.0.0.1:9/back/"
    back = fake.authorize_at_provider(url, cancel=True)

    assert back == "http://127.0.0.1:9/back/?error=access_denied&usercancel=1"


def test_the_page_names_its_provider(fake: FakeCiam, http: requests.Session) -> None:
    page = http.get(address(fake, "alipay"), headers={"Accept-Language": "zh-CN"}).text

    assert "支付宝" in page
    assert "sign_in" in page


def test_a_refusal_at_wechat_is_a_page_of_its_own(fake: FakeCiam, http: requests.Session) -> None:
    assert fake.authorize_at_provider(address(fake, "wechat-website"), cancel=True) is None
