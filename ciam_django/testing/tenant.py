"""``Tenant`` holds the keys, codes, tokens and planned faults of a fake CIAM."""

from __future__ import annotations

import abc
import secrets
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from joserfc.jwk import ECKey, RSAKey

from ciam_django.testing import keys
from ciam_django.testing.accounts import Accounts, user_id_of
from ciam_django.testing.failures import STAGES, Failure, Misbehaviour, checked_choice

PREFIX: Final = "/api/bff/v1.2/developer/ciam/"
APP_ID: Final = "fake_app_0001"
CLIENT_SECRET: Final = "fake-client-secret"  # noqa: S105  (it opens nothing but the fake)
# The terms that users agree to, until a test replaces them.
CONSENTS: Final[Sequence[Mapping[str, Any]]] = (
    {"uuid": "terms", "name": "用户协议", "url": "https://example.com/terms"},
    {"uuid": "privacy", "name": "隐私政策", "url": "https://example.com/privacy"},
)
# The addresses of these stages are only in the metadata. The addresses of the other stages are also
# below api_base_url.
_OAUTH_STAGES: Final = frozenset({"authorize", "discovery", "jwks", "token", "refresh", "userinfo"})
# Seconds.
TOKEN_LIFETIME: Final = 7200
# Seconds: longer than any client waits.
SLOW_SECONDS: Final = 30.0


@dataclass
class FakeSignIn:
    """A user's sign-in, from the authorize page on."""

    username: str
    redirect_uri: str
    scope: str
    nonce: str
    code_challenge: str
    started_at: float = field(default_factory=time.monotonic)
    # The id of the session at CIAM (OpenID Connect Front-Channel Logout 1.0, section 3).
    sid: str = field(default_factory=lambda: secrets.token_hex(8))
    # Stage -> the fault that the user name asks for at this stage of this sign-in.
    planned: dict[str, Failure | Misbehaviour] = field(default_factory=dict)

    @property
    def user_id(self) -> str:
        """The user's id. As at CIAM, a user name always has the same id."""
        return user_id_of(self.username)

    @property
    def profile(self) -> dict[str, Any]:
        """The profile claims of the user."""
        return {
            "name": self.username.title(),
            "preferred_username": self.username,
            "email": f"{self.username}@example.com",
            "email_verified": True,
        }


@dataclass(frozen=True, slots=True)
class Forgery:
    """The differences between a forged answer of the fake and its correct answer.

    ``claims`` and ``header`` override members of the id_token, and ``userinfo`` overrides members
    of the userinfo answer; None removes a member. ``replacement`` replaces the id_token; an empty
    ``replacement`` removes the id_token. With ``with_ciam_claims``, the id_token has the claims
    that CIAM documents. With ``with_other_key``, another key signs the id_token under the key id of
    the fake's key. Without ``is_published``, the key set does not hold the fake's key.
    """

    claims: Mapping[str, Any] = field(default_factory=dict)
    header: Mapping[str, Any] = field(default_factory=dict)
    userinfo: Mapping[str, Any] = field(default_factory=dict)
    replacement: str | None = None
    with_ciam_claims: bool = False
    with_other_key: bool = False
    is_published: bool = True


