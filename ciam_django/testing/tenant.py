"""``Tenant``: the keys, codes and tokens of a fake CIAM, and what is planned to go wrong."""

from __future__ import annotations

import abc
import hashlib
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Final

from joserfc.jwk import RSAKey

from ciam_django.testing import keys
from ciam_django.testing.failures import STAGES, Failure, Misbehaviour, one_of

PREFIX: Final = "/api/bff/v1.2/developer/ciam/"
APP_ID: Final = "fake_app_0001"
CLIENT_SECRET: Final = "fake-client-secret"  # noqa: S105  (it opens nothing but the fake)
# Seconds: longer than anybody waits.
PATIENCE: Final = 30.0


@dataclass
class SignIn:
    """One person's sign-in, from the authorize page on."""

    username: str
    redirect_uri: str
    scope: str
    nonce: str
    code_challenge: str
    began: float = field(default_factory=time.monotonic)
    # stage -> what the person typed to happen there, and nowhere else.
    planned: dict[str, Failure | Misbehaviour] = field(default_factory=dict)

    @property
    def user_id(self) -> str:
        """The same for the same name, as CIAM's is."""
        return hashlib.sha256(f"user {self.username}".encode()).hexdigest()[:24]

    @property
    def profile(self) -> dict[str, Any]:
        """What the fake knows of the person."""
        return {
            "name": self.username.title(),
            "preferred_username": self.username,
            "email": f"{self.username}@example.com",
        }


class Tenant(abc.ABC):
    """What a fake CIAM knows, wherever it listens."""

    ca_file: str | None = None

    @property
    @abc.abstractmethod
    def url(self) -> str:
        """Where it listens, without a path: ``http://127.0.0.1:54321``."""

    def __init__(self) -> None:
        self.redirect_uris: set[str] = set()
        self.seconds = PATIENCE
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Forget what it was told to do, and all that has happened."""
        self.key: RSAKey = keys.first_key()
        # RFC 9207: whether it names itself in what it sends to the callback, and says that it does.
        self.sends_issuer = False
        self.id_token_claims: dict[str, Any] = {}
        self.id_token_header: dict[str, Any] = {}
        self.codes: dict[str, SignIn] = {}
        self.access_tokens: dict[str, SignIn] = {}
        self.refresh_tokens: dict[str, SignIn] = {}
        self._planned: dict[str, list[tuple[Failure | Misbehaviour, int | None]]] = {}

    @property
    def issuer(self) -> str:
        """The ``iss`` of its tokens."""
        return self.address(f"oidc/{APP_ID}")

    def address(self, path: str) -> str:
        """The address of a path below CIAM's prefix."""
        return f"{self.url}{PREFIX}{path}"

    def client(self, mode: str = "oidc") -> dict[str, Any]:
        """What belongs into ``AUTHLIB_OAUTH_CLIENTS["ciam"]``, for mode ``oidc`` or ``ciam``."""
        client: dict[str, Any] = {
            "client_id": APP_ID,
            "client_secret": CLIENT_SECRET,
            "api_base_url": self.url,
        }
        if one_of("mode", mode, ("oidc", "ciam")) == "oidc":
            client["server_metadata_url"] = f"{self.issuer}/.well-known/openid-configuration"
        else:
            client["authorize_url"] = self.address("oauth/authorize")
            client["access_token_url"] = self.address("oauth/token")
        if self.ca_file:
            client["client_kwargs"] = {"verify": self.ca_file}
        return client

    def plan(self, stage: str, what: Failure | Misbehaviour, *, times: int | None) -> None:
        """Have something happen at a stage so many times, after what is planned already."""
        one_of("stage", stage, STAGES)
        if times is not None and times < 1:
            raise ValueError(f"times is {times!r}, must be 1 or more, or None: until reset().")
        with self._lock:
            self._planned.setdefault(stage, []).append((what, times))

    def rotate_keys(self) -> None:
        """Sign with a new key from now on; the old one is no longer published."""
        self.key = keys.new_key()

    def sign_id_token(self, sign_in: SignIn) -> str:
        """The id_token of a sign-in, with ``id_token_claims`` and ``id_token_header`` over it.

        A value of None takes the claim away.
        """
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": sign_in.user_id,
            "aud": APP_ID,
            "iat": now,
            "auth_time": now,
            "exp": now + 3600,
            "nonce": sign_in.nonce,
            **sign_in.profile,
            **self.id_token_claims,
        }
        header = {"alg": "RS256", "kid": self.key.kid, "typ": "JWT", **self.id_token_header}
        return keys.signed(
            {name: value for name, value in header.items() if value is not None},
            {name: value for name, value in claims.items() if value is not None},
            self.key,
        )

    def next_planned(self, stage: str) -> Failure | Misbehaviour | None:
        """What is planned for the next request of a stage, taken off the plan."""
        with self._lock:
            return self._taken(stage)

    def _taken(self, stage: str) -> Failure | Misbehaviour | None:
        planned = self._planned.get(stage)
        if not planned:
            return None
        what, times = planned[0]
        if times is not None:
            planned[0] = (what, times - 1)
            if times <= 1:
                planned.pop(0)
        return what
