"""How each stage of signing in is reached, up to the moment before it fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django.test import Client

from ciam_django.client import CiamClient
from ciam_django.client.oauth import ciam_app
from ciam_django.client.person import Person, person_of
from ciam_django.errors import raising_ciam_errors
from ciam_django.testing import FakeCiam
from tests.browser import HTML, Browser, query_of
from tests.matrix import site

SURFACES: Final = {"page": HTML, "json": "application/json", "rest": "application/json"}

Go = Callable[[], Any]

_CALLBACK: Final = "http://testserver/ciam/callback/"
_NONCE: Final = "n" * 32
_VERIFIER: Final = "v" * 64


@dataclass(frozen=True, slots=True)
class Stage:
    """A row: where it fails at the fake, and how one comes there.

    ``label`` is the stage in the log line. ``without`` says which faults can't happen, and why;
    ``codes`` which are known by another code here.
    """

    name: str
    at: str
    label: str
    prepared: Callable[[FakeCiam, str], Go]
    scope: str = "openid"
    without: Mapping[str, str] = field(default_factory=dict)
    codes: Mapping[str, str] = field(default_factory=dict)


def _viewed(surface: str, step: Callable[[], Any]) -> Go:
    """The step in a project's own view: Django's, or REST framework's."""
    site.steps.append(step)
    path = "/rest/" if surface == "rest" else "/plain/"
    return lambda: Client().get(path, headers={"Accept": SURFACES[surface]})


def _code(username: str = "li") -> str:
    address = ciam_app().authorization_url(
        redirect_uri=_CALLBACK, state="s" * 32, nonce=_NONCE, code_verifier=_VERIFIER
    )
    return query_of(site.ciam[-1].authorize(address, username=username))["code"]


def _token(code: str) -> dict[str, Any]:
    return ciam_app().token_of(code=code, redirect_uri=_CALLBACK, code_verifier=_VERIFIER)


def _leaving(ciam: FakeCiam, surface: str) -> Go:
    if surface == "rest":
        return _viewed(surface, _code)
    browser = Browser(ciam)
    return lambda: browser.client.post("/ciam/authorize/", headers={"Accept": SURFACES[surface]})


def coming_back(ciam: FakeCiam, surface: str, username: str = "li") -> Go:
    """Back from CIAM's page, where somebody has typed a user name."""
    if surface == "rest":
        code = _code(username)
        return _viewed(surface, lambda: _person(code))
    browser = Browser(ciam)
    if surface == "json":
        # Nobody is signed out, either.
        browser.signs_in("somebody else")
    before = browser.user_id
    callback = browser.identifies(browser.leaves(), username)
    return lambda: _still(before, browser, browser.comes_back(callback, Accept=SURFACES[surface]))


def _person(code: str) -> Person:
    with raising_ciam_errors("callback"):
        app = ciam_app()
        app.load_server_metadata()
    return person_of(app, _token(code), _NONCE)


def _still(before: str | None, browser: Browser, response: Any) -> Any:
    assert browser.user_id == before, "somebody has been signed in or out"
    return response


def _renewing(ciam: FakeCiam, surface: str) -> Go:
    token = _token(_code())
    return _viewed(surface, lambda: renewed(token))


def renewed(token: dict[str, Any]) -> dict[str, Any]:
    """The token, renewed as Authlib does; a failure must leave the old one as it is."""
    before, updates = dict(token), list[object]()
    app = ciam_app()
    with (
        raising_ciam_errors("refresh"),
        app._get_oauth_client(**app.load_server_metadata()) as session,
    ):
        session.token = token
        session.update_token = lambda *args, **kwargs: updates.append(args)
        try:
            new: dict[str, Any] = session.refresh_token(
                session.metadata["token_endpoint"], refresh_token=token["refresh_token"]
            )
            return new
        finally:
            assert session.token == before
            assert not updates


def _calling(ciam: FakeCiam, surface: str) -> Go:
    access_token = _token(_code())["access_token"]
    return _viewed(surface, lambda: CiamClient().user_info(access_token))


def _signing_out(ciam: FakeCiam, surface: str) -> Go:
    if surface == "rest":
        return _viewed(surface, lambda: ciam_app().logout_url(back_to="http://testserver/"))
    browser = Browser(ciam)
    assert browser.signs_in().status_code == 302
    return lambda: _nobody_any_more(browser, browser.client.post("/ciam/logout/"))


def _nobody_any_more(browser: Browser, response: Any) -> Any:
    assert browser.user_id is None
    return response


_METADATA: Final = {"success without a token": "bad_configuration"}

STAGES: Final = (
    Stage("authorize", "discovery", "authorize", _leaving, codes=_METADATA),
    Stage("discovery", "discovery", "callback", coming_back, codes=_METADATA),
    Stage("token", "token", "token", coming_back),
    Stage("JWKS", "jwks", "id_token", coming_back),
    Stage(
        "userinfo", "userinfo", "userinfo", coming_back,
        scope="openid phone", codes={"success without a token": "nobody_named"},
    ),
    Stage("refresh", "refresh", "refresh", _renewing),
    Stage(
        "API call", "api", "api", _calling,
        without={"success without a token": "an API call asks for none"},
    ),
    Stage(
        "logout", "discovery", "logout", _signing_out, codes=_METADATA
    ),
)  # fmt: skip
