"""Authlib's OAuth client for CIAM, from ``AUTHLIB_OAUTH_CLIENTS["ciam"]``, in its two modes."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

import requests
from authlib.common.urls import add_params_to_uri, url_decode
from authlib.integrations.django_client import DjangoIntegration, DjangoOAuth2App
from authlib.integrations.requests_client import OAuth2Session
from authlib.oidc.core import CodeIDToken, UserInfo
from django.conf import settings
from joserfc import jwt
from joserfc.errors import BadSignatureError, InvalidKeyIdError, JoseError
from joserfc.jwk import JWKRegistry, KeySet
from joserfc.jws import JWSRegistry

from ciam_django.client.cached_documents import CachedDocument, FetchedDocument
from ciam_django.client.envelope import data_of
from ciam_django.client.transport import HttpSession
from ciam_django.conf import cached_until_settings_change, conf
from ciam_django.errors import CiamError, Stage, raising_ciam_errors

T = TypeVar("T")

CLIENT_NAME: Final = "ciam"
# Seconds for which what CIAM publishes is as good as new.
_FRESH_SECONDS: Final = 3600
# Seconds by which CIAM's clock may differ from ours.
LEEWAY: Final = 120
# A shared secret or none at all proves nothing about who signed (RFC 8725, 3.1).
_UNTRUSTED_ALGORITHMS: Final = ("none", "HS256", "HS384", "HS512")

# At DEBUG they log PKCE's verifier and OAuth 1's token, of every client in the process.
for _name in ("sync_app", "async_app"):
    logging.getLogger(f"authlib.integrations.base_client.{_name}").addFilter(
        lambda record: record.levelno > logging.DEBUG
    )


if TYPE_CHECKING:

    class _App(DjangoOAuth2App):
        """Authlib's, with what types-Authlib leaves out or leaves without types."""

        _server_metadata_url: str | None

        def _get_session(self) -> HttpSession: ...

        def _get_oauth_client(self, **metadata: Any) -> HttpSession: ...

        def fetch_access_token(
            self, redirect_uri: str | None = None, **kwargs: Any
        ) -> dict[str, Any]: ...

        def get(self, url: str, **kwargs: Any) -> requests.Response: ...

else:
    _App = DjangoOAuth2App


