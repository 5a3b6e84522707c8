"""A user who is signed in links an identity, or removes an identity."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.dispatch import Signal
from django.test import Client, RequestFactory
from pytest_django.fixtures import Settings

from ciam_django.accounts import signals
from ciam_django.accounts.linking import link_identity
from ciam_django.accounts.models import CiamIdentity, CiamSession
from ciam_django.client.app import ciam_app
from ciam_django.client.person import Person
from ciam_django.login.steps.flow import Flow
from ciam_django.login.steps.linking import _short_claims, confirmation_flow, identity_text
from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import PASSWORD
from tests.browser import HTML, Browser, query_of
from tests.login.test_api import AGREED
from tests.login.test_social import registered_at
from tests.rows import for_each_row

SIGNALS = [value for value in vars(signals).values() if isinstance(value, Signal)]
LINK_FORM = {"next": "/account/", "link": "1"}


@pytest.fixture
def staff(browser: Browser) -> User:
    """A user who is signed in with a password of Django's."""
    user = User.objects.create_user("staff", email="li@example.com", password="p")
    browser.client.force_login(user, "django.contrib.auth.backends.ModelBackend")
    return user


def link(browser: Browser, username: str = "li") -> Any:
    """Link an identity; in CIAM's own mode, also confirm that it is linked."""
    answer = open_link_callback(browser, username)
    if answer.headers.get("Location", "").startswith("/ciam/step/"):
        return browser.client.post(answer["Location"])
    return answer


def open_link_callback(browser: Browser, username: str = "li") -> Any:
    response = browser.client.post("/ciam/authorize/", LINK_FORM)
    assert response.status_code == 302
    return browser.open_callback(browser.sign_in_at_ciam(response["Location"], username))


def confirmation_step(browser: Browser, settings: Settings, provider: str) -> str:
    """The URL of the page that asks before an identity of CIAM or of a provider is linked."""
    if provider == "ciam":
        return str(open_link_callback(browser)["Location"])
    settings.CIAM_SOCIAL_PROVIDERS = registered_at(browser.ciam)
    url = browser.client.post(f"/ciam/with/{provider}/", LINK_FORM)["Location"]
    callback = browser.ciam.authorize_at_provider(url, username="li")
    assert callback
    return str(browser.open_callback(callback)["Location"])


def unlink(browser: Browser, identity: object, accept: str = "application/json") -> Any:
    return browser.client.post(
        "/ciam/unlink/",
        {"identity": str(identity), "next": "/account/"},
        headers={"Accept": accept},
    )


def test_a_signed_in_user_links_an_identity(browser: Browser, staff: User, ciam: FakeCiam) -> None:
    answer = link(browser)

    assert (answer.status_code, answer["Location"]) == (302, "/account/")
    assert browser.user_id == str(staff.pk)
    assert CiamIdentity.objects.get().user_id == staff.pk
    other = Browser(ciam)
    other.sign_in()
    assert other.user_id == str(staff.pk)
    assert User.objects.count() == 1


def test_linking_asks_for_a_login_at_ciam_even_if_ciam_has_a_session(
    browser: Browser, staff: User, mode: str
) -> None:
    link_url = browser.client.post("/ciam/authorize/", LINK_FORM)["Location"]

    # CIAM's own mode has no parameter for this.
    assert query_of(link_url).get("prompt") == {"oidc": "login", "ciam": None}[mode]
    assert "prompt" not in query_of(browser.start_sign_in())


def test_linking_an_identity_twice_changes_nothing(browser: Browser, staff: User) -> None:
    link(browser)

    assert link(browser)["Location"] == "/account/"
    assert CiamIdentity.objects.count() == 1


@pytest.mark.covering
def test_an_identity_of_another_user_is_not_linked(
    browser: Browser, staff: User, ciam: FakeCiam
) -> None:
    other = Browser(ciam)
    other.sign_in()
    answer = link(browser)

    assert (answer.status_code, answer["Ciam-Error-Code"]) == (409, "linked_elsewhere")
    assert re.search(r'href="/account/"[^>]*>\s*Back', answer.content.decode())
    assert browser.user_id == str(staff.pk)
    assert str(CiamIdentity.objects.get().user_id) == other.user_id


