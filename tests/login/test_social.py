"""Off to a social provider, and back: over the fake's pages and CIAM."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
from django.urls import reverse
from pytest_django.fixtures import Settings

from ciam_django.accounts.models import CiamIdentity
from ciam_django.login import state
from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import CODE
from ciam_django.testing.providers import PROVIDER_PAGES
from tests.browser import query_of
from tests.login.person import FormBrowser


def registered_at(fake: FakeCiam) -> dict[str, Any]:
    """All providers, played by the fake."""
    given: dict[str, Any] = {}
    for name, url in fake.provider_urls.items():
        kind, _, part = name.partition("-")
        row = {"app_id": f"app_{name}", "authorize_url": url}
        row["source"] = f"source_{name.replace('-', '_')}"
        if name == "generic":
            row["label"] = "Example"
        if part:
            given.setdefault(kind, {})[part] = row
        else:
            given[kind] = row
    return given


@pytest.fixture(autouse=True)
def registered(ciam: FakeCiam, settings: Settings) -> None:
    settings.CIAM_SOCIAL_PROVIDERS = registered_at(ciam)
    settings.CIAM_LOGIN_METHODS = ["password", "hosted"]


@pytest.fixture
def mode() -> str:
    return "ciam"


def leaves(person: FormBrowser, name: str, next_url: str = "/cart/") -> str:
    """Begin; the address at the provider."""
    person.open_page(f"/ciam/login/?next={next_url}")
    token = person.client.cookies["csrftoken"].value
    answer = person.client.post(
        reverse("ciam:provider", args=[name]), {"next": next_url, "csrfmiddlewaretoken": token}
    )
    assert answer.status_code == 302
    return str(answer["Location"])


def comes_back(person: FormBrowser, callback: str) -> Any:
    parts = urlsplit(callback)
    person.response = person.client.get(f"{parts.path}?{parts.query}")
    return person.follow_redirect()


def goes(person: FormBrowser, name: str, username: str = "li", *, cancel: bool = False) -> Any:
    """The whole way."""
    url = leaves(person, name).partition("#")[0]
    callback = person.ciam.authorize_at_provider(url, username=username, cancel=cancel)
    assert callback
    return comes_back(person, callback)


@pytest.mark.parametrize("name", PROVIDER_PAGES)
@pytest.mark.parametrize("mode", ["oidc", "ciam"])
def test_each_provider_signs_in(person: FormBrowser, name: str) -> None:
    answer = goes(person, name)

    assert (answer.status_code, answer["Location"]) == (302, "/cart/")
    assert CiamIdentity.objects.get(user_id=person.user_id or 0).provider == name
    asked = [request for request in person.ciam.requests if request.stage == "social"]
    assert len(asked) == 1
    assert f'"source_{name.replace("-", "_")}"'.encode() in asked[0].body


SENDS_BACK = [name for name, row in PROVIDER_PAGES.items() if row.refusal_parameters is not None]


@pytest.mark.parametrize("name", SENDS_BACK)
def test_who_cancels_is_back_at_the_login_page(person: FormBrowser, name: str) -> None:
    answer = goes(person, name, cancel=True)
    page = answer.content.decode()

    assert (answer.status_code, answer["Ciam-Error-Code"]) == (403, "access_denied")
    assert 'name="username"' in page
    assert 'name="next" value="/cart/"' in page
    assert person.user_id is None
    # It is told once.
    assert "Ciam-Error-Code" not in person.open_page("/ciam/login/")


def test_a_refusal_at_the_qr_code_never_comes_back(person: FormBrowser) -> None:
    url = leaves(person, "wechat-website")

    assert url.endswith("#wechat_redirect")
    assert person.ciam.authorize_at_provider(url.partition("#")[0], cancel=True) is None
    # The login page is as good as before.
    assert goes(person, "wechat-website").status_code == 302


def test_wechats_state_is_of_letters_and_digits(person: FormBrowser) -> None:
    assert query_of(leaves(person, "wechat-in_app").partition("#")[0])["state"].isalnum()


def test_a_code_of_one_provider_is_of_no_use_at_another(person: FormBrowser) -> None:
    callback = person.ciam.authorize_at_provider(leaves(person, "qq"))
    assert callback
    answer = comes_back(person, callback.replace("/with/qq/", "/with/weibo/"))

    assert (answer.status_code, answer["Ciam-Error-Code"]) == (400, "mismatching_state")
    assert [r for r in person.ciam.requests if r.stage == "social"] == []


def test_a_state_is_good_once(person: FormBrowser) -> None:
    callback = person.ciam.authorize_at_provider(leaves(person, "qq"))
    assert callback
    comes_back(person, callback)
    user_id = person.user_id
    answer = comes_back(person, callback)

    assert (answer.status_code, answer["Location"]) == (302, "/cart/")
    assert person.user_id == user_id
    assert len([r for r in person.ciam.requests if r.stage == "social"]) == 1

    person.client.logout()
    assert comes_back(person, callback)["Ciam-Error-Code"] == "mismatching_state"


def test_another_browser_is_not_signed_in(person: FormBrowser) -> None:
    callback = person.ciam.authorize_at_provider(leaves(person, "qq"))
    assert callback
    victim = FormBrowser(person.ciam)
    answer = comes_back(victim, callback)

    assert answer["Ciam-Error-Code"] == "mismatching_state"
    assert victim.user_id is None


def test_who_comes_back_late_is_told_so(
    person: FormBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    callback = person.ciam.authorize_at_provider(leaves(person, "qq"))
    assert callback
    monkeypatch.setattr(state, "STATE_SECONDS", -1)

    assert "More than 10 minutes" in comes_back(person, callback).content.decode()


def test_the_step_that_ciam_asks_for_is_next(person: FormBrowser) -> None:
    goes(person, "qq", "careful")
    assert person.title == "Confirm that it&#x27;s you"


@pytest.mark.parametrize("given", [{"receiver": "138 0000 1234"}, {"receiver": "li@example.com"}])
def test_a_social_account_is_linked_by_a_code(person: FormBrowser, given: dict[str, str]) -> None:
    goes(person, "qq", "stranger")
    assert person.title == "Link your account"
    person.submit_form(**given)
    answer = person.submit_form(code=CODE)

    assert (answer.status_code, answer["Location"]) == (302, "/cart/")
    assert CiamIdentity.objects.get(user_id=person.user_id or 0).provider == "qq"


def test_a_social_account_can_have_an_account_of_its_own(person: FormBrowser) -> None:
    goes(person, "qq", "stranger")
    answer = person.submit_form(do="create")

    assert (answer.status_code, answer["Location"]) == (302, "/cart/")
    assert person.user_id


@pytest.mark.parametrize(
    ("username", "status", "code"),
    [
        ("unlinked", 409, "Operation.Failure.Social.User.Not.Bind"),
        ("locked", 403, "Operation.Failure.User.Locked"),
        ("fail:Operation.Failure.Social.Login", 400, "Operation.Failure.Social.Login"),
        ("fail:Service.Internal.Error", 503, "Service.Internal.Error"),
    ],
)
def test_what_fails_is_told_at_the_login_page(
    person: FormBrowser, username: str, status: int, code: str
) -> None:
    answer = goes(person, "qq", username)

    assert (answer.status_code, answer["Ciam-Error-Code"]) == (status, code)
    assert answer["Ciam-Request-Id"] in answer.content.decode()
    assert person.user_id is None


def test_an_error_of_the_providers_is_told_in_our_words(person: FormBrowser) -> None:
    back = query_of(leaves(person, "qq"))["redirect_uri"], query_of(leaves(person, "qq"))["state"]
    answer = comes_back(person, f"{back[0]}?state={back[1]}&error=temporarily_unavailable&x=<b>")

    assert (answer.status_code, answer["Ciam-Error-Code"]) == (503, "temporarily_unavailable")


def test_an_app_gets_json(person: FormBrowser) -> None:
    callback = person.ciam.authorize_at_provider(leaves(person, "qq"), username="locked")
    assert callback
    person.client.defaults["HTTP_ACCEPT"] = "application/json"
    answer = comes_back(person, callback)

    assert (answer.status_code, answer.json()["code"]) == (403, "Operation.Failure.User.Locked")


@pytest.mark.parametrize("name", ["unknown", "wechat-mini_program", "company"])
def test_a_provider_that_the_project_does_not_have_is_not_found(
    person: FormBrowser, settings: Settings, name: str
) -> None:
    mini = {"mini_program": {"app_id": "1", "source": "s"}}
    settings.CIAM_SOCIAL_PROVIDERS = {"wechat": mini, "company": {"provider": "generic"}}

    assert person.client.get(f"/ciam/with/{name}/callback/").status_code == 404
    person.open_page("/ciam/login/")
    token = person.client.cookies["csrftoken"].value
    answer = person.client.post(f"/ciam/with/{name}/", {"csrfmiddlewaretoken": token})
    assert answer.status_code == 404


def test_a_front_end_is_told_where_to_go(person: FormBrowser) -> None:
    offered = person.client.get("/ciam/api/").json()
    (weibo,) = [each for each in offered["providers"] if each["name"] == "weibo"]
    assert weibo == {"name": "weibo", "label": "Weibo", "url": "/ciam/with/weibo/"}

    for address in (weibo["url"], reverse("ciam:authorize")):
        answer = person.client.post(
            address,
            {"next": "/cart/"},
            headers={"Accept": "application/json", "X-CSRFToken": offered["csrf_token"]},
        )
        assert answer.json()["status"] == "redirect"
        assert answer["Cache-Control"] == "no-store"
        url = answer.json()["url"]
        callback = (
            person.ciam.authorize(url) if "oauth" in url else person.ciam.authorize_at_provider(url)
        )
        assert callback
        assert comes_back(person, callback)["Location"] == "/cart/"
        person.client.logout()
        offered = person.client.get("/ciam/api/").json()


def test_nobody_else_can_send_a_browser_away(person: FormBrowser) -> None:
    answer = person.client.post("/ciam/with/qq/")

    assert (answer.status_code, answer["Ciam-Error-Code"]) == (403, "csrf_failed")


def test_the_login_page_offers_them(person: FormBrowser) -> None:
    page = person.open_page("/ciam/login/?next=/cart/").content.decode()

    assert ">Weibo</button>" in page
    assert 'action="/ciam/with/wechat-website/"' in page
    assert "wechat-in_app" not in page

    phone = {"User-Agent": "Mozilla/5.0 (Linux; Android 15) Mobile"}
    page = person.client.get("/ciam/login/", headers=phone).content.decode()
    assert "open this page in WeChat" in page
    assert "wechat-website" not in page
