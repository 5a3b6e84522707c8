"""If the database or the session store fails during a sign-in, the user can start again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in
from django.db import IntegrityError, InterfaceError, OperationalError, connection
from django.test import Client, RequestFactory
from pytest_django.fixtures import Settings

from ciam_django.accounts.models import CiamIdentity
from ciam_django.errors import CiamError
from ciam_django.login.error_responses import answer_storage_failure
from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import PASSWORD, user_id_of
from tests.browser import HTML, Browser
from tests.caches import DOWN_CACHES
from tests.login.test_api import AGREED
from tests.login.test_social import registered_at
from tests.rows import for_each_row

LOST = "server closed the connection unexpectedly"


@contextmanager
def database_away(failure: type[Exception] = OperationalError, text: str = LOST) -> Iterator[None]:
    """Let each query of the block fail."""

    def fail(execute: Callable[..., Any], sql: str, *args: Any) -> Any:
        if sql.startswith(("SELECT", "INSERT", "UPDATE")):
            raise failure(text)
        return execute(sql, *args)

    with connection.execute_wrapper(fail):
        yield


def assert_can_start_again(answer: Any) -> None:
    assert (answer.status_code, answer["Ciam-Error-Code"]) == (503, "storage_unavailable")
    page = answer.content.decode()
    assert "Start again" in page
    assert "/ciam/login/" in page
    assert LOST not in page


@pytest.mark.parametrize("failure", [OperationalError, InterfaceError])
def test_the_page_of_the_callback_offers_a_new_start(
    browser: Browser, caplog: pytest.LogCaptureFixture, failure: type[Exception]
) -> None:
    callback = browser.sign_in_at_ciam(browser.start_sign_in("/cart/"))
    with database_away(failure):
        answer = browser.open_callback(callback)

    assert_can_start_again(answer)
    assert "next=%2Fcart%2F" in answer.content.decode()
    assert LOST in caplog.text
    assert "manage.py migrate" not in caplog.text
    assert "code=storage_unavailable" in caplog.text
    assert browser.sign_in().status_code == 302


@pytest.mark.parametrize(
    "text",
    [
        "no such table: django_session",
        'relation "django_session" does not exist',
        "(1146, \"Table 'shop.django_session' doesn't exist\")",
    ],
)
def test_the_log_names_the_command_that_creates_a_missing_table(
    browser: Browser, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    callback = browser.sign_in_at_ciam(browser.start_sign_in())
    with database_away(text=text):
        answer = browser.open_callback(callback)

    assert_can_start_again(answer)
    assert "Run manage.py migrate" in caplog.text


def test_the_callback_of_a_provider_offers_a_new_start(
    browser: Browser, ciam: FakeCiam, settings: Settings
) -> None:
    settings.CIAM_SOCIAL_PROVIDERS = registered_at(ciam)
    settings.CIAM_LOGIN_METHODS = ["password"]
    url = browser.client.post("/ciam/with/qq/", {"consent": AGREED})["Location"]
    callback = ciam.authorize_at_provider(url, username="li")
    assert callback
    with database_away():
        answer = browser.open_callback(callback)

    # The login page offers other ways, and shows the reason once.
    assert answer.status_code == 302
    page = browser.client.get(answer["Location"]).content.decode()
    assert "Sign-in didn&#x27;t complete. Start again." in page


@pytest.mark.parametrize("sign_in_mode", ["session", "token"])
def test_a_json_endpoint_answers_with_the_code(
    ciam: FakeCiam, db: None, settings: Settings, sign_in_mode: str
) -> None:
    settings.CIAM_LOGIN_METHODS, settings.CIAM_API_SIGN_IN = ["password"], sign_in_mode
    body = {"username": "li", "password": PASSWORD, "consent": AGREED}
    with database_away():
        answer = Client().post("/ciam/api/password/", body, content_type="application/json")

    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    assert answer.json()["action"] == "restart"
    assert not CiamIdentity.objects.exists()


@pytest.mark.parametrize("engine", ["cached_db", "cache"])
def test_a_session_store_that_cannot_be_reached_offers_a_new_start(
    browser: Browser, settings: Settings, engine: str
) -> None:
    callback = browser.sign_in_at_ciam(browser.start_sign_in())
    settings.CACHES = {
        **settings.CACHES,
        "away": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": "unix:///nowhere/redis.socket",
        },
    }
    settings.SESSION_CACHE_ALIAS = "away"
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    browser.client.handler.load_middleware()

    assert_can_start_again(browser.open_callback(callback))
    assert not CiamIdentity.objects.exists()


def test_a_failure_of_the_projects_own_code_is_not_hidden(browser: Browser) -> None:
    callback = browser.sign_in_at_ciam(browser.start_sign_in())

    def fail(sender: object, **kwargs: Any) -> None:
        raise RuntimeError("a receiver of the project")

    user_logged_in.connect(fail)
    try:
        with pytest.raises(RuntimeError, match="a receiver of the project"):
            browser.open_callback(callback)
    finally:
        user_logged_in.disconnect(fail)
    assert not User.objects.exists()


# --- The session of a browser -----------------------------------------------------------------

CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "sessions": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "away"},
}


@pytest.fixture
def signed_in(browser: Browser, settings: Settings) -> Browser:
    """A browser with a session in the database and in a cache."""
    settings.CACHES = CACHES
    settings.SESSION_CACHE_ALIAS = "sessions"
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"
    browser.client.handler.load_middleware()
    browser.sign_in()
    assert browser.user_id
    return browser


def take_cache_of_sessions_away(settings: Settings) -> None:
    settings.CACHES = {**CACHES, "sessions": DOWN_CACHES["Redis is down"]}


@pytest.mark.parametrize("mode", ["oidc"])
def test_a_callback_can_be_repeated_if_the_session_store_was_away(
    signed_in: Browser, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    callback = signed_in.sign_in_at_ciam(signed_in.start_sign_in("/cart/"), "wang")
    token_calls = [request.stage for request in signed_in.ciam.requests].count("token")
    take_cache_of_sessions_away(settings)
    assert_can_start_again(signed_in.open_callback(callback))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    # Neither the state nor the code has been used.
    assert [request.stage for request in signed_in.ciam.requests].count("token") == token_calls

    settings.CACHES = CACHES
    assert signed_in.open_callback(callback)["Location"] == "/cart/"
    assert signed_in.user_id


@pytest.mark.parametrize("mode", ["ciam"])
def test_the_views_answer_a_lost_session_store_with_their_page_or_with_json(
    signed_in: Browser, settings: Settings
) -> None:
    settings.CIAM_LOGIN_METHODS = ["password"]
    take_cache_of_sessions_away(settings)
    client, body = signed_in.client, {"username": "li", "password": PASSWORD, "consent": AGREED}
    pages = [
        client.get("/ciam/callback/?state=x&code=y"),
        client.post("/ciam/logout/"),
        client.post("/ciam/unlink/", {"identity": 1}),
    ]
    json_answer = client.post("/ciam/api/password/", body, content_type="application/json")

    for answer in pages:
        assert_can_start_again(answer)
    assert (json_answer.status_code, json_answer.json()["code"]) == (503, "storage_unavailable")


@for_each_row(
    "path, content_type", [("/ciam/api/sms/", "application/json"), ("/ciam/login/", "text/html")]
)
def test_only_the_json_endpoints_answer_a_browser_with_json(path: str, content_type: str) -> None:
    request = RequestFactory().get(path, headers={"accept": HTML})
    answer = answer_storage_failure(request, OperationalError(LOST))

    assert answer is not None
    assert (answer.status_code, answer["Ciam-Error-Code"]) == (503, "storage_unavailable")
    assert answer["Content-Type"].startswith(content_type)
    assert LOST not in answer.content.decode()


@for_each_row("error", [CiamError("timeout"), RuntimeError("a text"), IntegrityError()])
def test_other_exceptions_of_a_view_are_not_answered(error: Exception) -> None:
    assert answer_storage_failure(RequestFactory().get("/ciam/login/"), error) is None


@pytest.mark.parametrize("mode", ["oidc"])
def test_a_back_channel_logout_can_be_repeated_if_the_session_store_was_away(
    signed_in: Browser, settings: Settings
) -> None:
    token = signed_in.ciam.sign_logout_token(sub=user_id_of("li"))
    take_cache_of_sessions_away(settings)
    answer = Client().post("/ciam/logout/back/", {"logout_token": token})
    assert (answer.status_code, answer["Ciam-Error-Code"]) == (503, "storage_unavailable")

    settings.CACHES = CACHES
    assert Client().post("/ciam/logout/back/", {"logout_token": token}).status_code == 200
    assert signed_in.user_id is None


@pytest.mark.parametrize("mode", ["oidc"])
def test_a_page_of_the_project_gets_the_failure_itself(
    signed_in: Browser, settings: Settings
) -> None:
    take_cache_of_sessions_away(settings)

    with pytest.raises(redis.ConnectionError):
        signed_in.client.get("/cart/")
