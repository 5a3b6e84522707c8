"""``Tenant``: the keys, codes and tokens of a fake CIAM, and what is planned to go wrong."""

from __future__ import annotations

import abc
import secrets
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from joserfc.jwk import RSAKey

from ciam_django.testing import keys
from ciam_django.testing.accounts import Accounts, user_id_of
from ciam_django.testing.failures import STAGES, Failure, Misbehaviour, checked_choice

PREFIX: Final = "/api/bff/v1.2/developer/ciam/"
APP_ID: Final = "fake_app_0001"
CLIENT_SECRET: Final = "fake-client-secret"  # noqa: S105  (it opens nothing but the fake)
# The stages whose addresses only the metadata names; the others' are below api_base_url, too.
_OAUTH_STAGES: Final = frozenset({"authorize", "discovery", "jwks", "token", "refresh", "userinfo"})
# Seconds.
TOKEN_LIFETIME: Final = 7200
# Seconds: longer than anybody waits.
SLOW_SECONDS: Final = 30.0


@dataclass
class FakeSignIn:
    """One person's sign-in, from the authorize page on."""

    username: str
    redirect_uri: str
    scope: str
    nonce: str
    code_challenge: str
    started_at: float = field(default_factory=time.monotonic)
    # OpenID Connect Front-Channel Logout 1.0, 3: the session at CIAM.
    sid: str = field(default_factory=lambda: secrets.token_hex(8))
    # stage -> what the person typed to happen there, and nowhere else.
    planned: dict[str, Failure | Misbehaviour] = field(default_factory=dict)

    @property
    def user_id(self) -> str:
        """The same for the same name, as CIAM's is."""
        return user_id_of(self.username)

    @property
    def profile(self) -> dict[str, Any]:
        """What the fake knows of the person."""
        return {
            "name": self.username.title(),
            "preferred_username": self.username,
            "email": f"{self.username}@example.com",
        }


@dataclass(frozen=True, slots=True)
class Forgery:
    """A row of ``forgeries.FORGERIES``: in what a lie differs from what the fake says in truth.

    ``claims`` and ``header`` lie over those of the id_token, ``userinfo`` over that answer's
    members; None takes one away. ``instead`` takes the id_token's place; empty, there is none.
    ``as_ciam`` has the claims that CIAM documents. ``by_stranger`` is signed by a key of somebody
    else's under our key's id. ``is_published`` says whether the key set holds our key.
    """

    claims: Mapping[str, Any] = field(default_factory=dict)
    header: Mapping[str, Any] = field(default_factory=dict)
    userinfo: Mapping[str, Any] = field(default_factory=dict)
    replacement: str | None = None
    with_ciam_claims: bool = False
    with_other_key: bool = False
    is_published: bool = True


