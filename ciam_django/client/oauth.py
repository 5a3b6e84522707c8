"""Build Authlib's OAuth client for CIAM from ``AUTHLIB_OAUTH_CLIENTS["ciam"]``, in two modes."""

from __future__ import annotations

import contextlib
import functools
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlencode, urlsplit

import requests
from authlib.common.urls import add_params_to_uri, url_decode
from authlib.integrations.django_client import DjangoIntegration, DjangoOAuth2App, OAuth
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.client import OAuth2Client
from authlib.oidc.core import CodeIDToken, UserInfo
from django.conf import settings
from joserfc import jwt
from joserfc.errors import BadSignatureError, InvalidKeyIdError, JoseError
from joserfc.jwk import JWKRegistry, KeySet
from joserfc.jws import JWSRegistry

from ciam_django.client.cached_documents import CachedCopy, CachedDocument, FetchedDocument
from ciam_django.client.circuit_breaker import call_deadline
from ciam_django.client.endpoints import EndpointGroup
from ciam_django.client.envelope import LEEWAY, LIFETIME, data_of
from ciam_django.client.misconfiguration import misconfiguration, name_setting
from ciam_django.client.private_key_jwt import (
    PRIVATE_KEY_JWT,
    assertion_parameters,
    encode_assertion,
    signing_key_of,
)
from ciam_django.client.transport import HttpSession
from ciam_django.conf import conf
from ciam_django.errors import CiamError, Stage, error_from_exception, raising_ciam_errors
from ciam_django.network import is_loopback
from ciam_django.privacy import loggable_url, own_text

T = TypeVar("T")
ReadResponse = Callable[[requests.Response], requests.Response]

CLIENT_NAME: Final = "ciam"
# Seconds for which CIAM's metadata and keys are fresh.
_FRESH_SECONDS: Final = 3600
# A shared secret does not prove the signer, and "none" is no signature (RFC 8725, section 3.1).
_UNTRUSTED_ALGORITHMS: Final = ("none", "HS256", "HS384", "HS512")
_WELL_KNOWN_PATH: Final = "/.well-known/openid-configuration"
_METADATA_SETTING: Final = "server_metadata_url"
# CIAM's code for an unknown path, in any letter case.
_UNKNOWN_PATH_CODE: Final = "resource.notfound"
# Members of the metadata -> True if OIDC mode needs the member.
_ENDPOINTS_IN_METADATA: Final[Mapping[str, bool]] = {
    "authorization_endpoint": True,
    "token_endpoint": True,
    "jwks_uri": True,
    "userinfo_endpoint": False,
    "end_session_endpoint": False,
}
# The causes of a failed call that a server at the right address does not have.
_WRONG_ADDRESS_CAUSES: Final = frozenset(
    {"urllib3.exceptions.NameResolutionError", "requests.exceptions.SSLError"}
)
# Statuses of a client error that say nothing about the address (RFC 9110, section 15.5.9, and RFC
# 6585, section 4).
_PASSING_STATUSES: Final = (408, 429)

