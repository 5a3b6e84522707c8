"""Ask CIAM the questions of ``manage.py ciam_doctor``: always over the network, never the cache.

The calls of a function have one deadline, ``CIAM_TIMEOUT``, and ignore the circuit breaker. A
failed call raises a ``CiamError``.
"""

from __future__ import annotations

import email.utils
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import requests
from joserfc.jwk import KeySet

from ciam_django.client.circuit_breaker import asking_directly
from ciam_django.client.envelope import data_of
from ciam_django.client.oauth import CiamApp
from ciam_django.errors import CiamError, Stage, code_in, raising_ciam_errors

# The beginning of an algorithm's name -> the type of its keys (RFC 7518, section 3.1, RFC 8037 and
# RFC 9864).
_KEY_TYPES: Final[Mapping[str, str]] = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
_CODE: Final = "ciam-doctor-asks"
# The codes with which a token endpoint refuses the client (RFC 6749, section 5.2).
REFUSED_CLIENT_CODES: Final = ("invalid_client", "unauthorized_client")
# The code with which a token endpoint refuses the code, after it has accepted the client.
REFUSED_CODE: Final = "invalid_grant"


@dataclass(frozen=True, slots=True)
class Redirected:
    """The response of the authorize page: ``code`` is the code of a refusal, or empty.

    ``to_callback`` is True if the response redirects to the callback.
    """

    status: int
    code: str = ""
    to_callback: bool = False


@asking_directly
def fetch_metadata(app: CiamApp) -> Mapping[str, Any]:
    """Return the metadata as CIAM sends it."""
    with raising_ciam_errors(Stage.API):
        return app.fetch_metadata()


@asking_directly
def fetch_keys(app: CiamApp, metadata: Mapping[str, Any]) -> KeySet:
    """Return the keys that can be used."""
    with raising_ciam_errors(Stage.API):
        return app.fetch_keys(metadata)


def usable_algorithms(keys: KeySet, metadata: Mapping[str, Any]) -> list[str]:
    """Return the accepted algorithms of the checked metadata that a key can be used with."""
    names = []
    for name in metadata["id_token_signing_alg_values_supported"]:
        key_type = _KEY_TYPES.get(name[:2])
        for key in keys:
            if key.key_type == key_type and key.get("alg") in (None, name):
                names.append(name)
                break
    return names


@asking_directly
def try_token_endpoint(app: CiamApp, redirect_uri: str) -> CiamError | None:
    """Exchange a code that does not exist, and return the refusal; None if CIAM accepts the code.

    A server first authenticates the client, and then looks at the code (RFC 6749, section 4.1.3).
    """
    try:
        app.exchange_code(code=_CODE, redirect_uri=redirect_uri, code_verifier=_new_secret())
    except CiamError as error:
        return error
    return None


@asking_directly
def open_authorize_page(app: CiamApp, redirect_uri: str) -> Redirected:
    """Open CIAM's login page as a browser does at the start of a sign-in."""
    url = app.authorization_url(
        redirect_uri=redirect_uri,
        state=_new_secret(),
        nonce=_new_secret(),
        code_verifier=_new_secret(),
    )
    response = _get(app, url, Stage.AUTHORIZE)
    status, location = response.status_code, response.headers.get("Location", "")
    if 300 <= status < 400:
        to_callback = location.startswith(redirect_uri)
        return Redirected(status, _error_in(location) if to_callback else "", to_callback)
    try:
        data_of(response)
    except CiamError as error:
        # A page in HTML has no code.
        if error.code != "unreadable_answer":
            return Redirected(status, str(error))
    return Redirected(status)


@asking_directly
def clock_difference(app: CiamApp) -> float | None:
    """Return the seconds by which CIAM's clock is ahead of ours; None if CIAM sends no time."""
    began_at = time.time()
    url = app.login_page_url
    response = _get(app, url, Stage.API)
    middle = (began_at + time.time()) / 2
    parsed = email.utils.parsedate_tz(response.headers.get("Date", ""))
    try:
        # The header has whole seconds: on average, the time is half a second later.
        return email.utils.mktime_tz(parsed) + 0.5 - middle if parsed else None
    except (ValueError, OverflowError):
        return None


def _get(app: CiamApp, url: str, stage: Stage) -> requests.Response:
    with raising_ciam_errors(stage), app.new_http_session() as session:
        response: requests.Response = session.request("GET", url, withhold_token=True)
        return response


def _error_in(location: str) -> str:
    """Return the code in ``?error=`` of a redirect, or an empty text."""
    return code_in(parse_qs(urlsplit(location).query).get("error", [""])[0])


def _new_secret() -> str:
    return secrets.token_urlsafe(48)
