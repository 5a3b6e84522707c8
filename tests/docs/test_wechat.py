"""Compare docs/wechat.md with what the login page offers in each browser."""

from __future__ import annotations

import re
from typing import Final

import pytest
from django.test import Client

from tests.browser import HTML
from tests.docs.blocks import DOCS, take
from tests.docs.conftest import Project
from tests.docs.new_project import NEW_PROJECT
from tests.docs.projects import check_messages

PAGE: Final = "wechat.md"
SETTINGS, QR_SETTINGS = (take(PAGE, "shop/settings.py", index) for index in (0, 1))
PHONE: Final = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Mobile/15E148"
# Row of the table -> the User-Agent, and the entry whose button the page has.
BROWSERS: Final = [
    ("desktop browser", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/126.0", "wechat-website"),
    ("WeChat's browser", f"{PHONE} MicroMessenger/8.0.49", "wechat-in_app"),
    ("browser of a phone", f"{PHONE} Safari/604.1", ""),
]


@pytest.mark.django_db
def test_the_login_page_has_the_documented_button_in_each_browser(project: Project) -> None:
    project.start(*NEW_PROJECT, SETTINGS)
    text = (DOCS / PAGE).read_text(encoding="utf-8")

    for browser, user_agent, entry in BROWSERS:
        headers = {"accept": HTML, "user-agent": user_agent}
        page = Client().get("/ciam/login/", headers=headers).content.decode()
        assert f"| {browser} |" in text
        assert re.findall(r'action="/ciam/with/([\w-]+)/"', page) == [entry] * bool(entry), browser
        assert ("open this page in WeChat" in page) is not bool(entry), browser
    assert check_messages() == []


@pytest.mark.django_db
def test_the_setting_of_the_qr_code_changes_only_the_button_of_desktops(project: Project) -> None:
    project.start(*NEW_PROJECT, SETTINGS, QR_SETTINGS)

    for browser, user_agent, entry in BROWSERS:
        headers = {"accept": HTML, "user-agent": user_agent}
        page = Client().get("/ciam/login/", headers=headers).content.decode()
        assert ("data-ciam-qr=" in page) is (entry == "wechat-website"), browser
    assert check_messages() == []