if TYPE_CHECKING:

    class _App(DjangoOAuth2App):
        """Authlib's class, with the members that types-Authlib omits or does not type."""

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
    """Authlib's app over our transport; every failure raises a ``CiamError``.

    The setting selects one of two modes: OIDC by ``server_metadata_url``, CIAM's own mode by
    ``authorize_url`` and ``access_token_url``.
    """

    client_cls = HttpSession

    @functools.cached_property
    def is_oidc(self) -> bool:
        """True in OIDC mode, False in CIAM's own mode."""
        return bool(self._server_metadata_url)

    def credentials(self, url: str) -> dict[str, Any]:
        """Return the parameters that authenticate the client in a call of CIAM's API at a URL.

        A private key signs an assertion, and stays here.
        """
        if self.client_kwargs.get("token_endpoint_auth_method") == PRIVATE_KEY_JWT:
            return assertion_parameters(str(self.client_id), self.client_secret, url)
        return {"client_secret": self.client_secret}

    def new_http_session(self) -> HttpSession:
        """Return a new session, for one call that is not part of OAuth."""
        return self._get_session()

    def load_server_metadata(self) -> dict[str, Any]:
        """Load the provider's metadata (OpenID Connect Discovery 1.0, section 4), which is cached.

        Return an empty dict in CIAM's own mode. Raises ``CiamError``: ``bad_configuration`` if the
        address is wrong or the metadata can't be used, or the error of the call.
        """
        url = self._server_metadata_url
        if not url:
            return {}
        # A sign-in loads the metadata several times.
        if copy := self.fresh_copy(url):
            metadata: dict[str, Any] = copy.content
            return metadata
        document = self.cached_document(
            url, EndpointGroup.METADATA, lambda: self._fetch_metadata(url), self.checked_metadata
        )
        try:
            return document.get_copy().content
        except CiamError as error:
            name_setting(error, _METADATA_SETTING, url)
            raise

    @functools.cached_property
    def issuers(self) -> tuple[str, ...]:
        """The issuers that the metadata may have: by the setting, or else by the metadata's URL.

        OpenID Connect Discovery 1.0, section 4.1, removes the last slash of an issuer before it
        appends the well-known path. An issuer has no password, and is logged and stored.
        """
        if self.server_metadata.get("issuer"):
            return (str(self.server_metadata["issuer"]),)
        issuer = str(self._server_metadata_url).removesuffix(_WELL_KNOWN_PATH)
        user = issuer.partition("//")[2].partition("/")[0].rpartition("@")[0]
        issuer = issuer.replace(f"//{user}@", "//", 1)
        return issuer, f"{issuer}/"

    def _get_oauth_client(self, **metadata: Any) -> HttpSession:
        # Authlib would pass every member of the metadata to the session, also `verify`.
        options = {"token_endpoint": metadata.get("token_endpoint")}
        if self.is_oidc and "token_endpoint_auth_method" not in self.client_kwargs:
            options["token_endpoint_auth_method"] = _auth_method(metadata, self.client_secret)
        return super()._get_oauth_client(**options)

    def _cached_keys(self, metadata: Mapping[str, Any]) -> CachedDocument[KeySet]:
        url = metadata["jwks_uri"]

        def fetch() -> FetchedDocument:
            try:
                return self._fetch_document("keys", url)
            except CiamError as error:
                if error.upstream_status is None:
                    name_setting(error, _METADATA_SETTING, url)
                raise

        return self.cached_document(url, EndpointGroup.METADATA, fetch, _keys_of)

    def cached_document(
        self,
        name: str,
        group: EndpointGroup,
        fetch: Callable[[], FetchedDocument],
        parse: Callable[[Any], T],
    ) -> CachedDocument[T]:
        """Return the cached document of this name, and create it at the first call.

        The arguments are those of ``CachedDocument``.
        """
        if name not in self._cached_documents:
            self._cached_documents.setdefault(name, CachedDocument(name, group, fetch, parse))
        return self._cached_documents[name]

    def fresh_copy(self, name: str) -> CachedCopy[Any] | None:
        """Return the copy of the cached document if this process has a fresh copy, or else None.

        Neither Django's cache nor CIAM is asked.
        """
        document = self._cached_documents.get(name)
        copy = document.copy if document else None
        return copy if copy and time.time() < copy.fresh_until else None

    @functools.cached_property
    def _cached_documents(self) -> dict[str, CachedDocument[Any]]:
        return {}

    def fetch_metadata(self) -> dict[str, Any]:
        """Fetch the metadata of OIDC mode again, without checks and without the cache.

        Raises ``CiamError`` like ``load_server_metadata``.
        """
        url = str(self._server_metadata_url)
        try:
            document: dict[str, Any] = self._fetch_metadata(url).document
        except CiamError as error:
            name_setting(error, _METADATA_SETTING, url)
            raise
        return document

    def fetch_keys(self, metadata: Mapping[str, Any]) -> KeySet:
        """Fetch the keys of the metadata again, without the cache.

        Raises ``unreadable_answer`` if no key can be used, or the error of the call.
        """
        url = metadata["jwks_uri"]
        try:
            return _keys_of(self._fetch_document("keys", url).document)
        except CiamError as error:
            name_setting(error, _METADATA_SETTING, url)
            raise

    def validate_issuer(self, returned_issuers: Sequence[str]) -> None:
        """Check the ``iss`` of a callback with the function ``validate_issuer`` of this module.

        Also raises a ``CiamError`` if the metadata can't be loaded.
        """
        validate_issuer(self.load_server_metadata(), returned_issuers)

    @property
    def login_page_url(self) -> str:
        """A URL of CIAM's login server that answers a GET: the metadata or the login page."""
        return str(self._server_metadata_url or self.authorize_url)

    def checked_metadata(self, document: Any) -> dict[str, Any]:
        """Return the metadata; raise ``bad_configuration`` if its issuer is another issuer.

        OpenID Connect Discovery 1.0, section 4.3: the keys of another issuer would sign in users of
        the other issuer.
        """
        metadata = _metadata_of(document)
        if metadata["issuer"] not in self.issuers:
            raise _unusable_metadata(
                f"the issuer in the metadata is {loggable_url(metadata['issuer']) or 'no URL'}, "
                f"and must be {' or '.join(self.issuers)}: correct server_metadata_url, or add the "
                "right 'issuer' to the client"
            )
        return metadata

    def _fetch_metadata(self, url: str) -> FetchedDocument:
        """Fetch the metadata; raise ``bad_configuration`` if the failure shows a wrong address."""
        try:
            return self._fetch_document("metadata", url)
        except CiamError as error:
            if not _is_address_wrong(error):
                raise
            reason = f"HTTP status {error.upstream_status}" if error.upstream_status else ""
            raise misconfiguration(error, own_text(reason)) from error

    def _fetch_document(self, endpoint: str, url: str) -> FetchedDocument:
        # The caller sets the stage.
        with raising_ciam_errors(""), self._get_session() as session:
            session.endpoint = endpoint
            session.group = EndpointGroup.METADATA
            document = data_of(session.request("GET", url, withhold_token=True))
        return FetchedDocument(document, fresh_for=_FRESH_SECONDS, good_for=conf.CIAM_STALE_LIMIT)

    def authorization_url(
        self,
        *,
        redirect_uri: str,
        state: str,
        nonce: str,
        code_verifier: str,
        must_log_in: bool = False,
        languages: Sequence[str] = (),
    ) -> str:
        """Return the URL of CIAM's login page, with a request for a code and with PKCE S256.

        ``must_log_in`` asks for a login even if CIAM has a session in this browser, and
        ``languages`` are BCP 47 tags for the page: ``prompt`` and ``ui_locales`` of OpenID Connect
        Core 1.0, section 3.1.2.1. CIAM's own mode has no such parameters. The project's
        ``authorize_params`` replace them. Raises a ``CiamError`` if the metadata can't be loaded.
        """
        wanted = {"prompt": "login" if must_log_in else "", "ui_locales": " ".join(languages)}
        parameters = {name: value for name, value in wanted.items() if value and self.is_oidc}
        parameters |= {"state": state, "nonce": nonce, "code_verifier": code_verifier}
        parameters |= self.authorize_params or {}
        with raising_ciam_errors(Stage.AUTHORIZE):
            metadata = self.load_server_metadata()
            # Authlib's app would open an HTTP session, which a URL does not need.
            client = OAuth2Client(None, client_id=self.client_id, **self.client_kwargs)
            client.redirect_uri = redirect_uri
            endpoint = self.authorize_url or metadata["authorization_endpoint"]
            url, _ = client.create_authorization_url(endpoint, **parameters)
        return url

    @raising_ciam_errors(Stage.TOKEN)
    def exchange_code(self, *, code: str, redirect_uri: str, code_verifier: str) -> dict[str, Any]:
        """Exchange a code for a token response; a failed exchange raises a ``CiamError``.

        A code can be exchanged only once, even if the call fails.
        """
        try:
            return self.fetch_access_token(
                redirect_uri=redirect_uri, code=code, code_verifier=code_verifier
            )
        except (CiamError, requests.RequestException) as error:
            raise self._token_error(error) from error

    def _token_error(self, error: CiamError | requests.RequestException) -> Exception:
        """Return the error of a call of the token endpoint, with the setting if it is to blame.

        A failed connection names the setting and the host. An unknown path is a
        ``bad_configuration``.
        """
        converted = error if isinstance(error, CiamError) else error_from_exception(error)
        if converted is None or (
            converted is error and error.code.casefold() != _UNKNOWN_PATH_CODE
        ):
            return error
        if converted is error:
            converted = misconfiguration(error)
        if self.access_token_url:
            name_setting(converted, "access_token_url", str(self.access_token_url))
        else:
            # The metadata is cached: without the metadata, there was no call.
            url = str(self.load_server_metadata()["token_endpoint"])
            name_setting(converted, _METADATA_SETTING, url)
        return converted

    def refresh_tokens(self, refresh_token: str) -> dict[str, Any]:
        """Exchange a refresh token for a new token response (RFC 6749, section 6).

        A rejected refresh token and a failed call raise a ``CiamError``. Raises ``timeout`` without
        a call if the earlier calls of the request have left less than half of ``CIAM_TIMEOUT``:
        CIAM accepts a refresh token once, and the answer could come too late.
        """
        with (
            raising_ciam_errors(Stage.REFRESH),
            self._get_oauth_client(**self.load_server_metadata()) as session,
        ):
            endpoint = session.metadata.get("token_endpoint") or self.access_token_url
            timeout = conf.CIAM_TIMEOUT
            if call_deadline(timeout) - time.monotonic() < timeout / 2:
                raise CiamError("timeout", upstream_text=own_text("the other calls took too long"))
            try:
                token: dict[str, Any] = session.refresh_token(endpoint, refresh_token=refresh_token)
            except (CiamError, requests.RequestException) as error:
                raise self._token_error(error) from error
            return token

    @raising_ciam_errors(Stage.ID_TOKEN)
    def verify_id_token(
        self, token_response: Mapping[str, Any], nonce: str | None
    ) -> dict[str, Any]:
        """Return the verified claims of the response's id_token.

        The rules are those of OpenID Connect Core 1.0, section 3.1.3.7. ``nonce`` is None if no
        nonce was sent: a token of CIAM's API does not pass through a browser. Raises ``CiamError``:
        ``missing_id_token``, or the error of a failed check.
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
        """Return the decoded token if a key of the metadata's provider has signed the token.

        The claims that are null are left out. If no cached key fits, the keys are fetched once
        more, since providers rotate their keys.
        A bad token raises an exception of joserfc or of Python.
        """
        algorithms = metadata["id_token_signing_alg_values_supported"]
        registry = JWSRegistry(algorithms=algorithms, strict_check_header=False)
        keys = self.fresh_copy(metadata["jwks_uri"]) or self._cached_keys(metadata).get_copy()
        try:
            verified = jwt.decode(token, keys.content, registry=registry)
        except (InvalidKeyIdError, BadSignatureError):
            keys = self._cached_keys(metadata).get_newer_copy(keys)
            verified = jwt.decode(token, keys.content, registry=registry)
        # Serializers of Java write null for a claim without a value.
        for name in list(verified.claims):
            if verified.claims[name] is None:
                del verified.claims[name]
        return verified

    def userinfo(self, **kwargs: Any) -> UserInfo:
        """Override Authlib's method: a failure body raises a ``CiamError``."""
        with raising_ciam_errors(Stage.USERINFO):
            endpoint = self.load_server_metadata()["userinfo_endpoint"]
            return UserInfo(data_of(self.get(endpoint, **kwargs)))

    def fetch_jwk_set(self, force: bool = False) -> dict[str, Any]:
        """Override Authlib's method: the keys come from the cache of all processes.

        ``force`` fetches newer keys, at most once a minute.
        """
        cached_keys = self._cached_keys(self.load_server_metadata())
        keys = cached_keys.get_copy()
        if force:
            keys = cached_keys.get_newer_copy(keys)
        return dict(keys.content.as_dict(private=False))

    def fetch_userinfo(self, access_token: str, subject: str | None = None) -> dict[str, Any]:
        """Return the claims of CIAM's userinfo endpoint (OpenID Connect Core 1.0, section 5.3).

        ``subject`` is the ``sub`` of the id_token that came with the access token, or None. Claims
        with a different ``sub`` raise ``nobody_named``.
        """
        with raising_ciam_errors(Stage.USERINFO):
            endpoint = self.load_server_metadata().get("userinfo_endpoint")
            if not endpoint:
                raise CiamError(
                    "bad_configuration",
                    upstream_text=own_text("the metadata lacks userinfo_endpoint"),
                )
            headers = {"Authorization": f"Bearer {access_token}"}
            with self._get_session() as session:
                session.endpoint = "userinfo"
                claims = data_of(
                    session.request("GET", endpoint, withhold_token=True, headers=headers)
                )
            # 5.3.2: without this check, an attacker could substitute another user's access token.
            if subject is not None and claims.get("sub") != subject:
                raise CiamError("nobody_named")
            return claims

    def logout_url(self, *, back_to: str, id_token: str = "") -> str | None:
        """Return the URL at which CIAM ends its own session; None if the metadata has no such URL.

        OpenID Connect RP-Initiated Logout 1.0 describes the URL. ``id_token`` identifies the
        session, so that CIAM does not need to ask the user. Raises a ``CiamError`` if the metadata
        can't be loaded.
        """
        with raising_ciam_errors(Stage.LOGOUT):
            endpoint = self.load_server_metadata().get("end_session_endpoint")
            if not endpoint:
                return None
            # Authlib's own method adds a state, which no code would check.
            parameters = {"post_logout_redirect_uri": back_to, "client_id": self.client_id}
            if id_token:
                parameters["id_token_hint"] = id_token
            return str(add_params_to_uri(endpoint, list(parameters.items())))