class CiamApp(_App):
    """Authlib's app over our transport; what fails in it leaves as a ``CiamError``.

    Two modes, chosen by the setting: OIDC where it has ``server_metadata_url``, CIAM's own
    where it has ``authorize_url`` and ``access_token_url``.
    """

    client_cls = HttpSession

    @functools.cached_property
    def is_oidc(self) -> bool:
        """Whether the setting asks for OpenID Connect."""
        return bool(self._server_metadata_url)

    def new_http_session(self) -> HttpSession:
        """A session for one call outside of OAuth's own."""
        return self._get_session()

    def load_server_metadata(self) -> dict[str, Any]:
        """The provider's metadata (OpenID Connect Discovery 1.0, 4); none in CIAM's own mode."""
        url = self._server_metadata_url
        return self._cached_publication(url, _metadata_of).get_copy().content if url else {}

    def _get_oauth_client(self, **metadata: Any) -> HttpSession:
        # Authlib would let all of the metadata be settings of the session, `verify` among them.
        chosen = {"token_endpoint": metadata.get("token_endpoint")}
        if self.is_oidc and "token_endpoint_auth_method" not in self.client_kwargs:
            chosen["token_endpoint_auth_method"] = _auth_method(metadata, self.client_secret)
        return super()._get_oauth_client(**chosen)

    def _cached_keys(self, metadata: Mapping[str, Any]) -> CachedDocument[KeySet]:
        return self._cached_publication(metadata["jwks_uri"], _keys_of)

    def _cached_publication(self, url: str, parse: Callable[[Any], T]) -> CachedDocument[T]:
        return self.cached_document(url, lambda: self._fetch_document(url), parse)

    def cached_document(
        self, name: str, fetch: Callable[[], FetchedDocument], parse: Callable[[Any], T]
    ) -> CachedDocument[T]:
        """The document of that name, which is cached for as long as this app is."""
        if name not in self._cached_documents:
            self._cached_documents.setdefault(name, CachedDocument(name, fetch, parse))
        return self._cached_documents[name]

    @functools.cached_property
    def _cached_documents(self) -> dict[str, CachedDocument[Any]]:
        return {}

    def _fetch_document(self, url: str) -> FetchedDocument:
        # The stage is that of whoever needs it.
        with raising_ciam_errors(""), self._get_session() as session:
            document = data_of(session.request("GET", url, withhold_token=True))
        return FetchedDocument(document, fresh_for=_FRESH_SECONDS, good_for=conf.CIAM_STALE_LIMIT)

    def authorization_url(
        self, *, redirect_uri: str, state: str, nonce: str, code_verifier: str
    ) -> str:
        """Where to send the browser: CIAM's own page, asked for a code with PKCE S256."""
        with raising_ciam_errors(Stage.AUTHORIZE):
            asked = self.create_authorization_url(
                redirect_uri, state=state, nonce=nonce, code_verifier=code_verifier
            )
        return str(asked["url"])

    @raising_ciam_errors(Stage.TOKEN)
    def exchange_code(self, *, code: str, redirect_uri: str, code_verifier: str) -> dict[str, Any]:
        """The token response for a code. The code can't be used again, also after a failure."""
        return self.fetch_access_token(
            redirect_uri=redirect_uri, code=code, code_verifier=code_verifier
        )

    def refresh_tokens(self, refresh_token: str) -> dict[str, Any]:
        """The token answer for a refresh token (RFC 6749, 6)."""
        with (
            raising_ciam_errors(Stage.REFRESH),
            self._get_oauth_client(**self.load_server_metadata()) as session,
        ):
            endpoint = session.metadata.get("token_endpoint") or self.access_token_url
            token: dict[str, Any] = session.refresh_token(endpoint, refresh_token=refresh_token)
            return token

    @raising_ciam_errors(Stage.ID_TOKEN)
    def verify_id_token(
        self, token_response: Mapping[str, Any], nonce: str | None
    ) -> dict[str, Any]:
        """The verified claims of the response's id_token (OpenID Connect Core 1.0, 3.1.3.7).

        ``nonce`` is None where no nonce was sent: for a token of CIAM's API, which no browser
        carried.
        """
        if not token_response.get("id_token"):
            raise CiamError("missing_id_token")
        metadata = self.load_server_metadata()
        required = {
            "iss": {"essential": True, "value": metadata["issuer"]},
            "aud": {"essential": True, "value": self.client_id},
            **{name: {"essential": True} for name in ("sub", "exp", "iat")},
        }
        verified = self.verify_signature(token_response["id_token"], metadata)
        expected = {"client_id": self.client_id, "access_token": token_response["access_token"]}
        if nonce is not None:
            required["nonce"] = {"essential": True}
            expected["nonce"] = nonce
        claims = CodeIDToken(verified.claims, verified.header, required, expected)
        claims.validate(leeway=LEEWAY)
        return dict(claims)

    def verify_signature(self, token: str, metadata: Mapping[str, Any]) -> jwt.Token:
        """The token, if it is signed with a key of the provider that the metadata describes.

        A key that is not known yet is looked for once more, since keys are rotated.
        """
        algorithms = metadata["id_token_signing_alg_values_supported"]
        registry = JWSRegistry(algorithms=algorithms, strict_check_header=False)
        keys = self._cached_keys(metadata).get_copy()
        try:
            return jwt.decode(token, keys.content, registry=registry)
        except (InvalidKeyIdError, BadSignatureError):
            keys = self._cached_keys(metadata).get_newer_copy(keys)
            return jwt.decode(token, keys.content, registry=registry)

    def userinfo(self, **kwargs: Any) -> UserInfo:
        """As Authlib has it, but that a failure body is no person's claims."""
        with raising_ciam_errors(Stage.USERINFO):
            endpoint = self.load_server_metadata()["userinfo_endpoint"]
            return UserInfo(data_of(self.get(endpoint, **kwargs)))

    def fetch_jwk_set(self, force: bool = False) -> dict[str, Any]:
        """As Authlib has it, but from where all processes keep it; ``force`` as ``Kept.newer``."""
        cached_keys = self._cached_keys(self.load_server_metadata())
        keys = cached_keys.get_copy()
        if force:
            keys = cached_keys.get_newer_copy(keys)
        return dict(keys.content.as_dict(private=False))

    def fetch_userinfo(self, access_token: str, subject: str | None = None) -> dict[str, Any]:
        """What CIAM's userinfo endpoint says of the token's person (OpenID Connect Core 1.0, 5.3).

        ``subject`` is whom an id_token that came with it has named; None where there was none.
        """
        with raising_ciam_errors(Stage.USERINFO):
            endpoint = self.load_server_metadata().get("userinfo_endpoint")
            if not endpoint:
                raise CiamError(
                    "bad_configuration", upstream_text="the metadata lacks userinfo_endpoint"
                )
            headers = {"Authorization": f"Bearer {access_token}"}
            with self._get_session() as session:
                claims = data_of(
                    session.request("GET", endpoint, withhold_token=True, headers=headers)
                )
            # 5.3.2: without this, one person's token could be swapped for another's.
            if subject is not None and claims.get("sub") != subject:
                raise CiamError("nobody_named")
            return claims

    def logout_url(self, *, back_to: str, id_token: str = "") -> str | None:
        """Where CIAM ends its own session (OpenID Connect RP-Initiated Logout 1.0), if it can.

        With the session's id_token it knows which, and need not ask the person.
        """
        with raising_ciam_errors(Stage.LOGOUT):
            endpoint = self.load_server_metadata().get("end_session_endpoint")
            if not endpoint:
                return None
            # Authlib's own method adds a state, which nobody would look at.
            asked = {"post_logout_redirect_uri": back_to, "client_id": self.client_id}
            if id_token:
                asked["id_token_hint"] = id_token
            return str(add_params_to_uri(endpoint, list(asked.items())))