def test_an_equal_email_address_links_no_identity(
    browser: Browser, staff: User, ciam: FakeCiam
) -> None:
    # The user of this site has the same address, but the sign-in is not a request to link.
    assert User.objects.filter(email="li@example.com").count() == 1
    browser.sign_in("li")

    assert browser.user_id != str(staff.pk)
    assert CiamIdentity.objects.get().user_id != staff.pk


def test_linking_needs_a_signed_in_user(browser: Browser) -> None:
    answer = browser.client.post("/ciam/authorize/", LINK_FORM)

    assert (answer.status_code, answer["Ciam-Error-Code"]) == (401, "missing_token")


@pytest.mark.parametrize("has_other_user", [True, False])
def test_linking_is_refused_after_a_logout_or_a_change_of_the_user(
    browser: Browser, staff: User, has_other_user: bool
) -> None:
    callback = browser.sign_in_at_ciam(
        browser.client.post("/ciam/authorize/", LINK_FORM)["Location"]
    )
    cookies = {
        name: cookie.value for name, cookie in browser.client.cookies.items() if "state" in name
    }
    browser.client.logout()
    browser.client.cookies.load(cookies)
    if has_other_user:
        browser.client.force_login(
            User.objects.create_user("other"), "django.contrib.auth.backends.ModelBackend"
        )
    answer = browser.open_callback(callback)

    assert (answer.status_code, answer["Ciam-Error-Code"]) == (400, "mismatching_state")
    assert not CiamIdentity.objects.exists()


def test_a_flow_of_several_steps_links_the_identity_at_its_end(
    browser: Browser, staff: User, ciam: FakeCiam, settings: Settings
) -> None:
    settings.CIAM_SOCIAL_PROVIDERS = registered_at(ciam)
    url = browser.client.post("/ciam/with/qq/", LINK_FORM)["Location"]
    callback = ciam.authorize_at_provider(url, username="stranger")
    assert callback
    step = browser.open_callback(callback)["Location"]
    assert browser.client.post(step, {"do": "create"})["Location"] == step
    assert not CiamIdentity.objects.exists()
    answer = browser.client.post(step)

    assert (answer.status_code, answer["Location"]) == (302, "/account/")
    identity = CiamIdentity.objects.get()
    assert (identity.user_id, identity.provider) == (staff.pk, "qq")


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
@pytest.mark.parametrize("start", ["/ciam/with/qq/", "/ciam/authorize/"])
@pytest.mark.covering
def test_a_cancel_keeps_the_user_signed_in_and_returns_to_next(
    browser: Browser, staff: User, settings: Settings, accept: str, start: str
) -> None:
    settings.CIAM_SOCIAL_PROVIDERS = registered_at(browser.ciam)
    url = browser.client.post(start, LINK_FORM)["Location"]
    if start == "/ciam/authorize/":
        callback: str | None = browser.sign_in_at_ciam(url, "fail:authorize:access_denied")
    else:
        callback = browser.ciam.authorize_at_provider(url, username="li", cancel=True)
    assert callback
    answer = browser.open_callback(callback, accept=accept)

    if accept == "text/html":
        assert (answer.status_code, answer["Location"]) == (302, "/account/")
    else:
        assert (answer.status_code, answer["Ciam-Error-Code"]) == (403, "access_denied")
    assert browser.user_id == str(staff.pk)


# --- The confirmation -------------------------------------------------------------------------

in_own_mode = pytest.mark.parametrize("mode", ["ciam"])