def validate_issuer(metadata: Mapping[str, Any], returned_issuers: Sequence[str]) -> None:
    """Raise ``mismatching_issuer`` if an ``iss`` is wrong, or is missing although it is announced.

    ``returned_issuers`` holds each ``iss`` parameter of the callback. A wrong ``iss`` is refused
    even if the metadata does not announce the parameter: a wrong ``iss`` shows that another
    provider has sent the response, so the code must not be exchanged (RFC 9207, section 2.4). A
    missing ``iss`` is refused only if the metadata announces the parameter
    (``authorization_response_iss_parameter_supported``). If the metadata has no issuer, nothing is
    checked; in CIAM's own mode, the metadata is empty.
    """
    issuer = metadata.get("issuer")
    if not issuer:
        return
    is_announced = metadata.get("authorization_response_iss_parameter_supported") is True
    if any(iss != issuer for iss in returned_issuers) or (is_announced and not returned_issuers):
        raise CiamError("mismatching_issuer", stage=Stage.CALLBACK)


def new_app() -> CiamApp:
    """Return a new app of the setting; raise ``bad_configuration`` for an incomplete setting."""
    clients = getattr(settings, "AUTHLIB_OAUTH_CLIENTS", None)
    client = clients.get(CLIENT_NAME) if isinstance(clients, Mapping) else None
    config: Mapping[str, Any] = client if isinstance(client, Mapping) else {}
    options = config.get("client_kwargs") or {}
    is_oidc = bool(config.get("server_metadata_url"))
    has_mode = is_oidc or (config.get("authorize_url") and config.get("access_token_url"))
    if not (config.get("client_id") and has_mode and isinstance(options, Mapping)):
        raise CiamError(
            "bad_configuration",
            upstream_text=own_text(
                f'AUTHLIB_OAUTH_CLIENTS["{CLIENT_NAME}"] is incomplete: it needs client_id, and '
                "server_metadata_url or authorize_url with access_token_url"
            ),
        )
    defaults: dict[str, Any] = (
        {"scope": "openid"}
        if is_oidc
        else {"scope": "USER_API", "token_endpoint_auth_method": "client_secret_json"}
    )
    if signing_key_of(config.get("client_secret")):
        # Any other method would send the private key to CIAM.
        defaults["token_endpoint_auth_method"] = PRIVATE_KEY_JWT
    return CiamApp(
        DjangoIntegration(CLIENT_NAME),
        CLIENT_NAME,
        **{
            **config,
            # The project's options override ours, except PKCE, which can't be switched off.
            "client_kwargs": {
                **defaults,
                **options,
                "code_challenge_method": "S256",
            },
            "compliance_fix": _fix_own_session,
        },
    )