# The app keeps documents under cache keys that are made with SECRET_KEY.
@cached_until_settings_change("AUTHLIB_OAUTH_CLIENTS", "SECRET_KEY")
def ciam_app() -> CiamApp:
    """The app that the setting describes, made anew when the setting changes."""
    config: Mapping[str, Any] = (getattr(settings, "AUTHLIB_OAUTH_CLIENTS", None) or {}).get(
        CLIENT_NAME
    ) or {}
    is_oidc = bool(config.get("server_metadata_url"))
    if not config.get("client_id") or not (
        is_oidc or (config.get("authorize_url") and config.get("access_token_url"))
    ):
        raise CiamError(
            "bad_configuration",
            upstream_text="AUTHLIB_OAUTH_CLIENTS lacks a client: see manage.py check",
        )
    defaults: dict[str, Any] = (
        {"scope": "openid"}
        if is_oidc
        else {"scope": "USER_API", "token_endpoint_auth_method": "client_secret_json"}
    )
    return CiamApp(
        DjangoIntegration(CLIENT_NAME),
        CLIENT_NAME,
        **{
            **config,
            # The project's over ours, one by one; PKCE last, since it is not to be had without.
            "client_kwargs": {
                **defaults,
                **(config.get("client_kwargs") or {}),
                "code_challenge_method": "S256",
            },
            "compliance_fix": ciam_compliance_fix,
        },
    )


