"""Authlib's OAuth client for CIAM, from ``AUTHLIB_OAUTH_CLIENTS["ciam"]``, in its two modes."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import requests
from authlib.common.urls import add_params_to_uri, url_decode
from authlib.integrations.django_client import DjangoIntegration, DjangoOAuth2App
from django.conf import settings

from ciam_django.client.bodies import data_of
from ciam_django.client.transport import Session
from ciam_django.conf import remembered
from ciam_django.errors import CiamError, raising_ciam_errors

NAME: Final = "ciam"
# Seconds by which CIAM's clock may differ from ours.
_LEEWAY: Final = 120
# A shared secret or none at all proves nothing about who signed (RFC 8725, 3.1).
_SYMMETRIC: Final = ("none", "HS256", "HS384", "HS512")

# At DEBUG they log PKCE's verifier and OAuth 1's token, of every client in the process.
for _name in ("sync_app", "async_app"):
    logging.getLogger(f"authlib.integrations.base_client.{_name}").addFilter(
        lambda record: record.levelno > logging.DEBUG
    )


class CiamApp(DjangoOAuth2App):
    """Authlib's app over our transport; what fails in it leaves as a ``CiamError``.

    Two modes, chosen by the setting: OIDC where it has ``server_metadata_url``, CIAM's own
    where it has ``authorize_url`` and ``access_token_url``.
    """

    client_cls = Session

    if TYPE_CHECKING:
        # types-Authlib leaves them out.
        _server_metadata_url: str | None
        server_metadata: dict[str, Any]

        def _get_session(self) -> Session: ...

    @property
    def is_oidc(self) -> bool:
        """Whether the setting asks for OpenID Connect."""
        return bool(self._server_metadata_url)

    def session(self) -> Session:
        """A session for one call outside of OAuth's own."""
        return self._get_session()

    def load_server_metadata(self) -> dict[str, Any]:
        """The provider's metadata (OpenID Connect Discovery 1.0, 4), fetched once."""
        url = self._server_metadata_url
        if url and "_loaded_at" not in self.server_metadata:
            with self._get_session() as session:
                metadata = data_of(session.request("GET", url, withhold_token=True))
            self.server_metadata.update(_checked(metadata), _loaded_at=True)
            self.client_kwargs.setdefault(
                "token_endpoint_auth_method", _auth_method(metadata, self.client_secret)
            )
        return self.server_metadata

    def authorization_url(
        self, *, redirect_uri: str, state: str, nonce: str, code_verifier: str
    ) -> str:
        """Where to send the browser: CIAM's own page, asked for a code with PKCE S256."""
        with raising_ciam_errors("authorize"):
            asked = self.create_authorization_url(
                redirect_uri, state=state, nonce=nonce, code_verifier=code_verifier
            )
        return str(asked["url"])

    def token_of(self, *, code: str, redirect_uri: str, code_verifier: str) -> dict[str, Any]:
        """The token answer for a code; the code is spent, whatever comes."""
        with raising_ciam_errors("token"):
            token: dict[str, Any] = self.fetch_access_token(  # type: ignore[no-untyped-call]
                redirect_uri=redirect_uri, code=code, code_verifier=code_verifier
            )
            return token

    def claims_of(self, token: Mapping[str, Any], nonce: str) -> dict[str, Any]:
        """The proven claims of the token answer's id_token (OpenID Connect Core 1.0, 3.1.3.7)."""
        if not token.get("id_token"):
            raise CiamError("missing_id_token", stage="id_token")
        with raising_ciam_errors("id_token"):
            metadata = self.load_server_metadata()
            required = {
                "iss": {"essential": True, "value": metadata["issuer"]},
                "aud": {"essential": True, "value": self.client_id},
                **{name: {"essential": True} for name in ("sub", "exp", "iat", "nonce")},
            }
            claims = self.parse_id_token(
                token, nonce=nonce, claims_options=required, leeway=_LEEWAY
            )
            return dict(claims or {})

    def logout_url(self, *, back_to: str) -> str | None:
        """Where CIAM ends its own session (OpenID Connect RP-Initiated Logout 1.0), if it can."""
        with raising_ciam_errors("logout"):
            endpoint = self.load_server_metadata().get("end_session_endpoint")
            if not endpoint:
                return None
            # Authlib's own method adds a state, which nobody would look at.
            asked = {"post_logout_redirect_uri": back_to, "client_id": self.client_id}
            return str(add_params_to_uri(endpoint, list(asked.items())))


@remembered
def ciam_app() -> CiamApp:
    """The app that the setting describes, made anew when the setting changes."""
    config: Mapping[str, Any] = (getattr(settings, "AUTHLIB_OAUTH_CLIENTS", None) or {}).get(
        NAME
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
        DjangoIntegration(NAME),
        NAME,
        **{
            **config,
            # The project's over ours, one by one; PKCE last, since it is not to be had without.
            "client_kwargs": {
                **defaults,
                **(config.get("client_kwargs") or {}),
                "code_challenge_method": "S256",
            },
            "compliance_fix": _register_hooks,
            "client_auth_methods": [("client_secret_json", _client_secret_json)],
        },
    )


def _register_hooks(session: Session) -> None:
    # Both: a failure taken for a token would be stored over the good one on refresh.
    session.register_compliance_hook("access_token_response", _token_response)
    session.register_compliance_hook("refresh_token_response", _token_response)


def _token_response(response: requests.Response) -> requests.Response:
    """The answer of a token endpoint as Authlib expects it, or a ``CiamError``."""
    data = data_of(response)
    token = data.get("access_token")
    if not isinstance(token, str) or not token:
        # A success that goes on (a `flowType`) is no token either.
        raise CiamError("unreadable_answer", upstream_status=response.status_code)
    response._content = json.dumps({"token_type": "Bearer", **data}).encode()
    response.status_code = 200
    return response


def _client_secret_json(
    client: Session, method: str, uri: str, headers: dict[str, str], body: str
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


def _checked(metadata: dict[str, Any]) -> dict[str, Any]:
    """The metadata, if it has what a login needs, with the algorithms that can prove a token."""
    missing = [
        name
        for name in ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri")
        if not isinstance(metadata.get(name), str)
    ]
    if missing:
        raise CiamError(
            "bad_configuration", upstream_text=f"the metadata lacks {', '.join(missing)}"
        )
    offered = metadata.get("id_token_signing_alg_values_supported")
    offered = offered if isinstance(offered, list) else ["RS256"]
    proving = [name for name in offered if isinstance(name, str) and name not in _SYMMETRIC]
    return {**metadata, "id_token_signing_alg_values_supported": proving}


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
