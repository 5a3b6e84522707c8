"""Find the user of a request's bearer token, and cache the result of the token's check."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from django.http import HttpRequest

from ciam_django.accounts.login import authenticate_token_holder
from ciam_django.accounts.rate_limits import count_refused_token, refuse_many_refused_tokens
from ciam_django.accounts.token_refresh import is_access_refused
from ciam_django.answers import kind_of
from ciam_django.client.access_tokens import (
    TokenInfo,
    try_signature,
    verify_token_as_jwt,
    verify_token_at_ciam,
)
from ciam_django.client.app import ciam_app
from ciam_django.client.cache import delete_cached, get_cached, set_cached
from ciam_django.client.circuit_breaker import sharing_one_deadline
from ciam_django.client.crypto import from_stored
from ciam_django.client.person import Person
from ciam_django.conf import conf
from ciam_django.errors import CiamError, Stage
from ciam_django.privacy import clear_frames_on_error, own_text

if TYPE_CHECKING:
    # The stubs know only the one user model of the tests.
    from django.contrib.auth.models import User

    from ciam_django.client.oauth import CiamApp

# RFC 6750, section 2.1.
_HEADER: Final = re.compile(r"(?i:bearer) +([A-Za-z0-9._~+/-]+=*)")
_MAX_LENGTH: Final = 8192
# The maximum of seconds for which a refusal is cached, because CIAM's next response may differ.
_REFUSAL_SECONDS: Final = 5
# The seconds for which a token is remembered as valid.
_REMEMBERED_SECONDS: Final = 86400
# The kinds that describe the account. The person may read the code of these kinds; every other
# refusal becomes ``invalid_token``.
_ACCOUNT_KINDS: Final = ("account_state", "permission")

# The value of CIAM_BEARER -> the function that verifies a token.
_VERIFIERS: Final[Mapping[str, Callable[[CiamApp, str], TokenInfo]]] = {
    "check": verify_token_at_ciam,
    "jwt": verify_token_as_jwt,
}


@dataclasses.dataclass(frozen=True, slots=True)
class Bearer:
    """The scopes of a token and the claims of its person, without the token itself."""

    scopes: frozenset[str]
    claims: Mapping[str, Any] = dataclasses.field(repr=False)


@clear_frames_on_error
@sharing_one_deadline
def user_and_bearer(request: HttpRequest) -> tuple[User, Bearer] | None:
    """Return the user and the ``Bearer`` of the request's bearer token; None without a token.

    The first request of a person creates an identity and a user. Raises ``CiamError``:
    ``invalid_token``, CIAM's code for the state of the account, ``too_many_requests``, or the error
    of a failed call to CIAM.
    """
    token = _presented_token(request)
    if token is None:
        return None
    grant = _get_or_verify_grant(request, token)
    user = authenticate_token_holder(request, grant.person)
    return user, Bearer(grant.scopes, grant.person.claims)


def _presented_token(request: HttpRequest) -> str | None:
    """Return the token of the ``Authorization`` header (RFC 6750, section 2.1).

    Return None if the header is missing or has another scheme; raise ``invalid_token`` if the token
    is malformed or too long. A token in the URL or in a form is ignored (RFC 9700, section 4.3.2).
    """
    header: str = request.META.get("HTTP_AUTHORIZATION", "")
    if [scheme.casefold() for scheme in header.split(maxsplit=1)[:1]] != ["bearer"]:
        return None
    match = _HEADER.fullmatch(header)
    if match is None or len(match[1]) > _MAX_LENGTH:
        raise CiamError("invalid_token", stage=Stage.API)
    return match[1]


def _get_or_verify_grant(request: HttpRequest, token: str) -> TokenInfo:
    """Return the grant of the token, from the cache or from a check that is cached.

    A refused token is counted. Raises the ``CiamError`` of a rejected token, also from the cache,
    ``too_many_requests`` above the rate limit, or the error of a failed check, which is not cached.

    The limit must not refuse a valid token because of other clients at the same address. So a
    signature is checked before the limit. A check at CIAM comes after the limit, unless the token
    was valid before or has CIAM's signature.
    """
    key = _cache_key(token)
    cached = _cached_result(key)
    if isinstance(cached, CiamError):
        raise cached
    if cached is not None:
        return cached
    is_checked_at_ciam = conf.CIAM_BEARER == "check"
    if is_checked_at_ciam:
        _refuse_above_limit(request, token)
    try:
        grant = _verify_token(token)
    except CiamError as error:
        refusal = _refusal(error)
        if refusal is None:
            error.stage = Stage.API
            raise
        _cache_result(key, {"code": refusal.code, "type_code": refusal.type_code}, _REFUSAL_SECONDS)
        delete_cached(_remembered_key(token))
        count_refused_token(request)
        raise refusal from error
    if is_checked_at_ciam:
        remember_token(token)
    _cache_result(
        key,
        {**dataclasses.asdict(grant), "scopes": sorted(grant.scopes)},
        grant.expires_at - time.time() if grant.expires_at else conf.CIAM_BEARER_SECONDS,
    )
    return grant


def _refuse_above_limit(request: HttpRequest, token: str) -> None:
    """Raise ``too_many_requests`` above the rate limit.

    A token that was valid before, or that CIAM has signed, is not refused.
    """
    try:
        refuse_many_refused_tokens(request)
    except CiamError:
        if not (is_remembered_token(token) or try_signature(ciam_app(), token)):
            raise


def _verify_token(token: str) -> TokenInfo:
    """Verify the token as ``CIAM_BEARER`` says; raise ``bad_configuration`` for another value."""
    verify = _VERIFIERS.get(conf.CIAM_BEARER)
    if verify is None:
        raise CiamError(
            "bad_configuration", upstream_text=own_text("CIAM_BEARER: see manage.py check")
        )
    return verify(ciam_app(), token)


def _refusal(error: CiamError) -> CiamError | None:
    """Return the error for the client; None if the error is not about the token or the account."""
    has_no_person = error.code == "nobody_named"
    if not (has_no_person or is_access_refused(error) or kind_of(error) in _ACCOUNT_KINDS):
        return None
    is_about_account = kind_of(error) in _ACCOUNT_KINDS
    code = error.code if is_about_account else "invalid_token"
    return CiamError(
        code,
        type_code=error.type_code if error.code == code else error.code,
        upstream_text=error.upstream_text,
        request_id=error.request_id,
        upstream_status=error.upstream_status,
        stage=Stage.API,
    )


# --- Tokens that were valid before -------------------------------------------------------------


def remember_token(token: str) -> None:
    """Remember that CIAM has issued or accepted the access token or refresh token.

    The rate limits of an address do not refuse a remembered token. The token itself is not stored.
    """
    set_cached(_remembered_key(token), 1, seconds=_REMEMBERED_SECONDS)


def is_remembered_token(token: str) -> bool:
    """Return True if the token is remembered; False if the cache fails."""
    return bool(get_cached(_remembered_key(token)))


def _remembered_key(token: str) -> str:
    return f"ciam_django.valid_token.{hashlib.sha256(token.encode(errors='replace')).hexdigest()}"


# --- The cache of results ----------------------------------------------------------------------


def _cache_key(token: str) -> str:
    """Return a digest of the token and of the settings that the check depends on.

    The digest hides the token from other readers of the cache. A cached result outlives a change
    of the settings, so that the settings are a part of the key.
    """
    app = ciam_app()
    parts = [conf.CIAM_BEARER, app.client_id, *conf.CIAM_BEARER_AUDIENCES]
    parts += [str(app._server_metadata_url or app.access_token_url), token]
    return f"ciam_django.bearer.{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}"


@dataclasses.dataclass(frozen=True, slots=True)
class _CachedGrant:
    """A ``TokenInfo`` as the cache stores it."""

    person: Mapping[str, Any] = dataclasses.field(repr=False)
    scopes: list[str]
    expires_at: float


def _cache_result(key: str, result: Mapping[str, Any], seconds: float) -> None:
    """Store the result for ``seconds``, but not longer than ``CIAM_BEARER_SECONDS``."""
    lifetime = int(min(seconds, conf.CIAM_BEARER_SECONDS))
    if lifetime > 0:
        set_cached(key, result, seconds=lifetime)


def _cached_result(key: str) -> TokenInfo | CiamError | None:
    """Return the cached grant or the cached refusal; None if neither is cached or still valid."""
    cached = get_cached(key) if conf.CIAM_BEARER_SECONDS > 0 else None
    if isinstance(cached, dict) and isinstance(cached.get("code"), str):
        return CiamError(cached["code"], type_code=cached.get("type_code", ""), stage=Stage.API)
    grant = from_stored(_CachedGrant, cached)
    person = from_stored(Person, grant.person) if grant else None
    if grant is None or person is None or 0 < grant.expires_at <= time.time():
        return None
    return TokenInfo(person, frozenset(grant.scopes), grant.expires_at)