def ciam_compliance_fix(session: OAuth2Session) -> None:
    """Make a session of Authlib raise a ``CiamError`` if CIAM's response has no token.

    A project registers its own client with ``compliance_fix=ciam_compliance_fix``. Authlib by
    itself takes any JSON object without ``error`` for a token. The session also reads
    tokens in CIAM's envelope (``{"success": true, "data": {"access_token": ...}}``), and knows two
    more values of ``token_endpoint_auth_method``: ``client_secret_json`` of CIAM's own token
    endpoint, and ``private_key_jwt``, whose ``client_secret`` is a private key.
    """
    _register_hooks(session, _read_token_response, _read_refresh_response)


def _fix_own_session(session: OAuth2Session) -> None:
    """Do the same for a session of ``CiamApp``, whose methods convert the errors of the hooks."""
    _register_hooks(session, _rewrite_token_response, _rewrite_token_response)


def _register_hooks(
    session: OAuth2Session, read_token_response: ReadResponse, read_refresh_response: ReadResponse
) -> None:
    session.register_client_auth_method(("client_secret_json", _encode_client_secret_json))
    # The project can have registered Authlib's own method, with its own algorithm. Authlib has no
    # public name for the registered methods.
    if PRIVATE_KEY_JWT not in session._auth_methods:  # type: ignore[attr-defined]  # the stubs lack it
        session.register_client_auth_method((PRIVATE_KEY_JWT, encode_assertion))
    # A failure that passed for a token would also replace the good token on refresh.
    session.register_compliance_hook("access_token_response", read_token_response)
    session.register_compliance_hook("refresh_token_response", read_refresh_response)
    remove_scope = functools.partial(_remove_default_scope, session.scope)
    session.register_compliance_hook("refresh_token_request", remove_scope)