@pytest.mark.parametrize(
    ("mode", "provider", "shown"),
    [
        ("ciam", "ciam", "+86 138****0000"),
        ("oidc", "qq", "QQ (l***@example.com)"),
        ("ciam", "qq", "QQ (+86 138****0000)"),
    ],
)
def test_the_user_confirms_that_the_named_identity_is_linked(
    browser: Browser, staff: User, settings: Settings, provider: str, shown: str
) -> None:
    step = confirmation_step(browser, settings, provider)
    page = browser.client.get(step).content.decode()

    assert f"Do you want to link \u2068{shown}\u2069?" in page
    assert "csrfmiddlewaretoken" in page
    assert "Back to sign in" not in page
    assert not CiamIdentity.objects.exists()
    answer = browser.client.post(step)
    assert (answer.status_code, answer["Location"]) == (302, "/account/")
    assert browser.user_id == str(CiamIdentity.objects.get().user_id) == str(staff.pk)
    # The user has gone back to the page.
    assert browser.client.get(step)["Location"] == "/account/"


@in_own_mode
@pytest.mark.parametrize("provider", ["ciam", "qq"])
def test_a_cancel_links_nothing_and_returns_to_next(
    browser: Browser, staff: User, settings: Settings, provider: str
) -> None:
    step = confirmation_step(browser, settings, provider)
    answer = browser.client.post(step, {"do": "cancel"})

    assert (answer.status_code, answer["Location"]) == (302, "/account/")
    assert browser.client.post(step)["Location"] == "/account/"
    assert not CiamIdentity.objects.exists()
    assert browser.user_id == str(staff.pk)


@in_own_mode
@pytest.mark.parametrize("has_other_user", [True, False])
def test_the_confirmation_is_refused_after_a_logout_or_a_change_of_the_user(
    browser: Browser, staff: User, settings: Settings, has_other_user: bool
) -> None:
    step = confirmation_step(browser, settings, "qq")
    cookies = {name: each.value for name, each in browser.client.cookies.items() if "flow" in name}
    browser.client.logout()
    browser.client.cookies.load(cookies)
    if has_other_user:
        browser.client.force_login(
            User.objects.create_user("other"), "django.contrib.auth.backends.ModelBackend"
        )

    for answer in (browser.client.get(step), browser.client.post(step)):
        assert (answer.status_code, answer["Ciam-Error-Code"]) == (400, "mismatching_state")
        assert "QQ" not in answer.content.decode()
    assert not CiamIdentity.objects.exists()


@in_own_mode
def test_the_confirmation_needs_a_csrf_token(
    browser: Browser, staff: User, settings: Settings
) -> None:
    step = confirmation_step(browser, settings, "ciam")
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = browser.client.cookies

    assert strict.post(step).status_code == 403
    assert not CiamIdentity.objects.exists()


@in_own_mode
def test_the_confirmation_is_in_the_language_that_wechat_names(
    browser: Browser, staff: User, settings: Settings
) -> None:
    step = confirmation_step(browser, settings, "ciam")
    page: Any = browser.client.get(step, headers={"Accept": HTML, "Accept-Language": "zh_CN"})

    assert page["Content-Language"] == "zh-hans"
    texts = re.sub(r"<[^>]*>", "", page.content.decode())
    assert "绑定" in texts
    assert not re.search(r"[A-Za-z]{2}", texts)


@in_own_mode
def test_a_second_callback_shows_the_same_confirmation(browser: Browser, staff: User) -> None:
    url = browser.client.post("/ciam/authorize/", LINK_FORM)["Location"]
    callback = browser.sign_in_at_ciam(url)
    step = browser.open_callback(callback)["Location"]

    assert browser.open_callback(callback)["Location"] == step
    assert browser.client.get(step).status_code == 200


