"""A logout token in, what it proves out: whom CIAM has signed out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from joserfc import jwt

from ciam_django.client.oauth import LEEWAY, CiamApp
from ciam_django.errors import CiamError, Stage, raising_ciam_errors

# Seconds for which one is looked at, as long as its `exp` allows that.
MAX_AGE: Final = 600
_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
_LOGOUT_TOKEN_TYPES: Final = frozenset({"jwt", "logout+jwt", "application/logout+jwt"})
_LONGEST: Final = 8192
_LONGEST_NAME: Final = 255


def verify_logout_token(app: CiamApp, logout_token: str) -> dict[str, Any]:
    """The proven claims, or a ``CiamError`` (OpenID Connect Back-Channel Logout 1.0, 2.4 and 2.6).

    Whether its ``jti`` comes for the first time is for the caller to say.
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
            exp={"essential": True},
        ).validate(token.claims)
        if defect := next((name for name, is_so in _DEFECTS.items() if is_so(token)), ""):
            raise CiamError("invalid_logout_token", upstream_text=f"wrong: {defect}")
        return dict(token.claims)


def _is_identifier(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME and value.isprintable()


def _is_logout_event(events: object) -> bool:
    return isinstance(events, dict) and isinstance(events.get(_EVENT), dict)


def _sub_and_sid(token: jwt.Token) -> list[object]:
    return [token.claims[name] for name in ("sub", "sid") if name in token.claims]


# What can be wrong where issuer, audience and end are right -> whether it is.
_DEFECTS: Final[Mapping[str, Callable[[jwt.Token], bool]]] = {
    # A token of another kind must not pass for one.
    "typ": lambda it: str(it.header.get("typ", "JWT")).lower() not in _LOGOUT_TOKEN_TYPES,
    "nonce": lambda it: "nonce" in it.claims,
    "events": lambda it: not _is_logout_event(it.claims.get("events")),
    "jti": lambda it: not _is_identifier(it.claims.get("jti")),
    "sub and sid": lambda it: not (_sub_and_sid(it) and all(map(_is_identifier, _sub_and_sid(it)))),
    "iat": lambda it: it.claims["iat"] < time.time() - MAX_AGE,
}