class Tenant(abc.ABC):
    """The state of a fake CIAM, without its HTTP server."""

    ca_file: str | None = None

    @property
    @abc.abstractmethod
    def url(self) -> str:
        """The base address, for example ``http://127.0.0.1:54321``."""

    def __init__(self) -> None:
        self.redirect_uris: set[str] = set()
        self.slow_seconds = SLOW_SECONDS
        self._lock = threading.Lock()
        self.reset()

    def shown_date(self, true_date: str) -> str:
        """Return the header Date of a response."""
        return self.date_header or true_date

    def reset(self) -> None:
        """Delete all planned faults, codes, tokens and accounts, and start with the first key."""
        self.key: RSAKey = keys.first_key()
        self.metadata: dict[str, Any] = {}
        self.forgery = Forgery()
        # Stage -> scheme, host and port that replace the fake's own in the stage's address.
        self.base_urls: dict[str, str] = {}
        # If true, the callback has the parameter ``iss``, and the metadata says so (RFC 9207).
        self.sends_issuer = False
        # If set, the client must authenticate by an assertion that this key's owner has signed (RFC
        # 7523, 2.2), and the client secret is refused.
        self.client_key: RSAKey | ECKey | None = None
        self.used_assertions: set[str] = set()
        # If true, the issuer ends in a slash, as at Auth0 and Authentik.
        self.issuer_has_slash = False
        # The header Date of all responses; an empty text is the true time.
        self.date_header = ""
        # The scope that users grant; None grants the requested scope.
        self.granted_scope: str | None = None
        self.id_token_claims: dict[str, Any] = {}
        self.id_token_header: dict[str, Any] = {}
        self.codes: dict[str, FakeSignIn] = {}
        self.access_tokens: dict[str, FakeSignIn] = {}
        self.refresh_tokens: dict[str, FakeSignIn] = {}
        # Token -> its scopes.
        self.application_tokens: dict[str, frozenset[str]] = {}
        self.accounts = Accounts()
        # The application of the access tokens; a flag for signing them with the published key
        # (RFC 9068), which CIAM's samples are not; and overrides for their claims and header.
        self.client_id_of_tokens = APP_ID
        self.signs_access_tokens = False
        self.access_token_claims: dict[str, Any] = {}
        self.access_token_header: dict[str, Any] = {}
        # The answer of ``user/token/check`` for a valid token, which CIAM does not document.
        self.token_check: dict[str, Any] = {}
        # Seconds that an access token is valid for.
        self.token_lifetime = TOKEN_LIFETIME
        # The terms; flags for required consents and for a CAPTCHA before a code is sent; overrides
        # for the login page's configuration; and the id_token of the API, `oidc` or `ciam`.
        self.consents: list[dict[str, Any]] = [dict(row) for row in CONSENTS]
        self.requires_consents = False
        self.wants_captcha = False
        self.login_page: dict[str, Any] = {}
        self.api_id_token = "oidc"  # noqa: S105  (a kind of token)
        self._planned: dict[str, list[tuple[Failure | Misbehaviour, int | None]]] = {}

    @property
    def issuer(self) -> str:
        """The ``iss`` of the fake's tokens."""
        return self.address(f"oidc/{APP_ID}{'/' if self.issuer_has_slash else ''}")

    @property
    def metadata_and_jwks_urls(self) -> tuple[str, str]:
        """The address of the metadata, and the address of the key set."""
        directory = f"oidc/{APP_ID}/.well-known"
        return (
            self.address(f"{directory}/openid-configuration", "discovery"),
            self.address(f"{directory}/jwks.json", "jwks"),
        )

    @property
    def cached_document_names(self) -> list[str]:
        """The names under which ``ciam_django`` caches the fake's documents for all processes."""
        names = ("APPLICATION_API", "MANAGEMENT_APPLICATION_API", "login_page", "consents")
        return [*self.metadata_and_jwks_urls, *(f"{self.url} {APP_ID} {name}" for name in names)]

    def address(self, path: str, *stages: str) -> str:
        """Return the address of a path below CIAM's prefix, with the base address of the stages.

        ``stages`` without an entry in ``base_urls`` have the fake's own base address.
        """
        return f"{self._base_url_of(stages)}{PREFIX}{path}"

    def _base_url_of(self, stages: Iterable[str]) -> str:
        return next((self.base_urls[name] for name in stages if name in self.base_urls), self.url)

    def client(self, mode: str = "oidc") -> dict[str, Any]:
        """Return the value of ``AUTHLIB_OAUTH_CLIENTS["ciam"]`` for mode ``oidc`` or ``ciam``."""
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
        """Plan a fault for ``times`` requests of a stage, after the faults already planned.

        ``times`` None plans the fault for all requests until ``reset``. Raise ``ValueError`` for an
        unknown stage or for ``times`` below 1.
        """
        checked_choice("stage", stage, STAGES)
        if times is not None and times < 1:
            raise ValueError(f"times is {times!r}, must be 1 or more, or None: until reset().")
        with self._lock:
            self._planned.setdefault(stage, []).append((fault, times))

    def rotate_keys(self) -> None:
        """Sign with a new key from now on; the old key is no longer published."""
        self.key = keys.generate_key()

    def expire_application_tokens(self) -> None:
        """Refuse the application's own tokens from now on, as CIAM refuses expired tokens."""
        self.application_tokens.clear()

    def expire_access_tokens(self) -> None:
        """Refuse all access tokens issued to users so far; their refresh tokens stay valid."""
        self.access_tokens.clear()

    def revoke_tokens(self, username: str) -> None:
        """Refuse all access tokens and refresh tokens issued to a user so far."""
        for tokens in (self.access_tokens, self.refresh_tokens):
            for token in [token for token, owner in tokens.items() if owner.username == username]:
                del tokens[token]

    @property
    def published_keys(self) -> list[dict[str, Any]]:
        """The keys of the published key set (RFC 7517, section 5)."""
        key = self.key if self.forgery.is_published else keys.other_key()
        return [dict(key.as_dict(private=False))]

    def sign_id_token(self, sign_in: FakeSignIn, access_token: str) -> str:
        """Return the id_token of a sign-in, or an empty text if a forgery removes the id_token.

        The forgery overrides the correct members, and ``id_token_claims`` and ``id_token_header``
        override both. None removes a member.
        """
        forgery = self.forgery
        if forgery.replacement is not None:
            return forgery.replacement
        claims = (
            self.ciam_claims(sign_in)
            if forgery.with_ciam_claims
            else self._correct_claims(sign_in, access_token)
        )
        header = {"alg": "RS256", "kid": self.key.kid, "typ": "JWT"}
        return keys.sign_token(
            _without_none({**header, **forgery.header, **self.id_token_header}),
            _without_none({**claims, **forgery.claims, **self.id_token_claims}),
            keys.other_key() if forgery.with_other_key else self.key,
        )

    def sign_access_token(self, sign_in: FakeSignIn | None, scope: str) -> str:
        """Return a signed access token of a sign-in, or of the application without a sign-in.

        The forgery overrides the correct members, and ``access_token_claims`` and
        ``access_token_header`` override both. None removes a member.
        """
        forgery = self.forgery
        if forgery.replacement:
            return forgery.replacement
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            # Without a user, the subject is the application (RFC 9068, 2.2).
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
        """Return the id_token that CIAM documents, which does not prove the user's identity."""
        return keys.sign_token({"alg": "RS256"}, self.ciam_claims(sign_in), self.key)

    def sign_logout_token(self, *, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
        """Return a logout token for ``ciam:back_channel_logout``, with ``sub``, ``sid`` or both.

        ``header`` and ``claims`` override the correct members; None removes a member.
        """
        now = int(time.time())
        correct = {
            "iss": self.issuer,
            "aud": APP_ID,
            "iat": now,
            "exp": now + 120,
            "jti": secrets.token_hex(8),
            # Required by OpenID Connect Back-Channel Logout 1.0, 2.4.
            "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
        }
        own = {"alg": "RS256", "kid": self.key.kid, "typ": "logout+jwt"}
        return keys.sign_token(
            _without_none({**own, **(header or {})}), _without_none({**correct, **claims}), self.key
        )

    def userinfo_of(self, sign_in: FakeSignIn) -> dict[str, Any]:
        """Return the userinfo claims of a sign-in, with the forgery's overrides."""
        claims = {"sub": sign_in.user_id, **sign_in.profile}
        return _without_none({**claims, **self.forgery.userinfo})

    def ciam_claims(self, sign_in: FakeSignIn) -> dict[str, Any]:
        """Return the claims of CIAM's own id_token, as CIAM documents them.

        There is no ``iss``, ``aud`` or ``nonce``, and ``sub`` is the application.
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

    def _correct_claims(self, sign_in: FakeSignIn, access_token: str) -> dict[str, Any]:
        now = int(time.time())
        return {
            "iss": self.issuer,
            "sub": sign_in.user_id,
            "aud": APP_ID,
            "iat": now,
            "auth_time": now,
            "exp": now + 3600,
            # The nonce is returned unmodified (OpenID Connect Core 1.0, section 2).
            "nonce": sign_in.nonce or None,
            "sid": sign_in.sid,
            "at_hash": keys.at_hash_of(access_token),
            **sign_in.profile,
        }

    def take_planned(self, stage: str) -> Failure | Misbehaviour | None:
        """Remove the planned fault for the next request of a stage from the plan, and return it."""
        with self._lock:
            return self._take_planned(stage)

    def _take_planned(self, stage: str) -> Failure | Misbehaviour | None:
        planned = self._planned.get(stage)
        if not planned:
            return None
        fault, times = planned[0]
        if times is not None:
            planned[0] = (fault, times - 1)
            if times <= 1:
                planned.pop(0)
        return fault


def _without_none(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
