"""The questions that CIAM answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ciam_django.client.api import request_application_token
from ciam_django.client.diagnosis import (
    REFUSED_CLIENT_CODES,
    REFUSED_CODE,
    clock_difference,
    fetch_keys,
    open_authorize_page,
    try_token_endpoint,
    usable_algorithms,
)
from ciam_django.client.envelope import LEEWAY
from ciam_django.conf import conf
from ciam_django.doctor.examination import Examination
from ciam_django.doctor.findings import Finding, Status, failure_text
from ciam_django.errors import CiamError
from ciam_django.privacy import loggable_code, loggable_url

_CLIENT: Final = 'AUTHLIB_OAUTH_CLIENTS["ciam"]'
# The seconds of a clock that is good. A difference above LEEWAY stops each sign-in.
_GOOD_SECONDS: Final = 30
_NO_ANSWER_CODES: Final = ("no_connection", "timeout")


def _failure(asked: str, error: CiamError, advice: str) -> Finding:
    """The finding of a failed call; the advice names the address if there was no answer."""
    is_silent = not {error.code, error.type_code}.isdisjoint(_NO_ANSWER_CODES)
    if is_silent and error.upstream_status is None:
        advice = (
            f"Check the host in {_CLIENT}, and that this machine may reach it: name server, "
            f"firewall, proxy, certificates. CIAM_TIMEOUT is {conf.CIAM_TIMEOUT}."
        )
    return Finding(Status.ERROR, asked, failure_text(error), advice)


def examine_metadata(examination: Examination) -> Iterator[Finding]:
    """Ask for the metadata, its issuer and its endpoints."""
    url = loggable_url(examination.client.login_page_url)
    asked = f"the metadata at {url or 'server_metadata_url'}"
    fetched, metadata = examination.fetched_metadata, examination.metadata
    if isinstance(fetched, CiamError):
        yield _failure(
            asked,
            fetched,
            f'Correct {_CLIENT}["server_metadata_url"]: it must be the address of a JSON document, '
            "and end with /.well-known/openid-configuration.",
        )
    elif isinstance(metadata, CiamError):
        yield Finding(
            Status.ERROR,
            asked,
            failure_text(metadata),
            f'Correct {_CLIENT}["server_metadata_url"], or set {_CLIENT}["issuer"] to the issuer '
            "of your tenant. Missing and insecure members can only be corrected at CIAM.",
        )
    else:
        algorithms = ", ".join(metadata["id_token_signing_alg_values_supported"])
        yield Finding(
            Status.OK,
            asked,
            f"the issuer {loggable_url(metadata['issuer'])}, secure endpoints, and the accepted "
            f"algorithms {algorithms}",
        )


def examine_keys(examination: Examination) -> Iterator[Finding]:
    """Ask for the keys that verify tokens."""
    metadata = examination.metadata
    assert not isinstance(metadata, CiamError)
    asked = f"the keys at {loggable_url(metadata['jwks_uri']) or 'jwks_uri of the metadata'}"
    try:
        keys = fetch_keys(examination.client, metadata)
    except CiamError as error:
        yield _failure(asked, error, "CIAM must publish its signing keys there as JSON (JWKS).")
        return
    algorithms = usable_algorithms(keys, metadata)
    accepted = ", ".join(metadata["id_token_signing_alg_values_supported"])
    if algorithms:
        yield Finding(Status.OK, asked, f"keys for {', '.join(algorithms)}")
    else:
        yield Finding(
            Status.ERROR,
            asked,
            f"keys, of which none is for {accepted}",
            "Choose one of these signing algorithms for the application at CIAM.",
        )


def examine_application_token(examination: Examination) -> Iterator[Finding]:
    """Ask CIAM's API for an application token, with client id and secret."""
    app = examination.client
    url = loggable_url(str(app.api_base_url))
    asked = f"an application token from CIAM's API at {url or 'api_base_url'}"
    try:
        seconds = request_application_token(app)
    except CiamError as error:
        # Without a status there was no call, because the address is no URL.
        is_refused = error.upstream_status is not None and (
            error.code == "bad_configuration" or error.code in REFUSED_CLIENT_CODES
        )
        members = '"client_id" and "client_secret"' if is_refused else '"api_base_url"'
        yield _failure(
            asked,
            error,
            f"Correct {members} in {_CLIENT}: CIAM's console shows the values, and the permission "
            "of the application for the API (scope APPLICATION_API).",
        )
    else:
        yield Finding(Status.OK, asked, f"a token for {seconds} seconds")


