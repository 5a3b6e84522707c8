"""Run the code of docs/sessions.md."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

import pytest
from asgiref.sync import async_to_sync
from django.template import engines
from django.test import AsyncClient, Client, RequestFactory
from django.urls import include, path

from ciam_django.client import CiamClient
from ciam_django.client.results import SignedIn
from ciam_django.errors import CiamError
from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import user_id_of
from tests.browser import Browser
from tests.docs.blocks import take
from tests.docs.conftest import Project
from tests.docs.new_project import NEW_PROJECT, SETTINGS

pytestmark = pytest.mark.django_db

PAGE: Final = "sessions.md"
ACCOUNT: Final = take(PAGE, "shop/account.py")
ASYNC_VIEWS: Final = take(PAGE, "shop/async_views.py")
WORKER: Final = take(PAGE, "shop/worker.py")
REPORTS: Final = take(PAGE, "shop/reports.py")
SIGN_OUT: Final = take(PAGE, "templates/sign_out.html")
LOGOUT_TEST: Final = take(PAGE, "shop/test_logout.py")


def test_the_views_call_ciam_for_the_user(project: Project, fake_ciam: FakeCiam) -> None:
    project.start(SETTINGS, ACCOUNT)
    account = project.module("shop.account")

    project.use_urls(
        path("ciam/", include("ciam_django.urls")),
        path("profile/", account.my_profile),
        path("password/", account.new_password),
        path("", account.my_profile, name="home"),
    )
    browser, other = Browser(fake_ciam), Browser(fake_ciam)
    for each in (browser, other):
        each.sign_in("li")

    assert browser.client.get("/profile/").json() == {"name": "Li"}
    changed = browser.client.post("/password/", {"old": "fake-password", "new": "new-password-1"})
    assert changed.content == b"Your password is changed."
    assert other.client.get("/profile/")["Location"] == "/ciam/login/?next=/profile/"
    assert browser.client.get("/profile/").status_code == 200


def test_the_async_views_call_ciam_and_accept_bearer_tokens(
    project: Project, fake_ciam: FakeCiam
) -> None:
    project.start(SETTINGS, ASYNC_VIEWS)
    views = project.module("shop.async_views")
    project.use_urls(
        path("ciam/", include("ciam_django.urls")),
        path("profile/", views.my_profile),
        path("me/", views.me),
        path("", views.me, name="home"),
    )
    browser = Browser(fake_ciam)
    browser.sign_in("li")
    client = AsyncClient()
    client.cookies = browser.client.cookies
    signed_in = CiamClient().password_login("li", "fake-password")
    assert isinstance(signed_in, SignedIn)

    def get(url: str, **headers: str) -> tuple[int, Any]:
        response = async_to_sync(client.get)(url, headers={"accept": "application/json", **headers})
        return response.status_code, response.json()

    assert get("/profile/") == (200, {"name": "Li"})
    status, content = get("/me/", authorization=f"Bearer {signed_in.access_token}")
    assert (status, str(content["id"])) == (200, browser.user_id)
    for authorization, code in {"": "missing_token", "Bearer wrong": "invalid_token"}.items():
        status, content = get("/me/", authorization=authorization)
        assert (status, content["code"]) == (401, code)


def test_a_worker_finds_people_in_threads_of_its_own(project: Project, fake_ciam: FakeCiam) -> None:
    project.start(SETTINGS, WORKER)
    worker = project.module("shop.worker")
    names = ["li", "wang"]
    for name in names:
        # The fake knows a person after the first sign-in.
        CiamClient().password_login(name, "fake-password")

    people = asyncio.run(worker.find_all(map(user_id_of, names)))

    assert [person.username for person in people] == names


def test_a_failure_with_the_status_200_is_raised(project: Project, fake_ciam: FakeCiam) -> None:
    project.start(SETTINGS, REPORTS)
    reports = project.module("shop.reports")

    url = fake_ciam.address("user/info", "api")
    fake_ciam.fail("api", code="Operation.Failure.User.Locked", status=200)

    with pytest.raises(CiamError) as raised:
        reports.fetch_report(url)
    assert raised.value.code == "Operation.Failure.User.Locked"


def test_the_form_signs_out(project: Project, fake_ciam: FakeCiam) -> None:
    project.start(*NEW_PROJECT, SIGN_OUT)
    project.use_templates()
    browser = Browser(fake_ciam)
    browser.sign_in("li")
    html = engines["django"].from_string(SIGN_OUT.text).render({}, RequestFactory().get("/"))

    assert 'action="/ciam/logout/"' in html
    assert "csrfmiddlewaretoken" in html
    assert browser.client.post("/ciam/logout/").status_code == 302
    assert browser.user_id is None


def test_the_test_of_a_logout_at_ciam_passes(
    project: Project, fake_ciam: FakeCiam, client: Client, settings: Any, caplog: Any
) -> None:
    project.start(*NEW_PROJECT)
    caplog.set_level(logging.INFO)
    names: dict[str, Any] = {}
    exec(LOGOUT_TEST.text, names)  # noqa: S102  (the code of the documentation)

    names["test_ciam_signs_a_user_out"](client=client, fake_ciam=fake_ciam, settings=settings)