def _remove_default_scope(
    default: Any, url: str, headers: dict[str, str], body: str
) -> tuple[str, dict[str, str], str]:
    """Remove the scope that Authlib adds to a refresh request.

    Without a scope, the new token has the scope that the user has granted. A user can have granted
    less than the whole scope, which is then an ``invalid_scope`` (RFC 6749, section 6).
    """
    scope = default if isinstance(default, str) else " ".join(default or ())
    members = [pair for pair in url_decode(body) if pair != ("scope", scope)]
    return url, headers, urlencode(members)


@raising_ciam_errors(Stage.TOKEN)
def _read_token_response(response: requests.Response) -> requests.Response:
    return _rewrite_token_response(response)


@raising_ciam_errors(Stage.REFRESH)
def _read_refresh_response(response: requests.Response) -> requests.Response:
    return _rewrite_token_response(response)


def _rewrite_token_response(response: requests.Response) -> requests.Response:
    """Change the token response into the form that Authlib expects, and return the response.

    Raises ``unreadable_answer`` if there is no token, or the ``CiamError`` of a failure.
    """
    # Serializers of Java write null for a member without a value.
    data = {name: value for name, value in data_of(response).items() if value is not None}
    token = data.get("access_token")
    if not isinstance(token, str) or not token:
        # A success with a next step (a `flowType`) has no token either.
        raise CiamError("unreadable_answer", upstream_status=response.status_code)
    if "expires_in" in data:
        # Authlib can read neither a text that is no number nor an infinite number.
        lifetime = LIFETIME.fullmatch(str(data["expires_in"]))
        data["expires_in"] = int(lifetime[1]) if lifetime else 0
    response._content = json.dumps({"token_type": "Bearer", **data}).encode()
    response.status_code = 200
    return response