class Tenant(abc.ABC):
    """What a fake CIAM knows, wherever it listens."""

    ca_file: str | None = None

    @property
    @abc.abstractmethod
    def url(self) -> str:
        """Where it listens, without a path: ``http://127.0.0.1:54321``."""

    def __init__(self) -> None:
        self.redirect_uris: set[str] = set()
        self.slow_seconds = SLOW_SECONDS
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Forget what it was told to do, and all that has happened."""
        self.key: RSAKey = keys.first_key()
        self.metadata: dict[str, Any] = {}
        self.forgery = Forgery()
        # Stage -> the scheme, host and port that its address has instead of this fake's.
        self.base_urls: dict[str, str] = {}
        # RFC 9207: whether it names itself in what it sends to the callback, and says that it does.
        self.sends_issuer = False
        self.id_token_claims: dict[str, Any] = {}
        self.id_token_header: dict[str, Any] = {}
        self.codes: dict[str, FakeSignIn] = {}
        self.access_tokens: dict[str, FakeSignIn] = {}
        self.refresh_tokens: dict[str, FakeSignIn] = {}
        # Token -> its scopes.
        self.application_tokens: dict[str, frozenset[str]] = {}
        self.accounts = Accounts()
        # Of which of the tenant's applications the access tokens are; whether they are signed with
        # the published key (RFC 9068), as CIAM's samples are not; and what lies over these.
        self.client_id_of_tokens = APP_ID
        self.signs_access_tokens = False
        self.access_token_claims: dict[str, Any] = {}
        self.access_token_header: dict[str, Any] = {}
        # What it says of a token that is good; CIAM's documents don't tell.
        self.token_check: dict[str, Any] = {}
        # Seconds for which an access token is good.
        self.token_lifetime = TOKEN_LIFETIME
        # Whether terms have to be agreed to, and a picture read before a code is sent; what lies
        # over the login page's configuration; and what id_token its API gives: `oidc` or `ciam`.
        self.requires_consents = False
        self.wants_captcha = False
        self.login_page: dict[str, Any] = {}
        self.api_id_token = "oidc"  # noqa: S105  (a kind of token)
        self._planned: dict[str, list[tuple[Failure | Misbehaviour, int | None]]] = {}

    @property
    def issuer(self) -> str:
        """The ``iss`` of its tokens."""
        return self.address(f"oidc/{APP_ID}")

    @property
    def metadata_and_jwks_urls(self) -> tuple[str, str]:
        """The addresses of its metadata and of its keys."""
        directory = f"oidc/{APP_ID}/.well-known"
        return (
            self.address(f"{directory}/openid-configuration", "discovery"),
            self.address(f"{directory}/jwks.json", "jwks"),
        )

    @property
    def cached_document_names(self) -> list[str]:
        """By which ``ciam_django`` keeps what it fetches of this fake, for all processes."""
        kept = ("APPLICATION_API", "MANAGEMENT_APPLICATION_API", "login_page", "consents")
        return [*self.metadata_and_jwks_urls, *(f"{self.url} {APP_ID} {name}" for name in kept)]

    def address(self, path: str, *stages: str) -> str:
        """The address of a path below CIAM's prefix, where the fake claims these stages to be."""
        return f"{self._base_url_of(stages)}{PREFIX}{path}"

    def _base_url_of(self, stages: Iterable[str]) -> str:
        return next((self.base_urls[name] for name in stages if name in self.base_urls), self.url)

    def client(self, mode: str = "oidc") -> dict[str, Any]:
        """What belongs into ``AUTHLIB_OAUTH_CLIENTS["ciam"]``, for mode ``oidc`` or ``ciam``."""
        client: dict[str, Any] = {
            "client_id": APP_ID,
            "client_secret": CLIENT_SECRET,
            "api_base_url": self._base_url_of(set(STAGES) - _OAUTH_STAGES),
        }
        if checked_choice("mode", mode, ("oidc", "ciam")) == "oidc":
            client["server_metadata_url"] = self.metadata_and_jwks_urls[0]
        else:
            client["authorize_url"] = self.address("oauth/authorize", "authorize")
            client["access_token_url"] = self.address("oauth/token", "token", "refresh")
        if self.ca_file:
            client["client_kwargs"] = {"verify": self.ca_file}
        return client

    def plan(self, stage: str, fault: Failure | Misbehaviour, *, times: int | None) -> None:
        """Have something happen at a stage so many times, after what is planned already."""
        checked_choice("stage", stage, STAGES)
        if times is not None and times < 1:
            raise ValueError(f"times is {times!r}, must be 1 or more, or None: until reset().")
        with self._lock:
            self._planned.setdefault(stage, []).append((fault, times))

    def rotate_keys(self) -> None:
        """Sign with a new key from now on; the old one is no longer published."""
        self.key = keys.generate_key()

    def expire_application_tokens(self) -> None:
        """Refuse the application's own tokens from now on, as CIAM does when they are old."""
        self.application_tokens.clear()

    def expire_access_tokens(self) -> None:
        """Refuse the access tokens that people have by now; they can be renewed."""
        self.access_tokens.clear()

    def revoke_tokens(self, username: str) -> None:
        """Refuse all tokens that a person has by now."""
        for tokens in (self.access_tokens, self.refresh_tokens):
            for token in [token for token, it in tokens.items() if it.username == username]:
                del tokens[token]

    @property
    def published_keys(self) -> list[dict[str, Any]]:
        """The key set, for everybody: RFC 7517, 5."""
        key = self.key if self.forgery.is_published else keys.other_key()
        return [dict(key.as_dict(private=False))]

    def sign_id_token(self, sign_in: FakeSignIn, access_token: str) -> str:
        """The id_token of a sign-in, empty for none: the truth, and over it what is forged.

        Over both lie ``id_token_claims`` and ``id_token_header``. None takes a member away.
        """
        forgery = self.forgery
        if forgery.replacement is not None:
            return forgery.replacement
        claims = (
            self.ciam_claims(sign_in)
            if forgery.with_ciam_claims
            else self._honest_claims(sign_in, access_token)
        )
        header = {"alg": "RS256", "kid": self.key.kid, "typ": "JWT"}
        return keys.sign_token(
            _without_none({**header, **forgery.header, **self.id_token_header}),
            _without_none({**claims, **forgery.claims, **self.id_token_claims}),
            keys.other_key() if forgery.with_other_key else self.key,
        )

    def sign_access_token(self, sign_in: FakeSignIn | None, scope: str) -> str:
        """An access token of a sign-in, or of the application's own, to which forgeries apply.

        ``access_token_claims`` and ``access_token_header`` lie over all. None takes one away.
        """
        forgery = self.forgery
        if forgery.replacement:
            return forgery.replacement
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            # RFC 9068, 2.2: without a person, the application.
            "sub": sign_in.user_id if sign_in else self.client_id_of_tokens,
            "aud": self.client_id_of_tokens,
            "client_id": self.client_id_of_tokens,
            "scope": scope,
            "iat": now,
            "exp": now + self.token_lifetime,
            "jti": secrets.token_hex(8),
        }
        header = {"alg": "RS256", "kid": self.key.kid, "typ": "at+jwt"}
        return keys.sign_token(
            _without_none({**header, **forgery.header, **self.access_token_header}),
            _without_none({**claims, **forgery.claims, **self.access_token_claims}),
            keys.other_key() if forgery.with_other_key else self.key,
        )

    def sign_ciam_id_token(self, sign_in: FakeSignIn) -> str:
        """The id_token that CIAM documents, which proves nothing of the person."""
        return keys.sign_token({"alg": "RS256"}, self.ciam_claims(sign_in), self.key)

    def sign_logout_token(self, *, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
        """A logout token for ``ciam:back_channel_logout``, of ``sub``, ``sid`` or both.

        Whatever is given lies over the truth; None takes a member away.
        """
        now = int(time.time())
        honest = {
            "iss": self.issuer,
            "aud": APP_ID,
            "iat": now,
            "exp": now + 120,
            "jti": secrets.token_hex(8),
            # OpenID Connect Back-Channel Logout 1.0, 2.4.
            "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
        }
        own = {"alg": "RS256", "kid": self.key.kid, "typ": "logout+jwt"}
        return keys.sign_token(
            _without_none({**own, **(header or {})}), _without_none({**honest, **claims}), self.key
        )

    def userinfo_of(self, sign_in: FakeSignIn) -> dict[str, Any]:
        """What userinfo says of a person."""
        claims = {"sub": sign_in.user_id, **sign_in.profile}
        return _without_none({**claims, **self.forgery.userinfo})

    def ciam_claims(self, sign_in: FakeSignIn) -> dict[str, Any]:
        """Those of CIAM's own id_token, as it documents them.

        No ``iss``, ``aud`` or ``nonce``, and the application for a ``sub``.
        """
        now = int(time.time())
        return {
            "sub": APP_ID,
            "gtp": "authorization_code",
            "cookie": secrets.token_hex(8),
            "azp": "",
            "scope": sign_in.scope,
            "loginName": sign_in.username,
            "customerId": "fake_customer_0001",
            "exp": now + TOKEN_LIFETIME,
            "jti": secrets.token_hex(8),
            "iat": now,
            "nbf": now,
        }

    def _honest_claims(self, sign_in: FakeSignIn, access_token: str) -> dict[str, Any]:
        now = int(time.time())
        return {
            "iss": self.issuer,
            "sub": sign_in.user_id,
            "aud": APP_ID,
            "iat": now,
            "auth_time": now,
            "exp": now + 3600,
            # OpenID Connect Core 1.0, 2: as it was sent.
            "nonce": sign_in.nonce or None,
            "sid": sign_in.sid,
            "at_hash": keys.at_hash_of(access_token),
            **sign_in.profile,
        }

    def take_planned(self, stage: str) -> Failure | Misbehaviour | None:
        """What is planned for the next request of a stage, taken off the plan."""
        with self._lock:
            return self._take_planned(stage)

    def _take_planned(self, stage: str) -> Failure | Misbehaviour | None:
        planned = self._planned.get(stage)
        if not planned:
            return None
        what, times = planned[0]
        if times is not None:
            planned[0] = (what, times - 1)
            if times <= 1:
                planned.pop(0)
        return what


def _without_none(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