@in_own_mode
@pytest.mark.parametrize(
    ("do", "detail"),
    [("", "The account has been linked."), ("cancel", "No account has been linked.")],
)
def test_an_app_confirms_or_cancels_with_json(
    browser: Browser, staff: User, settings: Settings, do: str, detail: str
) -> None:
    settings.CIAM_SOCIAL_PROVIDERS = registered_at(browser.ciam)
    url = browser.client.post("/ciam/with/qq/", LINK_FORM)["Location"]
    callback = browser.ciam.authorize_at_provider(url, username="stranger")
    assert callback
    browser.open_callback(callback)

    def send(name: str, **members: str) -> Any:
        return browser.client.post(f"/ciam/api/{name}/", members, "application/json").json()

    (flow,) = [each.value for name, each in browser.client.cookies.items() if "flow_" in name]
    step = send("link", flow=flow, do="create")
    assert (step["status"], step["step"], step["fields"]) == ("step", "confirm_link", [])
    assert step["identity"] == "QQ (+86 138****0000)"
    assert step["others"] == ["cancel"]
    assert send("confirm_link", flow=step["flow"], do=do) == {"status": "done", "detail": detail}
    assert CiamIdentity.objects.filter(user=staff).count() == (0 if do else 1)
    other = browser.client
    other.force_login(
        User.objects.create_user("other"), "django.contrib.auth.backends.ModelBackend"
    )
    assert send("confirm_link", flow=step["flow"])["code"] == "mismatching_state"


@pytest.mark.covering
def test_the_flow_of_a_confirmation_has_room_only_for_short_claims(
    staff: User, ciam: FakeCiam
) -> None:
    request = RequestFactory().get("/")
    request.user = staff
    claims = {"picture": "x" * 600, "email": 1, "phone_number": "no number", "unionid": "o-1"}
    flow = confirmation_flow(
        request, Person("i", "s", claims), "no token", Flow("", "", link_to_user=str(staff.pk))
    )

    assert flow.step_data["claims"] == {name: claims[name] for name in claims if name != "picture"}
    # The name of the claim and the marks of JSON count.
    for length, is_kept in ((585, True), (586, False)):
        assert bool(_short_claims({"picture": "x" * length})) is is_kept
    # The claims name no recipient, and the call of CIAM fails.
    assert identity_text(flow) == "the account you're signed in to there"


@pytest.mark.parametrize("mode", ["oidc", "ciam"])
@for_each_row(
    "claims, text",
    [
        ({"email": "li@example.com"}, "l***@example.com"),
        ({}, "the account you're signed in to there"),
    ],
)
def test_ciam_is_asked_for_a_recipient_only_in_its_own_mode_without_a_recipient(
    staff: User, ciam: FakeCiam, mode: str, claims: dict[str, str], text: str
) -> None:
    ciam_app().load_server_metadata()
    before = len(ciam.requests)
    request = RequestFactory().get("/")
    request.user = staff
    flow = Flow("", "", link_to_user=str(staff.pk))
    flow = confirmation_flow(request, Person("i", "s", claims), "no token", flow)

    assert identity_text(flow) == text
    # No other step names an identity.
    assert identity_text(dataclasses.replace(flow, step="code")) == ""
    assert (len(ciam.requests) > before) is (mode == "ciam" and not claims)


# --- Unlinking --------------------------------------------------------------------------------


def test_unlinking_removes_the_identity_and_ends_its_sessions(
    browser: Browser, staff: User, ciam: FakeCiam
) -> None:
    link(browser)
    other = Browser(ciam)
    other.sign_in()
    answer = unlink(browser, CiamIdentity.objects.get().pk, "text/html")

    assert (answer.status_code, answer["Location"]) == (302, "/account/")
    assert not CiamIdentity.objects.exists()
    assert other.user_id is None
    assert browser.user_id == str(staff.pk)


def test_unlinking_removes_no_other_identity_of_the_user(browser: Browser, staff: User) -> None:
    for username in ("li", "wang", "zhao"):
        link(browser, username)
    first, second, third = CiamIdentity.objects.order_by("pk")
    unlink(browser, second.pk)

    assert list(CiamIdentity.objects.order_by("pk")) == [first, third]


def test_a_person_gets_a_new_user_after_unlinking(browser: Browser, ciam: FakeCiam) -> None:
    browser.sign_in()
    link(browser, "wang")
    unlink(browser, CiamIdentity.objects.order_by("pk")[0].pk)
    other = Browser(ciam)

    assert other.sign_in().status_code == 302
    assert other.user_id != browser.user_id


