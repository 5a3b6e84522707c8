"""Verify access tokens, by a call to CIAM or by CIAM's signature."""

from __future__ import annotations

import base64
import contextlib
import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ciam_django.client.api import CiamClient
from ciam_django.client.envelope import LEEWAY
from ciam_django.client.person import (
    APPLICATION_CLAIMS,
    Person,
    checked_person,
    identify_token_holder,
    names_in,
)
from ciam_django.conf import conf
from ciam_django.errors import CiamError, Stage, raising_ciam_errors
from ciam_django.lazy_modules import LazyModule
from ciam_django.privacy import clear_frames_on_error, own_text

if TYPE_CHECKING:
    from joserfc import errors as joserfc_errors
    from joserfc import jwt

    from ciam_django.client.oauth import CiamApp
else:
    joserfc_errors = LazyModule("joserfc.errors")
    jwt = LazyModule("joserfc.jwt")

# The claims of an id_token (OpenID Connect Core 1.0, section 2) and of a logout token (OpenID
# Connect Back-Channel Logout 1.0, section 2.4).
_CLAIMS_OF_OTHER_TOKENS: Final = frozenset({"nonce", "at_hash", "events"})
# The names of the scopes in a token and in CIAM's answers.
_SCOPE_CLAIMS: Final = ("scope", "scp")
# CIAM's names of a user's id.
_USER_ID_MEMBERS: Final = ("userId", "uuid")
# RFC 9068, section 2.1. A token of another type has another purpose (RFC 8725, section 3.11).
_ACCESS_TOKEN_TYPES: Final = frozenset({"at+jwt", "application/at+jwt"})
_GENERIC_TYPES: Final = frozenset({"", "jwt"})
# The errors that Python raises for a text that is not a token of CIAM. joserfc raises JoseError.
_PYTHON_ERRORS: Final = (ValueError, TypeError, LookupError, RecursionError)


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """The grant of a token; ``expires_at`` is in seconds since the epoch, 0 if unknown."""

    person: Person
    scopes: frozenset[str]
    expires_at: float


@clear_frames_on_error
def verify_token_at_ciam(app: CiamApp, token: str) -> TokenInfo:
    """Return the grant of a token that CIAM accepts (``user/token/check``).

    Raises ``CiamError``: ``invalid_token`` for an expired token, a token of another person or a
    token for another application, or the error of the call.

    The claims in the token itself are unproven before CIAM has accepted the token, and can only
    lead to a refusal. Afterwards the claims are proven, because the issuer has checked the token as
    a whole. CIAM's documented answer has no data, so that the scopes are those of the token's
    ``scope``, unless CIAM's answer has scopes.
    """
    own_claims = _claims_in(token)
    _check_claims(app, own_claims)
    ciam_data = CiamClient(app).user_check(token)
    _check_claims(app, own_claims, ciam_data, requires_audience=True)
    person = identify_token_holder(app, token)
    check_token_data(ciam_data, person.subject, person.claims)
    expiries = [_expiry_in(own_claims), _expiry_in(ciam_data)]
    names_scopes = any(ciam_data.get(member) is not None for member in _SCOPE_CLAIMS)
    return TokenInfo(
        person=person,
        scopes=_scopes_in(ciam_data if names_scopes else own_claims),
        expires_at=min((expiry for expiry in expiries if expiry), default=0),
    )


def check_token_data(
    ciam_data: Mapping[str, Any], subject: str, claims: Mapping[str, Any] | None = None
) -> None:
    """Raise ``invalid_token`` if CIAM's answer about a token names another person.

    ``subject`` and ``claims`` are those of the person who should have the token. CIAM does not
    document these members of its answer.
    """
    own_ids = [subject, *((claims or {}).get(member) for member in _USER_ID_MEMBERS)]
    named = [ciam_data.get(member) for member in ("sub", *_USER_ID_MEMBERS)]
    if any(name not in own_ids for name in named if name not in (None, "")):
        raise CiamError(
            "invalid_token", upstream_text=own_text("the token is the token of another person")
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
                upstream_text=own_text("CIAM's own mode publishes no keys"),
            )
        metadata = app.load_server_metadata()
        issuer = metadata["issuer"]
        try:
            verified = app.verify_signature(token, metadata)
            registry = jwt.JWTClaimsRegistry(
                leeway=LEEWAY,
                iss={"essential": True, "value": issuer},
                sub={"essential": True},
                exp={"essential": True},
            )
            registry.validate(verified.claims)
        except (joserfc_errors.JoseError, *_PYTHON_ERRORS) as error:
            raise CiamError(
                "invalid_token", upstream_text=own_text(type(error).__name__)
            ) from error
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
    except (CiamError, joserfc_errors.JoseError, *_PYTHON_ERRORS):
        return False
    return True


def _claims_in(token: str) -> Mapping[str, Any]:
    """Return the claims of a JWT without a check; empty if the token is not a readable JWT."""
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
        raise CiamError(
            "invalid_token", upstream_text=own_text("the type is not that of an access token")
        )


def _check_claims(
    app: CiamApp, *claim_sets: Mapping[str, Any], requires_audience: bool = False
) -> None:
    """Raise ``invalid_token`` for a token of another kind, another audience, or an expired token.

    If ``requires_audience`` is True, also raise ``invalid_token`` for a token without an audience,
    which could be a token of another application.
    """
    if any(not claims.keys().isdisjoint(_CLAIMS_OF_OTHER_TOKENS) for claims in claim_sets):
        raise CiamError("invalid_token", upstream_text=own_text("the token is not an access token"))
    allowed = {app.client_id, *conf.CIAM_BEARER_AUDIENCES}
    audiences = {
        name
        for claims in claim_sets
        for member in APPLICATION_CLAIMS
        for name in names_in(claims.get(member))
    }
    if "*" not in allowed and (audiences - allowed or (requires_audience and not audiences)):
        raise CiamError("invalid_token", upstream_text=own_text("the audience is wrong or missing"))
    if any(0 < _expiry_in(claims) <= time.time() - LEEWAY for claims in claim_sets):
        raise CiamError("invalid_token", upstream_text=own_text("the token has expired"))


def _scopes_in(claims: Mapping[str, Any]) -> frozenset[str]:
    """Return the scopes of ``scope`` and ``scp``, which are lists or texts.

    RFC 9068, section 2.2.3, separates the scopes by spaces. Some providers send a list ``scp``.
    """
    scopes: set[str] = set()
    for value in map(claims.get, _SCOPE_CLAIMS):
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
