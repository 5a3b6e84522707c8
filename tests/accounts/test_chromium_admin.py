"""The list of identities in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils.timezone import now
from pytest_django.live_server_helper import LiveServer

from ciam_django.accounts.models import CiamIdentity
from ciam_django.client.person import Person
from tests.accounts.test_admin import LIST
from tests.login.test_chromium import CHROMIUM, chromium, chromium_type, tab
from tests.users import get_or_create_user

if TYPE_CHECKING:
    from playwright._impl._api_structures import SetCookieParam
    from playwright.sync_api import Browser

__all__ = ["chromium", "chromium_type"]

pytestmark = [
    pytest.mark.slow("Chromium"),
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]
# Provider, first name and email address of a person.
PEOPLE = [
    ("wechat", "王小明", ""),
    ("google", "Alexander Christopherson", "alexander@longcompanyname.example.com"),
    ("dingtalk", "", "li@example.com"),
]


def test_the_list_with_its_filter_fits_a_screen_of_1280_pixels(
    chromium: Browser, live_server: LiveServer, admin_client: Client
) -> None:
    for number, (provider, name, email) in enumerate(PEOPLE):
        subject = f"user_{number:032}"
        user = get_or_create_user(Person("https://ciam.example", subject, provider=provider))
        User.objects.filter(pk=user.pk).update(first_name=name, email=email)
    CiamIdentity.objects.update(last_sign_in_at=now())
    session: SetCookieParam = {
        "name": "sessionid",
        "value": admin_client.cookies["sessionid"].value,
        "url": live_server.url,
    }
    for language in ("en-US", "zh-CN", "zh-TW"):
        screen = {"width": 1280, "height": 800}
        with tab(chromium, viewport=screen, locale=language) as page:
            page.context.add_cookies([session])
            page.goto(f"{live_server.url}{LIST}")
            assert page.is_visible("#changelist-filter")
            assert page.locator("#result_list tbody tr").count() == len(PEOPLE)
            widths = "(({scrollWidth, clientWidth}) => scrollWidth - clientWidth)"
            for element in ("document.querySelector('.results')", "document.documentElement"):
                assert page.evaluate(f"{widths}({element})") == 0, (language, element)