def test_the_current_session_continues_after_unlinking_its_identity(browser: Browser) -> None:
    browser.sign_in()
    user = User.objects.get()
    user.set_password("p")
    user.save()
    browser.sign_in()
    answer = unlink(browser, CiamIdentity.objects.get().pk)

    assert answer.json() == {"status": "redirect", "url": "/account/"}

    assert browser.user_id == str(user.pk)
    assert not CiamSession.objects.exists()
    assert "ciam_session" not in browser.client.session


def test_the_last_login_method_cannot_be_removed(browser: Browser, ciam: FakeCiam) -> None:
    # The identity of another user is no login method of this user.
    Browser(ciam).sign_in("wang")
    browser.sign_in()
    answer = unlink(browser, CiamIdentity.objects.get(user_id=int(browser.user_id or 0)).pk)

    assert (answer.status_code, answer.json()["code"]) == (409, "last_way_in")
    assert CiamIdentity.objects.count() == 2


def test_unlinking_sends_signed_out_with_the_reason_unlinked_for_each_session(
    browser: Browser,
    staff: User,
    ciam: FakeCiam,
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    link(browser)
    Browser(ciam).sign_in()
    reasons: list[object] = []

    def receive(sender: object, **arguments: Any) -> None:
        reasons.append(arguments["reason"])

    signals.signed_out.connect(receive)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            unlink(browser, CiamIdentity.objects.get().pk)
    finally:
        signals.signed_out.disconnect(receive)

    assert reasons == ["unlinked"]


def test_link_identity_returns_the_new_identity(browser: Browser, staff: User) -> None:
    request = RequestFactory().get("/")
    request.user = staff
    identity = link_identity(request, Person("https://ciam.example", "u-1", provider="qq"))

    assert identity == CiamIdentity.objects.get()
    assert (identity.user_id, identity.subject, identity.provider) == (staff.pk, "u-1", "qq")


def test_the_refusal_page_of_the_last_login_method_links_back(browser: Browser) -> None:
    browser.sign_in()
    form = {"identity": CiamIdentity.objects.get().pk, "next": "/account/"}
    page = browser.client.post("/ciam/unlink/", form).content.decode()

    assert "This is your only way to sign in." in page
    assert re.search(r'href="/account/"[^>]*>\s*Back', page)


def test_a_password_is_no_login_method_without_a_password_backend(
    browser: Browser, staff: User, settings: Settings
) -> None:
    link(browser)
    settings.AUTHENTICATION_BACKENDS = ["ciam_django.accounts.backends.CiamBackend"]
    browser.sign_in()

    assert unlink(browser, CiamIdentity.objects.get().pk).json()["code"] == "last_way_in"


def test_the_first_of_two_identities_can_be_removed_and_the_second_cannot(browser: Browser) -> None:
    browser.sign_in()
    link(browser, "wang")
    first, second = CiamIdentity.objects.order_by("pk")
    assert unlink(browser, first.pk).json()["status"] == "redirect"

    assert unlink(browser, second.pk).json()["code"] == "last_way_in"


@pytest.mark.parametrize("identity", ["", "x", "-1", "0", "9" * 40, "٣", "1 or 1=1"])
def test_an_invalid_identity_id_is_not_found(browser: Browser, staff: User, identity: str) -> None:
    assert unlink(browser, identity).status_code == 404


def test_an_identity_of_another_user_cannot_be_removed(
    browser: Browser, staff: User, ciam: FakeCiam
) -> None:
    Browser(ciam).sign_in()

    assert unlink(browser, CiamIdentity.objects.get().pk).status_code == 404
    assert CiamIdentity.objects.count() == 1


def test_unlinking_needs_a_signed_in_user(browser: Browser, db: None) -> None:
    answer = unlink(browser, 1)

    assert (answer.status_code, answer.json()["code"]) == (401, "missing_token")


def test_unlinking_needs_a_csrf_token(browser: Browser, staff: User) -> None:
    link(browser)
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = browser.client.cookies
    identity = CiamIdentity.objects.get().pk

    assert strict.post("/ciam/unlink/", {"identity": identity}).status_code == 403
    assert CiamIdentity.objects.count() == 1


# --- Signals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["oidc"])
def test_each_event_sends_its_signal_and_has_a_log_line(
    browser: Browser,
    staff: User,
    ciam: FakeCiam,
    caplog: pytest.LogCaptureFixture,
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    received: list[tuple[str, str]] = []
    # An exception of a receiver is logged and reaches no test, so that the asserts come later.
    sent: list[tuple[str, dict[str, Any]]] = []
    caplog.set_level(logging.INFO, "ciam_django")

    def receive(sender: object, signal: Signal, **arguments: Any) -> None:
        name = next(name for name, value in vars(signals).items() if value is signal)
        received.append((name, arguments.get("reason", "")))
        sent.append((name, arguments))

    for signal in SIGNALS:
        signal.connect(receive)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            link(browser)
        with django_capture_on_commit_callbacks(execute=True):
            unlink(browser, CiamIdentity.objects.get().pk)
        with django_capture_on_commit_callbacks(execute=True):
            browser.sign_in("wang")
        with django_capture_on_commit_callbacks(execute=True):
            browser.client.post("/ciam/logout/")
        with django_capture_on_commit_callbacks(execute=True):
            browser.sign_in("wang")
        with django_capture_on_commit_callbacks(execute=True):
            session = browser.client.session
            session["ciam_session"] = {**session["ciam_session"], "look_at": 1}
            session.save()
            CiamSession.objects.active().update(sealed="not encrypted tokens")
            assert browser.client.get("/admin/").status_code == 401
    finally:
        for signal in SIGNALS:
            signal.disconnect(receive)

    assert received == [
        ("linked", ""),
        ("unlinked", ""),
        ("created", ""),
        ("signed_in", ""),
        ("signed_out", "left"),
        ("signed_in", ""),
        ("signed_out", "ended"),
    ]
    names = ("linked", "unlinked", "signed_in", "signed_out")
    lines = [entry.getMessage() for entry in caplog.records if vars(entry)["ciam_event"] in names]
    wang = sent[-1][1]["user"].pk
    assert lines == [
        f"Link: user={staff.pk} provider=ciam",
        f"Unlink: user={staff.pk} provider=ciam",
        f"Sign-in: user={wang} provider=ciam session=django",
        f"Sign-out: user={wang} reason=left",
        f"Sign-in: user={wang} provider=ciam session=django",
        f"Sign-out: user={wang} reason=ended",
    ]
    for name, arguments in sent:
        assert arguments["user"].pk == arguments["identity"].user_id
        if name in {"linked", "created", "signed_in"}:
            assert arguments["person"].subject == arguments["identity"].subject
        if name in {"linked", "unlinked", "signed_in"}:
            assert arguments["request"].session
        if arguments.get("reason") == "left":
            assert arguments["request"].path == "/ciam/logout/"


def test_a_refused_sign_in_sends_no_signal(
    browser: Browser, django_capture_on_commit_callbacks: Callable[..., Any]
) -> None:
    browser.sign_in()
    User.objects.update(is_active=False)
    with django_capture_on_commit_callbacks() as callbacks:
        assert browser.sign_in().status_code == 403

    assert not callbacks


def test_a_sign_in_without_a_session_sends_signed_in(
    ciam: FakeCiam,
    db: None,
    settings: Settings,
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    settings.CIAM_API_SIGN_IN = "token"
    settings.CIAM_LOGIN_METHODS = ["password"]
    user_pks: list[object] = []

    def receive(sender: object, **arguments: Any) -> None:
        user_pks.append(arguments["user"].pk)

    signals.signed_in.connect(receive)
    with django_capture_on_commit_callbacks(execute=True):
        answer = Client().post(
            "/ciam/api/password/",
            json.dumps({"username": "li", "password": PASSWORD, "consent": AGREED}),
            content_type="application/json",
        )
    signals.signed_in.disconnect(receive)

    assert answer.status_code == 200, answer.content
    assert user_pks == [User.objects.get().pk]
    assert not CiamSession.objects.exists()
