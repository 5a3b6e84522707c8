"""Verify the logout tokens with which CIAM reports the end of a session."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from ciam_django.client.envelope import LEEWAY
from ciam_django.errors import CiamError, Stage, raising_ciam_errors
from ciam_django.lazy_modules import LazyModule
from ciam_django.privacy import own_text

if TYPE_CHECKING:
    from joserfc import jwt

    from ciam_django.client.oauth import CiamApp
else:
    jwt = LazyModule("joserfc.jwt")

# Seconds after `iat` for which a logout token is accepted, unless its `exp` is earlier. Providers
# have sent `exp` only since 2023, so that a token can lack `exp`.
MAX_AGE: Final = 600
_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
_LOGOUT_TOKEN_TYPES: Final = frozenset({"jwt", "logout+jwt", "application/logout+jwt"})
_LONGEST: Final = 8192
_LONGEST_NAME: Final = 255


def verify_logout_token(app: CiamApp, logout_token: str) -> dict[str, Any]:
    """Return the verified claims of a logout token.

    The rules are those of OpenID Connect Back-Channel Logout 1.0, sections 2.4 and 2.6.

    A token that fails a check, and a failed call for the metadata or the keys, raise a
    ``CiamError``. The caller checks that ``jti`` is new.
    """
    if len(logout_token) > _LONGEST:
        raise CiamError("invalid_logout_token", stage=Stage.LOGOUT)
    with raising_ciam_errors(Stage.LOGOUT):
        metadata = app.load_server_metadata()
        token = app.verify_signature(logout_token, metadata)
        jwt.JWTClaimsRegistry(
            leeway=LEEWAY,
            iss={"essential": True, "value": metadata["issuer"]},
            aud={"essential": True, "value": app.client_id},
            iat={"essential": True},
        ).validate(token.claims)
        if defect := next((name for name, is_wrong in _DEFECTS.items() if is_wrong(token)), ""):
            raise CiamError(
                "invalid_logout_token", upstream_text=own_text(f"invalid members: {defect}")
            )
        return dict(token.claims)


def _is_identifier(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME and value.isprintable()


def _is_logout_event(events: object) -> bool:
    return isinstance(events, dict) and isinstance(events.get(_EVENT), dict)


def _sub_and_sid(token: jwt.Token) -> list[object]:
    return [token.claims[name] for name in ("sub", "sid") if name in token.claims]


# Claim -> test for a defect, of a token whose issuer, audience and expiry have been checked.
_DEFECTS: Final[Mapping[str, Callable[[jwt.Token], bool]]] = {
    # A token of another type must not pass for a logout token.
    "typ": lambda token: str(token.header.get("typ", "JWT")).lower() not in _LOGOUT_TOKEN_TYPES,
    "nonce": lambda token: "nonce" in token.claims,
    "events": lambda token: not _is_logout_event(token.claims.get("events")),
    "jti": lambda token: not _is_identifier(token.claims.get("jti")),
    "sub and sid": lambda token: (
        not (_sub_and_sid(token) and all(map(_is_identifier, _sub_and_sid(token))))
    ),
    "iat": lambda token: token.claims["iat"] < time.time() - MAX_AGE,
}
