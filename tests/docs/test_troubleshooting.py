"""Reproduce the symptoms of docs/troubleshooting.md."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import pytest
from django.contrib.auth.models import User
from django.test import Client

from ciam_django.accounts.models import CiamIdentity
from ciam_django.codes import CODES
from ciam_django.testing import FakeCiam
from tests.browser import Browser
from tests.docs.blocks import DOCS, ROOT
from tests.docs.conftest import Project
from tests.docs.new_project import NEW_PROJECT
from tests.rows import for_each_row

PAGE: Final = DOCS / "troubleshooting.md"


def rows() -> list[tuple[str, int]]:
    """The code and the status of each row of the page's tables."""
    found = re.findall(r"^\| `(\w+)` \| (\d{3}) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return [(code, int(status)) for code, status in found]


@for_each_row("code, status", rows())
def test_a_row_has_the_status_of_its_code(code: str, status: int) -> None:
    assert CODES[code].status == status


def test_each_quoted_sentence_is_one_that_users_read() -> None:
    headings = re.findall(r'^## "(.*?)"', PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    sentences = [str(meaning.message) for meaning in CODES.values()]

    assert len(headings) == 5
    for heading in headings:
        assert any(heading in sentence for sentence in sentences), heading


def test_each_quoted_text_of_the_log_is_in_the_package() -> None:
    text = PAGE.read_text(encoding="utf-8").partition("### The text of")[2].partition("\n## ")[0]
    quoted = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "ciam_django").rglob("*.py")]

    assert len(quoted) == 4
    for words in quoted:
        assert any(words.removesuffix(" …") in source for source in sources), words


# --- The mistakes -----------------------------------------------------------------------------


def sign_in(fake: FakeCiam) -> Any:
    return Browser(fake).sign_in("li")


def with_wrong_secret(project: Project, fake: FakeCiam) -> Any:
    client = {**fake.client("oidc"), "client_secret": "wrong"}
    project.start(*NEW_PROJECT, AUTHLIB_OAUTH_CLIENTS={"ciam": client})
    return sign_in(fake)


def with_other_callback(project: Project, fake: FakeCiam) -> Any:
    project.start(*NEW_PROJECT)
    fake.fail("authorize", code="redirect_uri_mismatch")
    return sign_in(fake)


def without_openid(project: Project, fake: FakeCiam) -> Any:
    client = {**fake.client("oidc"), "client_kwargs": {"scope": "USER_API"}}
    project.start(*NEW_PROJECT, AUTHLIB_OAUTH_CLIENTS={"ciam": client})
    return sign_in(fake)


def without_cookie(project: Project, fake: FakeCiam) -> Any:
    project.start(*NEW_PROJECT)
    browser, other = Browser(fake), Browser(fake)
    return other.open_callback(browser.sign_in_at_ciam(browser.start_sign_in()))


def without_csrf_token(project: Project, fake: FakeCiam) -> Any:
    project.start(*NEW_PROJECT)
    return Client(enforce_csrf_checks=True).post("/ciam/authorize/")


def with_closed_port(project: Project, fake: FakeCiam) -> Any:
    project.start(*NEW_PROJECT)
    fake.unreachable("token", "refused")
    return sign_in(fake)


def with_short_time(project: Project, fake: FakeCiam) -> Any:
    project.start(*NEW_PROJECT)
    # The metadata is in the cache afterwards, so that only the slow call has little time.
    sign_in(fake)
    project.change_settings(CIAM_TIMEOUT=0.15)
    fake.slow_seconds = 0.3
    return Browser(fake).sign_in("slow:token")


def with_low_limit(project: Project, fake: FakeCiam) -> Any:
    limits = {"address": ["1/hour"]}
    project.start(*NEW_PROJECT, CIAM_LOGIN_METHODS=["password"], CIAM_TRY_LIMITS=limits)
    client = Client(headers={"Accept": "application/json"})
    consents = [each["id"] for each in client.get("/ciam/api/").json()["consents"]]
    answers = [
        client.post(
            "/ciam/api/password/",
            {"username": "li", "password": "wrong", "consent": consents},
            content_type="application/json",
        )
        for _ in range(2)
    ]
    return answers[-1]


def with_inactive_user(project: Project, fake: FakeCiam) -> Any:
    project.start(*NEW_PROJECT)
    sign_in(fake)
    User.objects.update(is_active=False)
    return sign_in(fake)


def of_other_issuer(project: Project, fake: FakeCiam) -> Any:
    project.start(*NEW_PROJECT)
    sign_in(fake)
    CiamIdentity.objects.update(issuer="https://old.example", key="k")
    return Browser(fake).sign_in("wang")


# Mistake -> the code that the log has.
MISTAKES: Final[dict[Callable[[Project, FakeCiam], Any], str]] = {
    with_wrong_secret: "invalid_client",
    with_other_callback: "redirect_uri_mismatch",
    without_openid: "missing_id_token",
    of_other_issuer: "bad_configuration",
    without_cookie: "mismatching_state",
    without_csrf_token: "csrf_failed",
    with_closed_port: "no_connection",
    with_short_time: "timeout",
    with_low_limit: "too_many_requests",
    with_inactive_user: "account_inactive",
}


@pytest.mark.django_db
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_a_mistake_has_the_documented_code(
    mistake: Callable[[Project, FakeCiam], Any], project: Project, fake_ciam: FakeCiam
) -> None:
    answer = mistake(project, fake_ciam)

    code = MISTAKES[mistake]
    assert answer["Ciam-Error-Code"] == code
    assert (code, answer.status_code) in rows()
