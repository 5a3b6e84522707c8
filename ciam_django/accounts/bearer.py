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

from ciam_django.accounts.login import admit_holder
from ciam_django.accounts.rate_limits import forget_token, refuse_excess_tokens
from ciam_django.accounts.token_refresh import ends_session
from ciam_django.answers import kind_of
from ciam_django.client.access_tokens import Grant, checked_grant, proven_grant
from ciam_django.client.cache import share, shared
from ciam_django.client.crypto import seal_for
from ciam_django.client.oauth import CiamApp, ciam_app
from ciam_django.client.person import Person
from ciam_django.conf import conf
from ciam_django.errors import CiamError
from ciam_django.privacy import leaving_no_values

if TYPE_CHECKING:
    # The stubs know only the one user model of the tests.
    from django.contrib.auth.models import User

# RFC 6750, 2.1.
_CREDENTIALS: Final = re.compile(r"(?i:bearer) +([A-Za-z0-9._~+/-]+=*)")
_LONGEST: Final = 8192
# Seconds for which a refusal is remembered, at most: the next answer may be another.
_REFUSED_FOR: Final = 5
# What CIAM says of somebody, which is theirs to know; any other refusal is one of the token.
_OF_PERSONS: Final = ("account_state", "permission")

# CIAM_BEARER -> who proves a token.
_PROOFS: Final[Mapping[str, Callable[[CiamApp, str], Grant]]] = {
    "check": checked_grant,
    "jwt": proven_grant,
}


@dataclasses.dataclass(frozen=True, slots=True)
class Bearer:
    """What a token lets its person do, and what is known of them; not the token itself."""

    scopes: frozenset[str]
    claims: Mapping[str, Any] = dataclasses.field(repr=False)


@leaving_no_values
def user_and_bearer(request: HttpRequest) -> tuple[User, Bearer] | None:
    """Whose bearer token the request has; None where it has none.

    A ``CiamError``: ``invalid_token``, what CIAM says of the account, ``too_many_requests``, or why
    CIAM can't be asked.
    """
    token = _token_in(request)
    if token is None:
        return None
    grant = _grant_of(request, token)
    user = admit_holder(request, grant.person)
    return user, Bearer(grant.scopes, grant.person.claims)


def _token_in(request: HttpRequest) -> str | None:
    """RFC 6750, 2.1; a token in the address or in a form is none (RFC 9700, 4.3.2)."""
    header: str = request.META.get("HTTP_AUTHORIZATION", "")
    if [scheme.casefold() for scheme in header.split(maxsplit=1)[:1]] != ["bearer"]:
        return None
    found = _CREDENTIALS.fullmatch(header)
    if found is None or len(found[1]) > _LONGEST:
        raise CiamError("invalid_token", stage="api")
    return found[1]


def _grant_of(request: HttpRequest, token: str) -> Grant:
    key = _cache_key(token)
    kept = _kept(key)
    if isinstance(kept, CiamError):
        raise kept
    if kept is not None:
        return kept
    refuse_excess_tokens(request)
    try:
        grant = _proven(token)
    except CiamError as error:
        refusal = _refusal(error)
        if refusal is None:
            forget_token(request)
            error.stage = "api"
            raise
        _keep(key, {"code": refusal.code, "type_code": refusal.type_code}, _REFUSED_FOR)
        raise refusal from error
    forget_token(request)
    _keep(
        key,
        {**dataclasses.asdict(grant), "scopes": sorted(grant.scopes)},
        grant.expires_at - time.time() if grant.expires_at else conf.CIAM_BEARER_SECONDS,
    )
    return grant


def _proven(token: str) -> Grant:
    proof = _PROOFS.get(conf.CIAM_BEARER)
    if proof is None:
        raise CiamError("bad_configuration", upstream_text="CIAM_BEARER: see manage.py check")
    return proof(ciam_app(), token)


def _refusal(error: CiamError) -> CiamError | None:
    """The error as one of the token or of its person; None where it says nothing of them."""
    names_nobody = error.code == "nobody_named"
    if not (names_nobody or ends_session(error) or kind_of(error) in _OF_PERSONS):
        return None
    is_of_person = kind_of(error) in _OF_PERSONS
    code = error.code if is_of_person else "invalid_token"
    return CiamError(
        code,
        type_code=error.type_code if error.code == code else error.code,
        upstream_text=error.upstream_text,
        request_id=error.request_id,
        upstream_status=error.upstream_status,
        stage="api",
    )


# --- What is remembered ------------------------------------------------------------------------


def _cache_key(token: str) -> str:
    """A digest of the token and of what judges it: a cache is read by many, and outlives both."""
    app = ciam_app()
    judged_by = [conf.CIAM_BEARER, app.client_id, *conf.CIAM_BEARER_AUDIENCES]
    judged_by += [str(app._server_metadata_url or app.access_token_url), token]
    return f"ciam_django.bearer.{hashlib.sha256(json.dumps(judged_by).encode()).hexdigest()}"


def _keep(key: str, what: Mapping[str, Any], seconds: float) -> None:
    # Sealed: it says who somebody is, and whoever could write it would be anybody.
    lasts = int(min(seconds, conf.CIAM_BEARER_SECONDS))
    if lasts > 0:
        content = json.dumps(what).encode()
        share(key, seal_for(__name__).encrypt(content).decode(), seconds=lasts)


def _kept(key: str) -> Grant | CiamError | None:
    sealed = shared(key) if conf.CIAM_BEARER_SECONDS > 0 else None
    if sealed is None:
        return None
    try:
        kept = json.loads(seal_for(__name__).decrypt(sealed))
    except (InvalidToken, TypeError):
        # Of another project in the same cache, or of a key that has gone.
        return None
    if "code" in kept:
        return CiamError(kept["code"], type_code=kept["type_code"], stage="api")
    ends_at = kept["expires_at"]
    if 0 < ends_at <= time.time():
        return None
    return Grant(Person(**kept["person"]), frozenset(kept["scopes"]), ends_at)