def ciam_compliance_fix(session: OAuth2Session) -> None:
    """Make a session of Authlib raise a ``CiamError`` where CIAM answers without a token.

    For a project's own client: ``oauth.register("ciam", compliance_fix=ciam_compliance_fix, ...)``.
    Authlib by itself takes any JSON object without ``error`` for a token. The session also reads
    tokens in CIAM's envelope (``{"success": true, "data": {"access_token": ...}}``), and knows
    ``client_secret_json``, the ``token_endpoint_auth_method`` of CIAM's own token endpoint.
    """
    session.register_client_auth_method(("client_secret_json", _encode_client_secret_json))
    # A failure that passed for a token would also replace the good token on refresh.
    session.register_compliance_hook("access_token_response", _read_token_response)
    session.register_compliance_hook("refresh_token_response", _read_refresh_response)


@raising_ciam_errors(Stage.TOKEN)
def _read_token_response(response: requests.Response) -> requests.Response:
    return _rewrite_token_response(response)


@raising_ciam_errors(Stage.REFRESH)
def _read_refresh_response(response: requests.Response) -> requests.Response:
    return _rewrite_token_response(response)


def _rewrite_token_response(response: requests.Response) -> requests.Response:
    """The answer of a token endpoint as Authlib expects it, or a ``CiamError``."""
    data = data_of(response)
    token = data.get("access_token")
    if not isinstance(token, str) or not token:
        # A success that goes on (a `flowType`) is no token either.
        raise CiamError("unreadable_answer", upstream_status=response.status_code)
    response._content = json.dumps({"token_type": "Bearer", **data}).encode()
    response.status_code = 200
    return response


def _encode_client_secret_json(
    client: HttpSession, method: str, uri: str, headers: dict[str, str], body: str
) -> tuple[str, dict[str, str], bytes]:
    """CIAM's own token endpoint takes the client's credentials in a JSON body.

    https://help.aliyun.com/en/idaas/ciam/developer-reference/authorization-information
    """
    members = dict(url_decode(body or ""))
    members |= {"client_id": client.client_id, "client_secret": client.client_secret}
    content = json.dumps(members).encode()
    headers["Content-Type"] = "application/json"
    headers["Content-Length"] = str(len(content))
    return uri, headers, content


def _keys_of(document: Any) -> KeySet:
    """The keys that can prove a token, without those that joserfc can't read (RFC 7517, 5)."""
    keys = []
    listed = document.get("keys")
    for key in listed if isinstance(listed, list) else ():
        # A shared secret is not published, and would let anyone sign (RFC 8725, 3.1).
        if not isinstance(key, dict) or key.get("kty") == "oct" or key.get("use") == "enc":
            continue
        with contextlib.suppress(JoseError, ValueError, TypeError, LookupError):
            keys.append(JWKRegistry.import_key(key))
    if not keys:
        raise CiamError("unreadable_answer", upstream_text="there is no key in the key set")
    return KeySet(keys)


def _metadata_of(document: Any) -> dict[str, Any]:
    """The metadata, if it has what a login needs, with the algorithms that can prove a token."""
    missing = [
        name
        for name in ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri")
        if not isinstance(document.get(name), str)
    ]
    if missing:
        raise CiamError(
            "bad_configuration", upstream_text=f"the metadata lacks {', '.join(missing)}"
        )
    offered = document.get("id_token_signing_alg_values_supported")
    offered = offered if isinstance(offered, list) else ["RS256"]
    proving = [
        name for name in offered if isinstance(name, str) and name not in _UNTRUSTED_ALGORITHMS
    ]
    return {**document, "id_token_signing_alg_values_supported": proving}


def _auth_method(metadata: Mapping[str, Any], client_secret: str | None) -> str:
    if not client_secret:
        return "none"
    offered = metadata.get("token_endpoint_auth_methods_supported")
    if isinstance(offered, list) and "client_secret_basic" not in offered:
        return next(
            (m for m in ("client_secret_post", "client_secret_json") if m in offered),
            "client_secret_post",
        )
    # OpenID Connect Discovery 1.0, 3: what applies when nothing is said.
    return "client_secret_basic"