def examine_client(examination: Examination) -> Iterator[Finding]:
    """Ask the token endpoint if it accepts the client, with a code that does not exist."""
    app, asked = examination.client, "the token endpoint, with a code that does not exist"
    error = try_token_endpoint(app, examination.callback)
    if error is None:
        yield Finding(
            Status.ERROR,
            asked,
            "a token",
            "This server gives everybody a token. Correct the addresses in the client.",
        )
    elif error.code in REFUSED_CLIENT_CODES:
        yield Finding(
            Status.ERROR,
            asked,
            failure_text(error),
            f'Correct "client_id" and "client_secret" in {_CLIENT}, or "client_kwargs": '
            '{"token_endpoint_auth_method": ...}: CIAM\'s console shows the values.',
        )
    elif error.code == REFUSED_CODE:
        yield Finding(Status.OK, asked, f"the refusal of the code ({error}), not of the client")
    elif error.code in (*_NO_ANSWER_CODES, "bad_configuration", "unreadable_answer"):
        yield _failure(
            asked,
            error,
            f'Correct "access_token_url" or "server_metadata_url" in {_CLIENT}: a token endpoint '
            "answers with JSON.",
        )
    else:
        yield Finding(
            Status.WARNING,
            asked,
            failure_text(error),
            "This code does not show if CIAM has accepted the client. Sign in once to make sure.",
        )


def examine_authorize_page(examination: Examination) -> Iterator[Finding]:
    """Open CIAM's login page, and find out if CIAM refuses the redirect URI."""
    callback = examination.callback
    asked = f"CIAM's login page, with the redirect URI {loggable_url(callback)}"
    try:
        answer = open_authorize_page(examination.client, callback)
    except CiamError as error:
        yield _failure(
            asked, error, f'Correct "authorize_url" or "server_metadata_url" in {_CLIENT}.'
        )
        return
    found = f"HTTP status {answer.status}"
    if answer.code:
        found = f"{found}, with the code {loggable_code(answer.code)}"
    if answer.to_callback and not answer.code:
        yield Finding(Status.OK, asked, f"{found}, a redirect to the callback")
    elif answer.to_callback:
        yield Finding(
            Status.ERROR,
            asked,
            f"{found}, in a redirect to the callback",
            f'CIAM knows the redirect URI, and refuses the request. Correct "scope" in '
            f'"client_kwargs" of {_CLIENT}, or the settings of the application at CIAM.',
        )
    elif answer.code or answer.status >= 400:
        advice = f"Register exactly {loggable_url(callback)} as redirect URI of the application."
        if not examination.has_own_callback:
            advice += (
                " The host is a guess from ALLOWED_HOSTS: set CIAM_CALLBACK_URL to the address at "
                "CIAM, and ask again."
            )
        status = Status.ERROR if examination.has_own_callback else Status.WARNING
        yield Finding(status, asked, f"{found}: CIAM refuses the client or the URI", advice)
    else:
        yield Finding(Status.OK, asked, f"{found}, no refusal")


def examine_clock(examination: Examination) -> Iterator[Finding]:
    """Compare this machine's clock with the clock of CIAM's server."""
    asked = "the time of CIAM's server, in its header Date"
    advice = "Synchronize the clock of this machine (NTP)."
    try:
        difference = clock_difference(examination.client)
    except CiamError as error:
        if error.code == "bad_configuration":
            advice = f"Correct the addresses in {_CLIENT}."
        yield _failure(asked, error, advice)
        return
    if difference is None:
        yield Finding(Status.WARNING, asked, "no time that can be read", advice)
        return
    word = "ahead of" if difference > 0 else "behind"
    found = f"a clock that is {abs(difference):.0f} seconds {word} this machine's"
    limit = f"Above {LEEWAY} seconds, each id_token is refused."
    if abs(difference) > LEEWAY:
        yield Finding(Status.ERROR, asked, found, f"{advice} {limit}")
    elif abs(difference) > _GOOD_SECONDS:
        yield Finding(Status.WARNING, asked, found, f"{advice} {limit}")
    else:
        yield Finding(Status.OK, asked, found)