def _encode_client_secret_json(
    client: HttpSession, method: str, uri: str, headers: dict[str, str], body: str
) -> tuple[str, dict[str, str], bytes]:
    """Put the client's credentials into a JSON body, as CIAM's own token endpoint requires.

    https://help.aliyun.com/en/idaas/ciam/developer-reference/authorization-information
    """
    members = dict(url_decode(body or ""))
    members |= {"client_id": client.client_id, "client_secret": client.client_secret}
    content = json.dumps(members).encode()
    headers["Content-Type"] = "application/json"
    headers["Content-Length"] = str(len(content))
    return uri, headers, content


def _keys_of(document: Any) -> KeySet:
    """Return the public signing keys, without those that joserfc can't read (RFC 7517, section 5).

    Raises ``unreadable_answer`` if no key is left.
    """
    keys = []
    listed = document.get("keys")
    for key in listed if isinstance(listed, list) else ():
        # A shared secret in a public document would let anyone sign (RFC 8725, section 3.1).
        if not isinstance(key, dict) or key.get("kty") == "oct" or key.get("use") == "enc":
            continue
        # Serializers of Java write null for a member without a value, which joserfc refuses.
        members = {name: value for name, value in key.items() if value is not None}
        with contextlib.suppress(JoseError, ValueError, TypeError, LookupError):
            keys.append(JWKRegistry.import_key(members))
    if not keys:
        raise CiamError(
            "unreadable_answer", upstream_text=own_text("the key set has no usable key")
        )
    return KeySet(keys)


