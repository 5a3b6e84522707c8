"""A request in, the user of its bearer token out: proved once, and remembered for seconds."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from cryptography.fernet import InvalidToken
from django.http import HttpRequest

from ciam_django.accounts.login import authenticate_token_holder
from ciam_django.accounts.rate_limits import count_token_check, uncount_token_check
from ciam_django.accounts.token_refresh import is_access_refused
from ciam_django.answers import kind_of
from ciam_django.client.access_tokens import TokenInfo, verify_token_as_jwt, verify_token_at_ciam
from ciam_django.client.cache import get_cached, set_cached
from ciam_django.client.crypto import fernet_for
from ciam_django.client.oauth import CiamApp, ciam_app
from ciam_django.client.person import Person
from ciam_django.conf import conf
from ciam_django.errors import CiamError, Stage
from ciam_django.privacy import clear_frames_on_error

if TYPE_CHECKING:
    # The stubs know only the one user model of the tests.
    from django.contrib.auth.models import User

# The key of cached results depends on this text.
_PURPOSE: Final = "ciam_django.accounts.bearer"
# RFC 6750, 2.1.
_HEADER: Final = re.compile(r"(?i:bearer) +([A-Za-z0-9._~+/-]+=*)")
_MAX_LENGTH: Final = 8192
# Seconds for which a refusal is remembered, at most: the next answer may be another.
_REFUSAL_SECONDS: Final = 5
# What CIAM says of somebody, which is theirs to know; any other refusal is one of the token.
_ACCOUNT_KINDS: Final = ("account_state", "permission")

# CIAM_BEARER -> who proves a token.
_VERIFIERS: Final[Mapping[str, Callable[[CiamApp, str], TokenInfo]]] = {
    "check": verify_token_at_ciam,
    "jwt": verify_token_as_jwt,
}


@dataclasses.dataclass(frozen=True, slots=True)
class Bearer:
    """What a token lets its person do, and what is known of them; not the token itself."""

    scopes: frozenset[str]
    claims: Mapping[str, Any] = dataclasses.field(repr=False)


@clear_frames_on_error
def user_and_bearer(request: HttpRequest) -> tuple[User, Bearer] | None:
    """Whose bearer token the request has; None where it has none.

    A ``CiamError``: ``invalid_token``, what CIAM says of the account, ``too_many_requests``, or why
    CIAM can't be asked.
    """
    token = _presented_token(request)
    if token is None:
        return None
    grant = _get_or_verify_grant(request, token)
    user = authenticate_token_holder(request, grant.person)
    return user, Bearer(grant.scopes, grant.person.claims)


def _presented_token(request: HttpRequest) -> str | None:
    """RFC 6750, 2.1; a token in the address or in a form is none (RFC 9700, 4.3.2)."""
    header: str = request.META.get("HTTP_AUTHORIZATION", "")
    if [scheme.casefold() for scheme in header.split(maxsplit=1)[:1]] != ["bearer"]:
        return None
    found = _HEADER.fullmatch(header)
    if found is None or len(found[1]) > _MAX_LENGTH:
        raise CiamError("invalid_token", stage=Stage.API)
    return found[1]


def _get_or_verify_grant(request: HttpRequest, token: str) -> TokenInfo:
    key = _cache_key(token)
    cached = _cached_result(key)
    if isinstance(cached, CiamError):
        raise cached
    if cached is not None:
        return cached
    count_token_check(request)
    try:
        grant = _verify_token(token)
    except CiamError as error:
        refusal = _refusal(error)
        if refusal is None:
            uncount_token_check(request)
            error.stage = Stage.API
            raise
        _cache_result(key, {"code": refusal.code, "type_code": refusal.type_code}, _REFUSAL_SECONDS)
        raise refusal from error
    uncount_token_check(request)
    _cache_result(
        key,
        {**dataclasses.asdict(grant), "scopes": sorted(grant.scopes)},
        grant.expires_at - time.time() if grant.expires_at else conf.CIAM_BEARER_SECONDS,
    )
    return grant


def _verify_token(token: str) -> TokenInfo:
    verify = _VERIFIERS.get(conf.CIAM_BEARER)
    if verify is None:
        raise CiamError("bad_configuration", upstream_text="CIAM_BEARER: see manage.py check")
    return verify(ciam_app(), token)


def _refusal(error: CiamError) -> CiamError | None:
    """The error as one of the token or of its person; None where it says nothing of them."""
    names_nobody = error.code == "nobody_named"
    if not (names_nobody or is_access_refused(error) or kind_of(error) in _ACCOUNT_KINDS):
        return None
    is_of_person = kind_of(error) in _ACCOUNT_KINDS
    code = error.code if is_of_person else "invalid_token"
    return CiamError(
        code,
        type_code=error.type_code if error.code == code else error.code,
        upstream_text=error.upstream_text,
        request_id=error.request_id,
        upstream_status=error.upstream_status,
        stage=Stage.API,
    )


# --- What is remembered ------------------------------------------------------------------------


def _cache_key(token: str) -> str:
    """A digest of the token and of what judges it: a cache is read by many, and outlives both."""
    app = ciam_app()
    parts = [conf.CIAM_BEARER, app.client_id, *conf.CIAM_BEARER_AUDIENCES]
    parts += [str(app._server_metadata_url or app.access_token_url), token]
    return f"ciam_django.bearer.{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}"


def _cache_result(key: str, result: Mapping[str, Any], seconds: float) -> None:
    # Sealed: it says who somebody is, and whoever could write it would be anybody.
    lifetime = int(min(seconds, conf.CIAM_BEARER_SECONDS))
    if lifetime > 0:
        content = json.dumps(result).encode()
        set_cached(key, fernet_for(_PURPOSE).encrypt(content).decode(), seconds=lifetime)


def _cached_result(key: str) -> TokenInfo | CiamError | None:
    encrypted = get_cached(key) if conf.CIAM_BEARER_SECONDS > 0 else None
    if encrypted is None:
        return None
    try:
        cached = json.loads(fernet_for(_PURPOSE).decrypt(encrypted))
    except (InvalidToken, TypeError):
        # Of another project in the same cache, or of a key that has gone.
        return None
    if "code" in cached:
        return CiamError(cached["code"], type_code=cached["type_code"], stage=Stage.API)
    ends_at = cached["expires_at"]
    if 0 < ends_at <= time.time():
        return None
    return TokenInfo(Person(**cached["person"]), frozenset(cached["scopes"]), ends_at)
