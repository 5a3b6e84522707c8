"""An access token in, whose it is and what for out: as CIAM says, or as CIAM has signed it."""

from __future__ import annotations

import base64
import contextlib
import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from joserfc.errors import JoseError
from joserfc.jwt import JWTClaimsRegistry

from ciam_django.client.api import CiamClient
from ciam_django.client.oauth import LEEWAY, CiamApp
from ciam_django.client.person import Person, holder_of, named_person
from ciam_django.conf import conf
from ciam_django.errors import CiamError, raising_ciam_errors
from ciam_django.privacy import leaving_no_values

# By which OAuth and CIAM name whom a token is for, and which application was given it.
_AUDIENCES: Final = ("aud", "azp", "client_id", "clientId", "idaasAppId")
# Of an id_token (OpenID Connect Core 1.0, 2) or a logout token (Back-Channel Logout 1.0, 2.4).
_NOT_OF_ACCESS: Final = frozenset({"nonce", "at_hash", "events"})
# RFC 9068, 2.1; a token of any other type than these is for something else (RFC 8725, 3.11).
_TYPES: Final = frozenset({"at+jwt", "application/at+jwt"})
_NO_TYPE: Final = frozenset({"", "jwt"})
# What joserfc and Python raise at what is no token of CIAM's.
_NOT_PROVEN: Final = (JoseError, ValueError, TypeError, LookupError, RecursionError)


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token is good for; ``expires_at`` is in seconds since the epoch, 0 if not known."""

    person: Person
    scopes: frozenset[str]
    expires_at: float


@leaving_no_values
def checked_grant(app: CiamApp, token: str) -> Grant:
    """The grant that CIAM tells of (``user/token/check``), or a ``CiamError``.

    What can be read in the token itself is proved by nobody: it can only make things worse.
    """
    written = claims_in(token)
    _check_fit(app, written)
    told = CiamClient(app).user_check(token)
    _check_fit(app, written, told, has_to_say=True)
    ends = [_ends_at(written), _ends_at(told)]
    return Grant(
        person=holder_of(app, token),
        scopes=_scopes_in(told),
        expires_at=min((end for end in ends if end), default=0),
    )


@leaving_no_values
def proven_grant(app: CiamApp, token: str) -> Grant:
    """The grant of a JWT that one of CIAM's keys has signed (RFC 9068, 4), or a ``CiamError``."""
    with raising_ciam_errors("api"):
        if not app.is_oidc:
            raise CiamError(
                "bad_configuration",
                upstream_text="CIAM's own mode publishes no keys",
            )
        issuer = app.load_server_metadata()["issuer"]
        try:
            proven = app.proven(token)
            registry = JWTClaimsRegistry(
                leeway=LEEWAY,
                iss={"essential": True, "value": issuer},
                sub={"essential": True},
                exp={"essential": True},
            )
            registry.validate(proven.claims)
        except _NOT_PROVEN as error:
            raise CiamError("invalid_token", upstream_text=type(error).__name__) from error
        claims = proven.claims
        _check_type(proven.header, claims)
        _check_fit(app, claims, has_to_say=True)
        return Grant(
            person=named_person(app, issuer, claims["sub"], claims, "api"),
            scopes=_scopes_in(claims),
            expires_at=_ends_at(claims),
        )


def claims_in(token: str) -> Mapping[str, Any]:
    """What a JWT says, believed by nobody; nothing if it is none that can be read."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    with contextlib.suppress(ValueError, RecursionError):
        padded = parts[1] + "=" * (-len(parts[1]) % 4)
        claims = json.loads(base64.urlsafe_b64decode(padded))
        if isinstance(claims, dict):
            return claims
    return {}


def _check_type(header: Mapping[str, Any], claims: Mapping[str, Any]) -> None:
    kind = str(header.get("typ") or "").casefold()
    is_plain = kind in _NO_TYPE and not claims.keys().isdisjoint({"scope", "scp"})
    if kind not in _TYPES and not is_plain:
        raise CiamError("invalid_token", upstream_text="it is not typed as an access token")


def _check_fit(app: CiamApp, *told: Mapping[str, Any], has_to_say: bool = False) -> None:
    """Refuse what is no access token, is for others, or has ended.

    ``has_to_say`` where somebody must be named, or another application's would pass for ours.
    """
    if any(not claims.keys().isdisjoint(_NOT_OF_ACCESS) for claims in told):
        raise CiamError("invalid_token", upstream_text="it is no access token")
    allowed = {app.client_id, *conf.CIAM_BEARER_AUDIENCES}
    named = {
        name for claims in told for member in _AUDIENCES for name in _names_in(claims.get(member))
    }
    if "*" not in allowed and (named - allowed or (has_to_say and not named)):
        raise CiamError("invalid_token", upstream_text="it is for others, or for nobody named")
    if any(0 < _ends_at(claims) <= time.time() - LEEWAY for claims in told):
        raise CiamError("invalid_token", upstream_text="it has expired")


def _names_in(value: object) -> frozenset[object]:
    """Those whom a member names; what can't be read is somebody else."""
    # CIAM's documented tokens have an empty `azp`.
    listed = value if isinstance(value, list) else [value] if value not in (None, "") else []
    return frozenset(each if isinstance(each, str) else object() for each in listed)


def _scopes_in(claims: Mapping[str, Any]) -> frozenset[str]:
    """RFC 9068, 2.2.3: separated by spaces; others write ``scp``, as a list."""
    found: set[str] = set()
    for value in (claims.get("scope"), claims.get("scp")):
        listed = value if isinstance(value, list) else [value]
        found.update(name for each in listed if isinstance(each, str) for name in each.split())
    return frozenset(found)


def _ends_at(claims: Mapping[str, Any]) -> float:
    value = claims.get("exp")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    with contextlib.suppress(OverflowError):
        return float(value) if math.isfinite(value) else 0
    return 0
