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
from ciam_django.client.person import Person, checked_person, identify_token_holder
from ciam_django.conf import conf
from ciam_django.errors import CiamError, Stage, raising_ciam_errors
from ciam_django.privacy import clear_frames_on_error

# By which OAuth and CIAM name whom a token is for, and which application was given it.
_AUDIENCE_CLAIMS: Final = ("aud", "azp", "client_id", "clientId", "idaasAppId")
# Of an id_token (OpenID Connect Core 1.0, 2) or a logout token (Back-Channel Logout 1.0, 2.4).
_CLAIMS_OF_OTHER_TOKENS: Final = frozenset({"nonce", "at_hash", "events"})
# RFC 9068, 2.1; a token of any other type than these is for something else (RFC 8725, 3.11).
_ACCESS_TOKEN_TYPES: Final = frozenset({"at+jwt", "application/at+jwt"})
_GENERIC_TYPES: Final = frozenset({"", "jwt"})
# What joserfc and Python raise at what is no token of CIAM's.
_VERIFICATION_ERRORS: Final = (JoseError, ValueError, TypeError, LookupError, RecursionError)


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """What a token is good for; ``expires_at`` is in seconds since the epoch, 0 if not known."""

    person: Person
    scopes: frozenset[str]
    expires_at: float


@clear_frames_on_error
def verify_token_at_ciam(app: CiamApp, token: str) -> TokenInfo:
    """The grant that CIAM tells of (``user/token/check``), or a ``CiamError``.

    What can be read in the token itself is proved by nobody: it can only make things worse.
    """
    unverified = _unverified_claims(token)
    _check_claims(app, unverified)
    ciam_data = CiamClient(app).user_check(token)
    _check_claims(app, unverified, ciam_data, requires_audience=True)
    expiries = [_expiry_in(unverified), _expiry_in(ciam_data)]
    return TokenInfo(
        person=identify_token_holder(app, token),
        scopes=_scopes_in(ciam_data),
        expires_at=min((end for end in expiries if end), default=0),
    )


@clear_frames_on_error
def verify_token_as_jwt(app: CiamApp, token: str) -> TokenInfo:
    """The grant of a JWT that one of CIAM's keys has signed (RFC 9068, 4), or a ``CiamError``."""
    with raising_ciam_errors(Stage.API):
        if not app.is_oidc:
            raise CiamError(
                "bad_configuration",
                upstream_text="CIAM's own mode publishes no keys",
            )
        metadata = app.load_server_metadata()
        issuer = metadata["issuer"]
        try:
            verified = app.verify_signature(token, metadata)
            registry = JWTClaimsRegistry(
                leeway=LEEWAY,
                iss={"essential": True, "value": issuer},
                sub={"essential": True},
                exp={"essential": True},
            )
            registry.validate(verified.claims)
        except _VERIFICATION_ERRORS as error:
            raise CiamError("invalid_token", upstream_text=type(error).__name__) from error
        claims = verified.claims
        _check_type(verified.header, claims)
        _check_claims(app, claims, requires_audience=True)
        return TokenInfo(
            person=checked_person(app, issuer, claims["sub"], claims, Stage.API),
            scopes=_scopes_in(claims),
            expires_at=_expiry_in(claims),
        )


def _unverified_claims(token: str) -> Mapping[str, Any]:
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
    is_plain = kind in _GENERIC_TYPES and not claims.keys().isdisjoint({"scope", "scp"})
    if kind not in _ACCESS_TOKEN_TYPES and not is_plain:
        raise CiamError("invalid_token", upstream_text="it is not typed as an access token")


def _check_claims(
    app: CiamApp, *claim_sets: Mapping[str, Any], requires_audience: bool = False
) -> None:
    """Refuse what is no access token, is for others, or has ended.

    ``has_to_say`` where somebody must be named, or another application's would pass for ours.
    """
    if any(not claims.keys().isdisjoint(_CLAIMS_OF_OTHER_TOKENS) for claims in claim_sets):
        raise CiamError("invalid_token", upstream_text="it is no access token")
    allowed = {app.client_id, *conf.CIAM_BEARER_AUDIENCES}
    audiences = {
        name
        for claims in claim_sets
        for member in _AUDIENCE_CLAIMS
        for name in _audiences_in(claims.get(member))
    }
    if "*" not in allowed and (audiences - allowed or (requires_audience and not audiences)):
        raise CiamError("invalid_token", upstream_text="it is for others, or for nobody named")
    if any(0 < _expiry_in(claims) <= time.time() - LEEWAY for claims in claim_sets):
        raise CiamError("invalid_token", upstream_text="it has expired")


def _audiences_in(value: object) -> frozenset[object]:
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


def _expiry_in(claims: Mapping[str, Any]) -> float:
    value = claims.get("exp")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    with contextlib.suppress(OverflowError):
        return float(value) if math.isfinite(value) else 0
    return 0
