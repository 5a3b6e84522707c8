"""CIAM's token answer in, ``Tokens`` out; kept sealed, so that a copied database opens nothing."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from typing import Any, Final

from cryptography.fernet import InvalidToken

from ciam_django.client.crypto import fernet_for
from ciam_django.errors import CiamError, Stage
from ciam_django.privacy import clear_frames_on_error

# The key of stored tokens depends on this text: another text makes them unreadable.
_PURPOSE: Final = "ciam_django.accounts.tokens"
# Seconds before its end from which an access token is renewed; of a short life, a tenth.
_REFRESH_MARGIN: Final = 300


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
    refresh_from: float = 0
    expires_at: float = 0
    may_check: bool = False

    @property
    def is_usable(self) -> bool:
        """Whether the access token can be used."""
        return bool(self.access_token) and not 0 < self.expires_at <= time.time()

    def with_session_key(self, session_key: str) -> Tokens:
        """The same, for Django's session under its new key."""
        return dataclasses.replace(self, session_key=session_key)

    @property
    def is_refresh_due(self) -> bool:
        """Whether it is time to renew it."""
        return 0 < self.refresh_from <= time.time()


@clear_frames_on_error
def updated_tokens(tokens: Tokens, token_response: Mapping[str, Any]) -> Tokens:
    """The tokens with those of a token answer in their place (RFC 6749, 5.1 and 6).

    An answer that has no refresh token leaves the one that there is.
    """
    expires_in = token_response.get("expires_in")
    is_number = isinstance(expires_in, int | float) and not isinstance(expires_in, bool)
    seconds: float = max(expires_in or 0, 0) if is_number else 0
    now = time.time()
    return dataclasses.replace(
        tokens,
        access_token=token_response["access_token"],
        refresh_token=_text(token_response.get("refresh_token")) or tokens.refresh_token,
        id_token=_text(token_response.get("id_token")) or tokens.id_token,
        refresh_from=now + max(seconds - _REFRESH_MARGIN, seconds * 0.9) if seconds else 0,
        expires_at=now + seconds if seconds else 0,
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


@clear_frames_on_error
def encrypted_tokens(tokens: Tokens) -> str:
    """As only this project can read it, by ``SECRET_KEY``."""
    content = json.dumps(dataclasses.asdict(tokens)).encode()
    return fernet_for(_PURPOSE).encrypt(content).decode()


@clear_frames_on_error
def decrypted_tokens(encrypted: str) -> Tokens:
    """What was sealed, by ``SECRET_KEY`` or one of its fallbacks; ``session_ended`` if by none."""
    try:
        return Tokens(**json.loads(fernet_for(_PURPOSE).decrypt(encrypted)))
    except (InvalidToken, ValueError, TypeError) as error:
        raise CiamError("session_ended", stage=Stage.REFRESH) from error
