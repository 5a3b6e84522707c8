"""CIAM's token answer in, ``Tokens`` out; kept sealed, so that a copied database opens nothing."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from typing import Any, Final

from cryptography.fernet import InvalidToken

from ciam_django.client.crypto import seal_for
from ciam_django.errors import CiamError
from ciam_django.privacy import leaving_no_values

# Seconds before its end from which an access token is renewed; of a short life, a tenth.
_RENEWED_BEFORE: Final = 300


@dataclasses.dataclass(frozen=True, slots=True)
class Tokens:
    """What a session holds of CIAM's; times are in seconds since the epoch, 0 where none is known.

    ``session_key`` is Django's, by which the session can be ended from outside. ``may_check`` says
    whether CIAM can be asked of the access token.
    """

    session_key: str = dataclasses.field(repr=False)
    access_token: str = dataclasses.field(default="", repr=False)
    refresh_token: str = dataclasses.field(default="", repr=False)
    id_token: str = dataclasses.field(default="", repr=False)
    renewed_from: float = 0
    expires_at: float = 0
    may_check: bool = False

    @property
    def is_good(self) -> bool:
        """Whether the access token can be used."""
        return bool(self.access_token) and not 0 < self.expires_at <= time.time()

    def of_session(self, session_key: str) -> Tokens:
        """The same, for Django's session under its new key."""
        return dataclasses.replace(self, session_key=session_key)

    @property
    def is_due(self) -> bool:
        """Whether it is time to renew it."""
        return 0 < self.renewed_from <= time.time()


@leaving_no_values
def with_answer(tokens: Tokens, answer: Mapping[str, Any]) -> Tokens:
    """The tokens with those of a token answer in their place (RFC 6749, 5.1 and 6).

    An answer that has no refresh token leaves the one that there is.
    """
    lasts = answer.get("expires_in")
    is_number = isinstance(lasts, int | float) and not isinstance(lasts, bool)
    seconds: float = max(lasts or 0, 0) if is_number else 0
    now = time.time()
    return dataclasses.replace(
        tokens,
        access_token=answer["access_token"],
        refresh_token=_text(answer.get("refresh_token")) or tokens.refresh_token,
        id_token=_text(answer.get("id_token")) or tokens.id_token,
        renewed_from=now + max(seconds - _RENEWED_BEFORE, seconds * 0.9) if seconds else 0,
        expires_at=now + seconds if seconds else 0,
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


@leaving_no_values
def sealed(tokens: Tokens) -> str:
    """As only this project can read it, by ``SECRET_KEY``."""
    content = json.dumps(dataclasses.asdict(tokens)).encode()
    return seal_for(__name__).encrypt(content).decode()


@leaving_no_values
def unsealed(kept: str) -> Tokens:
    """What was sealed, by ``SECRET_KEY`` or one of its fallbacks; ``session_ended`` if by none."""
    try:
        return Tokens(**json.loads(seal_for(__name__).decrypt(kept)))
    except (InvalidToken, ValueError, TypeError) as error:
        raise CiamError("session_ended", stage="refresh") from error
