"""Prepares each stage of a sign-in, up to the request that fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django.test import Client

from ciam_django.client import CiamClient
from ciam_django.client.app import ciam_app
from ciam_django.client.person import Person, identify_person
from ciam_django.errors import raising_ciam_errors
from ciam_django.testing import FakeCiam
from tests.browser import HTML, Browser, query_of
from tests.matrix import site
from tests.matrix.faults import FAULTS

SURFACES: Final = {"page": HTML, "json": "application/json", "rest": "application/json"}

Run = Callable[[], Any]

_CALLBACK: Final = "http://testserver/ciam/callback/"
_NONCE: Final = "n" * 32
_VERIFIER: Final = "v" * 64


@dataclass(frozen=True, slots=True)
class MatrixStage:
    """A stage of a sign-in: the fake's stage that fails, and the function that prepares a request.

    ``logged_stage`` is the stage in the log line. ``impossible`` maps the faults that cannot happen
    at this stage to the reason. ``other_codes`` maps the faults that have another code at this
    stage to the code.
    """

    name: str
    fails_at: str
    logged_stage: str
    prepare: Callable[[FakeCiam, str], Run]
    scope: str = "openid"
    impossible: Mapping[str, str] = field(default_factory=dict)
    other_codes: Mapping[str, str] = field(default_factory=dict)


def _run_in_view(surface: str, step: Callable[[], Any]) -> Run:
    """Run the step in a view of the project, of Django or of REST framework."""
    site.calls.append(step)
    path = "/rest/" if surface == "rest" else "/plain/"
    return lambda: Client().get(path, headers={"Accept": SURFACES[surface]})


def _fetch_code(username: str = "li") -> str:
    address = ciam_app().authorization_url(
        redirect_uri=_CALLBACK, state="s" * 32, nonce=_NONCE, code_verifier=_VERIFIER
    )
    return query_of(site.fakes[-1].authorize(address, username=username))["code"]


def _fetch_token(code: str) -> dict[str, Any]:
    return ciam_app().exchange_code(code=code, redirect_uri=_CALLBACK, code_verifier=_VERIFIER)


def _prepare_authorize(ciam: FakeCiam, surface: str) -> Run:
    if surface == "rest":
        return _run_in_view(surface, _fetch_code)
    browser = Browser(ciam)
    return lambda: browser.client.post("/ciam/authorize/", headers={"Accept": SURFACES[surface]})


def prepare_callback(ciam: FakeCiam, surface: str, username: str = "li") -> Run:
    """Prepare the callback, after a user has typed a user name at CIAM's page."""
    if surface == "rest":
        code = _fetch_code(username)
        return _run_in_view(surface, lambda: _identify_person(code))
    browser = Browser(ciam)
    if surface == "json":
        # A failed callback must not sign the user out either.
        browser.sign_in("somebody else")
    user_id = browser.user_id
    callback = browser.sign_in_at_ciam(browser.start_sign_in(), username)
    return lambda: _check_same_user(
        user_id, browser, browser.open_callback(callback, Accept=SURFACES[surface])
    )


def _identify_person(code: str) -> Person:
    with raising_ciam_errors("callback"):
        app = ciam_app()
        app.load_server_metadata()
    return identify_person(app, _fetch_token(code), _NONCE)


def _check_same_user(user_id: str | None, browser: Browser, response: Any) -> Any:
    assert browser.user_id == user_id, "somebody has been signed in or out"
    return response


def _prepare_refresh(ciam: FakeCiam, surface: str) -> Run:
    token = _fetch_token(_fetch_code())
    return _run_in_view(surface, lambda: refresh_with_authlib(token))


def refresh_with_authlib(token: dict[str, Any]) -> dict[str, Any]:
    """Refresh the token with Authlib; a failure must not change the old token."""
    before, updates = dict(token), list[object]()
    app = ciam_app()
    with (
        raising_ciam_errors("refresh"),
        app._get_oauth_client(**app.load_server_metadata()) as session,
    ):
        session.token = token
        session.update_token = lambda *args, **kwargs: updates.append(args)
        try:
            new_token: dict[str, Any] = session.refresh_token(
                session.metadata["token_endpoint"], refresh_token=token["refresh_token"]
            )
            return new_token
        finally:
            assert session.token == before
            assert not updates


def _prepare_api_call(ciam: FakeCiam, surface: str) -> Run:
    access_token = _fetch_token(_fetch_code())["access_token"]
    return _run_in_view(surface, lambda: CiamClient().user_info(access_token))


def _prepare_logout(ciam: FakeCiam, surface: str) -> Run:
    if surface == "rest":
        return _run_in_view(surface, lambda: ciam_app().logout_url(back_to="http://testserver/"))
    browser = Browser(ciam)
    assert browser.sign_in().status_code == 302
    return lambda: _check_signed_out(browser, browser.client.post("/ciam/logout/"))


def _check_signed_out(browser: Browser, response: Any) -> Any:
    assert browser.user_id is None
    return response


# A client error and a failure of TLS show that the address of the metadata is wrong.
_METADATA: Final = dict.fromkeys(
    [
        "success without a token",
        "no TLS",
        "an untrusted certificate",
        *(
            fault.name
            for fault in FAULTS
            if fault.is_variant and fault.name.split(", ")[1] in {"400", "401", "403"}
        ),
    ],
    "bad_configuration",
)

STAGES: Final = (
    MatrixStage("authorize", "discovery", "authorize", _prepare_authorize, other_codes=_METADATA),
    MatrixStage("discovery", "discovery", "callback", prepare_callback, other_codes=_METADATA),
    MatrixStage("token", "token", "token", prepare_callback),
    MatrixStage("JWKS", "jwks", "id_token", prepare_callback),
    MatrixStage(
        "userinfo", "userinfo", "userinfo", prepare_callback,
        scope="openid phone", other_codes={"success without a token": "nobody_named"},
    ),
    MatrixStage("refresh", "refresh", "refresh", _prepare_refresh),
    MatrixStage(
        "API call", "api", "api", _prepare_api_call,
        impossible={"success without a token": "an API call requests no token"},
    ),
    MatrixStage(
        "logout", "discovery", "logout", _prepare_logout, other_codes=_METADATA
    ),
)  # fmt: skip