def _is_address_wrong(error: CiamError) -> bool:
    """Return True if the failed call shows that the metadata's address is wrong.

    A refused connection, a timeout and a status of 5xx are failures of CIAM.
    """
    status = error.upstream_status or 0
    if 400 <= status < 500:
        # The firewall in front of CIAM blocks a request with the status 405 and a page.
        is_blocked = status == 405 and error.code == "unreadable_answer"
        return status not in _PASSING_STATUSES and not is_blocked
    # CIAM also answers an unknown path and an unknown application with the status 200.
    is_not_found = error.code.casefold().startswith((_UNKNOWN_PATH_CODE, "params."))
    return is_not_found or not _WRONG_ADDRESS_CAUSES.isdisjoint(error.cause_names)


def _metadata_of(document: Any) -> dict[str, Any]:
    """Return the metadata with only the trusted algorithms.

    Raises ``bad_configuration`` if a required member is missing, if an endpoint is not secure, or
    if no algorithm is trusted.
    """
    required = ["issuer", *(name for name, needs in _ENDPOINTS_IN_METADATA.items() if needs)]
    missing = [name for name in required if not isinstance(document.get(name), str)]
    if missing:
        raise _unusable_metadata(f"the metadata lacks {', '.join(missing)}")
    insecure = [name for name in _ENDPOINTS_IN_METADATA if not _is_secure(document.get(name))]
    if insecure:
        raise _unusable_metadata(f"{', '.join(insecure)} must have the scheme https")
    offered = document.get("id_token_signing_alg_values_supported")
    offered = offered if isinstance(offered, list) else ["RS256"]
    trusted = [
        name
        for name in JWSRegistry.algorithms
        if name in offered and name not in _UNTRUSTED_ALGORITHMS
    ]
    if not trusted:
        # joserfc takes an empty list for its own defaults, which include shared secrets.
        raise _unusable_metadata("the metadata has no algorithm that proves the signer")
    return {**document, "id_token_signing_alg_values_supported": trusted}


def _unusable_metadata(reason: str) -> CiamError:
    return CiamError("bad_configuration", upstream_text=own_text(reason))


def _is_secure(endpoint: object) -> bool:
    """Return True if the endpoint is missing, or is a URL that nobody on the way can read.

    The scheme is https, or http to this machine or under DEBUG.
    """
    if endpoint is None:
        return True
    try:
        parts = urlsplit(endpoint if isinstance(endpoint, str) else "")
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.scheme != "http":
        return parts.scheme == "https" and bool(host)
    return bool(host) and (settings.DEBUG or is_loopback(host))


def _auth_method(metadata: Mapping[str, Any], client_secret: str | None) -> str:
    """Return a ``token_endpoint_auth_method`` that the provider offers and this client supports."""
    if not client_secret:
        return "none"
    offered = metadata.get("token_endpoint_auth_methods_supported")
    if isinstance(offered, list) and "client_secret_basic" not in offered:
        return next(
            (m for m in ("client_secret_post", "client_secret_json") if m in offered),
            "client_secret_post",
        )
    # The default of OpenID Connect Discovery 1.0, section 3.
    return "client_secret_basic"


def clients_without_fix_in(modules: Iterable[object]) -> list[str]:
    """Return the names of the Authlib clients without ``compliance_fix`` in these modules."""
    # A module can be None, or an object of any class.
    names_of_modules = [getattr(each, "__dict__", {}) for each in modules]
    # isinstance() would evaluate lazy objects.
    registries = [
        value
        for names in names_of_modules
        for value in list(names.values())
        if issubclass(type(value), OAuth)
    ]
    return sorted(
        {
            name
            for registry in registries
            for name, client in registry._clients.items()
            if not getattr(client, "compliance_fix", None)
        }
    )
