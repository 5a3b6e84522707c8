"""Verify access tokens, by a call to CIAM or by CIAM's signature."""

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

# The claims with the audience of a token, or with the application that got the token.
_AUDIENCE_CLAIMS: Final = ("aud", "azp", "client_id", "clientId", "idaasAppId")
# The claims of an id_token (OpenID Connect Core 1.0, section 2) and of a logout token (OpenID
# Connect Back-Channel Logout 1.0, section 2.4).
_CLAIMS_OF_OTHER_TOKENS: Final = frozenset({"nonce", "at_hash", "events"})
# RFC 9068, section 2.1. A token of another type has another purpose (RFC 8725, section 3.11).
_ACCESS_TOKEN_TYPES: Final = frozenset({"at+jwt", "application/at+jwt"})
_GENERIC_TYPES: Final = frozenset({"", "jwt"})
# The errors that joserfc and Python raise for a text that is not a token of CIAM.
_VERIFICATION_ERRORS: Final = (JoseError, ValueError, TypeError, LookupError, RecursionError)


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """The grant of a token; ``expires_at`` is in seconds since the epoch, 0 if unknown."""

    person: Person
    scopes: frozenset[str]
    expires_at: float


@clear_frames_on_error
def verify_token_at_ciam(app: CiamApp, token: str) -> TokenInfo:
    """Return the grant of a token that CIAM accepts (``user/token/check``).

    Raises ``CiamError``: ``invalid_token`` for an expired token or a token for another application,
    or the error of the call. The claims in the token itself are unproven: they can only lead to a
    refusal or to an earlier expiry.
    """
    unverified = _unverified_claims(token)
    _check_claims(app, unverified)
    ciam_data = CiamClient(app).user_check(token)
    _check_claims(app, unverified, ciam_data, requires_audience=True)
    expiries = [_expiry_in(unverified), _expiry_in(ciam_data)]
    return TokenInfo(
        person=identify_token_holder(app, token),
        scopes=_scopes_in(ciam_data),
        expires_at=min((expiry for expiry in expiries if expiry), default=0),
    )


@clear_frames_on_error
def verify_token_as_jwt(app: CiamApp, token: str) -> TokenInfo:
    """Return the grant of a JWT that CIAM has signed (RFC 9068, section 4).

    Raises ``CiamError``: ``invalid_token`` if a check fails, ``bad_configuration`` in CIAM's own
    mode, or the error of a failed call for the metadata or the keys.
    """
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


@clear_frames_on_error
def try_signature(app: CiamApp, token: str) -> bool:
    """Return True if the token is a JWT that CIAM has signed; the claims are not checked.

    Return False in CIAM's own mode, which publishes no keys, and if the keys can't be loaded.
    """
    if not app.is_oidc:
        return False
    try:
        app.verify_signature(token, app.load_server_metadata())
    except (CiamError, *_VERIFICATION_ERRORS):
        return False
    return True


def _unverified_claims(token: str) -> Mapping[str, Any]:
    """Return the unproven claims of a JWT; empty if the token is not a readable JWT."""
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
    """Raise ``invalid_token`` unless the type is that of an access token.

    A JWT without a type, or with a generic type, must have a scope.
    """
    kind = str(header.get("typ") or "").casefold()
    is_plain = kind in _GENERIC_TYPES and not claims.keys().isdisjoint({"scope", "scp"})
    if kind not in _ACCESS_TOKEN_TYPES and not is_plain:
        raise CiamError("invalid_token", upstream_text="the type is not that of an access token")


def _check_claims(
    app: CiamApp, *claim_sets: Mapping[str, Any], requires_audience: bool = False
) -> None:
    """Raise ``invalid_token`` for a token of another kind, another audience, or an expired token.

    If ``requires_audience`` is True, also raise ``invalid_token`` for a token without an audience,
    which could be a token of another application.
    """
    if any(not claims.keys().isdisjoint(_CLAIMS_OF_OTHER_TOKENS) for claims in claim_sets):
        raise CiamError("invalid_token", upstream_text="the token is not an access token")
    allowed = {app.client_id, *conf.CIAM_BEARER_AUDIENCES}
    audiences = {
        name
        for claims in claim_sets
        for member in _AUDIENCE_CLAIMS
        for name in _audiences_in(claims.get(member))
    }
    if "*" not in allowed and (audiences - allowed or (requires_audience and not audiences)):
        raise CiamError("invalid_token", upstream_text="the audience is wrong or missing")
    if any(0 < _expiry_in(claims) <= time.time() - LEEWAY for claims in claim_sets):
        raise CiamError("invalid_token", upstream_text="the token has expired")


def _audiences_in(value: object) -> frozenset[object]:
    """Return the audiences in a claim; an unreadable value counts as an unknown audience."""
    # CIAM's documented tokens have an empty `azp`.
    listed = value if isinstance(value, list) else [value] if value not in (None, "") else []
    return frozenset(name if isinstance(name, str) else object() for name in listed)


def _scopes_in(claims: Mapping[str, Any]) -> frozenset[str]:
    """Return the scopes of ``scope`` and ``scp``, which are lists or texts.

    RFC 9068, section 2.2.3, separates the scopes by spaces. Some providers send a list ``scp``.
    """
    scopes: set[str] = set()
    for value in (claims.get("scope"), claims.get("scp")):
        listed = value if isinstance(value, list) else [value]
        scopes.update(name for text in listed if isinstance(text, str) for name in text.split())
    return frozenset(scopes)


def _expiry_in(claims: Mapping[str, Any]) -> float:
    """Return ``exp``, in seconds since the epoch; 0 if it is missing or not a finite number."""
    value = claims.get("exp")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    with contextlib.suppress(OverflowError):
        return float(value) if math.isfinite(value) else 0
    return 0
