"""The fake's OAuth and OpenID Connect endpoints, and the answers without a planned failure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlencode, urlsplit

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey, RSAKey
from werkzeug import Request, Response
from werkzeug.utils import redirect

from ciam_django.testing.failures import (
    BEHAVIOURS,
    STAGES,
    Failure,
    Misbehaviour,
    RefusedError,
    new_request_id,
)
from ciam_django.testing.page import authorize_page, language_of, message_page
from ciam_django.testing.tenant import APP_ID, CLIENT_SECRET, FakeSignIn, Tenant

# Seconds.
_CODE_LIFETIME: Final = 600
# RFC 7523, 2.2.
ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_STAGE_OF_GRANT: Final = {"refresh_token": "refresh", "client_credentials": "application"}
_OWN_HOSTS: Final = ("127.0.0.1", "localhost", "testserver")

Reply = Response | Misbehaviour


# --- Faults that a user name asks for ---------------------------------------------------------


def faults_in_username(username: str, seconds: float) -> dict[str, Failure | Misbehaviour]:
    """Return stage -> fault, as a developer asks for faults by typing a user name.

    The user name is ``fail:CODE``, ``fail:STAGE:CODE`` or ``BEHAVIOUR:STAGE``, for example
    ``slow:token``. ``seconds`` is how long a slow behaviour takes.
    """
    behaviour, _, rest = username.partition(":")
    if behaviour == "fail" and rest:
        stage, _, code = rest.partition(":")
        if stage not in STAGES or not code:
            stage, code = "token", rest
        return {stage: Failure(code.strip(), text="as the user name asked")}
    if behaviour in BEHAVIOURS and rest in STAGES:
        return {rest: Misbehaviour(behaviour, seconds)}
    return {}


# --- The endpoints ----------------------------------------------------------------------------


def discovery(tenant: Tenant, request: Request) -> Reply:
    """Answer with the metadata (OpenID Connect Discovery 1.0, section 4)."""
    return _json_response(
        {
            "issuer": tenant.issuer,
            "authorization_endpoint": tenant.address("oauth/authorize", "authorize"),
            "token_endpoint": tenant.address("oidc/token", "token", "refresh"),
            "userinfo_endpoint": tenant.address("oidc/userinfo", "userinfo"),
            "jwks_uri": tenant.metadata_and_jwks_urls[1],
            "end_session_endpoint": tenant.address("user/logout", "logout"),
            "backchannel_logout_supported": True,
            "backchannel_logout_session_supported": True,
            "frontchannel_logout_supported": True,
            "frontchannel_logout_session_supported": True,
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["private_key_jwt"]
            if tenant.client_key
            else ["client_secret_post", "client_secret_basic"],
            "code_challenge_methods_supported": ["S256"],
            "scopes_supported": ["openid", "profile", "email", "USER_API"],
            "authorization_response_iss_parameter_supported": tenant.sends_issuer,
            **tenant.metadata,
        }
    )


def jwks(tenant: Tenant, request: Request) -> Reply:
    """Answer with the key set that is valid now (RFC 7517, section 5)."""
    return _json_response({"keys": tenant.published_keys})


def authorize(tenant: Tenant, request: Request) -> Reply:
    """Answer with the authorize page, or redirect to the client for its form (RFC 6749, 4.1.1)."""
    parameters = request.values.to_dict()
    if refused := _refusal_of(tenant, request, parameters):
        return refused
    if request.method != "POST":
        return _html_response(authorize_page(parameters, language_of(request)))
    if parameters.get("decision") == "cancel":
        return _callback_redirect(
            tenant,
            parameters,
            error="access_denied",
            error_description="the user refused the authorization",
        )

    username = parameters.get("username", "").strip() or "li"
    planned = faults_in_username(username, tenant.slow_seconds)
    authorize_fault = planned.pop("authorize", None)
    if isinstance(authorize_fault, Failure):
        return _failure_redirect(tenant, parameters, authorize_fault)
    if authorize_fault:
        return authorize_fault
    # A request of these stages belongs to no sign-in, so the next request of the stage gets the
    # fault.
    for stage in ("discovery", "jwks", "logout"):
        if stage in planned:
            tenant.plan(stage, planned.pop(stage), times=1)
    sign_in = FakeSignIn(
        username=username,
        redirect_uri=parameters["redirect_uri"],
        scope=parameters.get("scope", "") if tenant.granted_scope is None else tenant.granted_scope,
        nonce=parameters.get("nonce", ""),
        code_challenge=parameters["code_challenge"],
        planned=planned,
    )
    code = secrets.token_hex(12)
    tenant.codes[code] = sign_in
    return _callback_redirect(tenant, parameters, code=code)


def _refusal_of(tenant: Tenant, request: Request, parameters: Mapping[str, str]) -> Response | None:
    # The browser is never redirected to an address that is not registered.
    if parameters.get("client_id") != APP_ID:
        return _html_response(message_page("client_id", language_of(request)), 400)
    if not is_registered(tenant, parameters.get("redirect_uri", "")):
        return _html_response(message_page("redirect_uri", language_of(request)), 400)
    if parameters.get("response_type") != "code":
        return _callback_redirect(tenant, parameters, error="unsupported_response_type")
    if parameters.get("code_challenge_method") != "S256" or not parameters.get("code_challenge"):
        return _callback_redirect(
            tenant, parameters, error="invalid_request", error_description="PKCE S256 is required"
        )
    return None


def token(tenant: Tenant, request: Request) -> Reply:
    """Exchange a grant, sent as a form, for tokens (RFC 6749, 4.1.3 and 6)."""
    parameters = request.form.to_dict()
    client_id, secret = _basic_credentials(request) or (
        parameters.get("client_id"),
        parameters.get("client_secret"),
    )
    sign_in, outcome = _redeem_grant(tenant, parameters, client_id, secret)
    if outcome:
        return outcome
    answer = issue_tokens(tenant, sign_in)
    if sign_in and "openid" in sign_in.scope.split():
        id_token = tenant.sign_id_token(sign_in, answer["access_token"])
        answer |= {"id_token": id_token} if id_token else {}
    return _json_response(answer)


def ciam_token(tenant: Tenant, request: Request) -> Reply:
    """Exchange a grant for tokens as CIAM does, with a JSON request and an envelope as answer."""
    try:
        parameters = json.loads(request.get_data())
    except ValueError:
        raise RefusedError("Unsupported.Media.Type") from None
    if not isinstance(parameters, dict):
        raise RefusedError("Params.Illegal")
    sign_in, outcome = _redeem_grant(
        tenant, parameters, parameters.get("client_id"), parameters.get("client_secret")
    )
    if outcome:
        return outcome
    answer = issue_tokens(tenant, sign_in, str(parameters.get("scope") or "APPLICATION_API"))
    if sign_in:
        answer |= {"userId": sign_in.user_id, "uuid": sign_in.user_id}
        answer["id_token"] = tenant.sign_ciam_id_token(sign_in)
    return enveloped_response(answer)


def userinfo(tenant: Tenant, request: Request) -> Reply:
    """Answer with the user's claims (OpenID Connect Core 1.0, 5.3)."""
    sign_in = authenticate_bearer(tenant, request)
    if outcome := _planned_reply(sign_in, "userinfo"):
        return outcome
    return _json_response(tenant.userinfo_of(sign_in))


def ciam_user_info(tenant: Tenant, request: Request) -> Reply:
    """Answer a GET of CIAM's ``user/info`` with the user's data, and a PUT with no data."""
    sign_in = authenticate_bearer(tenant, request)
    if outcome := _planned_reply(sign_in, "api"):
        return outcome
    return enveloped_response(None if request.method == "PUT" else user_data_of(sign_in))


def user_data_of(sign_in: FakeSignIn) -> dict[str, Any]:
    """Return a user's data with the names of CIAM's API."""
    return {
        "userId": sign_in.user_id,
        "uuid": sign_in.user_id,
        "username": sign_in.username,
        "displayName": sign_in.profile["name"],
        "email": sign_in.profile["email"],
        "phoneNumber": "13800000000",
    }


def logout(tenant: Tenant, request: Request) -> Reply:
    """Log out as OpenID Connect RP-Initiated Logout 1.0, section 2 says.

    A request with a bearer token calls CIAM's own ``user/logout``, which ends the access token.
    """
    if request.headers.get("Authorization"):
        authenticate_bearer(tenant, request)
        tenant.access_tokens.pop(_token_in(request))
        return enveloped_response(None)
    parameters = request.values
    back_to = parameters.get("post_logout_redirect_uri", "")
    if not back_to:
        return _html_response(message_page("signed_out", language_of(request)))
    client_id = parameters.get("client_id") or _audience(
        tenant, parameters.get("id_token_hint", "")
    )
    if client_id != APP_ID or not is_registered(tenant, back_to):
        return _html_response(message_page("post_logout_redirect_uri", language_of(request)), 400)
    return redirect(
        _with_query(back_to, {"state": parameters["state"]} if parameters.get("state") else {})
    )


def failure_response(tenant: Tenant, request: Request, stage: str, failure: Failure) -> Response:
    """Return the response for a planned failure.

    At the authorize page, the response redirects to the client. A failure that has a status, and a
    request whose redirect URI or client is refused, are answered without a redirect.
    """
    parameters = request.values.to_dict()
    if stage != "authorize" or failure.status or _refusal_of(tenant, request, parameters):
        return failure.response
    return _failure_redirect(tenant, parameters, failure)


@dataclass(frozen=True, slots=True)
class Route:
    """An address of the fake: its stage, its HTTP methods and its handler."""

    stage: str
    methods: tuple[str, ...]
    handle: Callable[[Tenant, Request], Reply]


OAUTH_ROUTES: Final[dict[str, Route]] = {
    f"oidc/{APP_ID}/.well-known/openid-configuration": Route("discovery", ("GET",), discovery),
    f"oidc/{APP_ID}/.well-known/jwks.json": Route("jwks", ("GET",), jwks),
    "oauth/authorize": Route("authorize", ("GET", "POST"), authorize),
    "oauth/token": Route("token", ("POST",), ciam_token),
    "oidc/token": Route("token", ("POST",), token),
    "oidc/userinfo": Route("userinfo", ("GET", "POST"), userinfo),
    "user/info": Route("api", ("GET", "PUT"), ciam_user_info),
    "user/logout": Route("logout", ("GET", "POST"), logout),
}


def is_registered(tenant: Tenant, address: str) -> bool:
    """Return True if the address is a redirect URI that the fake accepts.

    The fake accepts the addresses of this machine, and those in ``Tenant.redirect_uris``.
    """
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    is_own = parts.scheme in ("http", "https") and parts.hostname in _OWN_HOSTS
    # A redirect URI must not have a fragment (RFC 6749, 3.1.2).
    return (is_own or address in tenant.redirect_uris) and "#" not in address


def stage_of(endpoint: Route, request: Request) -> str:
    """Return the stage of a request; at a token endpoint, the grant type decides."""
    if endpoint.stage != "token":
        return endpoint.stage
    return _STAGE_OF_GRANT.get(str(_grant_type(request)), endpoint.stage)


def _grant_type(request: Request) -> object:
    try:
        parameters = json.loads(request.get_data())
    except ValueError:
        return request.form.get("grant_type")
    return parameters.get("grant_type") if isinstance(parameters, dict) else None


# --- The checks of a real server --------------------------------------------------------------


def _redeem_grant(
    tenant: Tenant, parameters: Mapping[str, Any], client_id: object, secret: object
) -> tuple[FakeSignIn | None, Reply | None]:
    """Return the grant's sign-in, and the fault that the sign-in planned for this stage.

    The sign-in is None for the application's own grant.
    """
    if tenant.client_key:
        _check_assertion(tenant, tenant.client_key, parameters, has_secret=bool(secret))
    elif client_id != APP_ID or not _is_same(str(secret), CLIENT_SECRET):
        raise RefusedError("invalid_client", status=401)
    match parameters.get("grant_type"):
        case "authorization_code":
            sign_in = _redeem_code(tenant, parameters)
            return sign_in, _planned_reply(sign_in, "token")
        case "refresh_token":
            # A refresh token is valid for one use (RFC 9700, 4.14.2).
            refresh_token = str(parameters.get("refresh_token"))
            refreshed = tenant.refresh_tokens.pop(refresh_token, None)
            if not refreshed:
                raise RefusedError("invalid_grant", f"Invalid refresh token: {refresh_token}")
            # A refresh can't add a scope to the granted scope (RFC 6749, 6).
            if not set(str(parameters.get("scope") or "").split()) <= set(refreshed.scope.split()):
                raise RefusedError("invalid_scope")
            tenant.accounts.check_still_enabled(refreshed.username)
            return refreshed, _planned_reply(refreshed, "refresh")
        case "client_credentials":
            return None, None
        case None:
            raise RefusedError("invalid_request", "Missing grant type")
        case other:
            raise RefusedError("unsupported_grant_type", f"{other}")


def _check_assertion(
    tenant: Tenant, key: RSAKey | ECKey, parameters: Mapping[str, Any], *, has_secret: bool
) -> None:
    """Raise ``RefusedError`` unless the client's key has signed the assertion (RFC 7523, 3)."""
    urls = [tenant.address(path, "token", "refresh") for path in ("oidc/token", "oauth/token")]
    urls.append(tenant.address("oauth/token", "application"))
    try:
        claims = jwt.decode(str(parameters.get("client_assertion")), key, ["RS256", "ES256"]).claims
        jwt.JWTClaimsRegistry(
            iss={"essential": True, "value": APP_ID},
            sub={"essential": True, "value": APP_ID},
            aud={"essential": True, "values": urls},
            exp={"essential": True},
            jti={"essential": True},
        ).validate(claims)
    except (JoseError, ValueError) as error:
        raise RefusedError("invalid_client", str(error), 401) from error
    is_repeated = claims["jti"] in tenant.used_assertions
    tenant.used_assertions.add(claims["jti"])
    if has_secret or is_repeated or parameters.get("client_assertion_type") != ASSERTION_TYPE:
        raise RefusedError("invalid_client", status=401)


def _redeem_code(tenant: Tenant, parameters: Mapping[str, Any]) -> FakeSignIn:
    code = str(parameters.get("code"))
    # The first attempt spends the code, even if the attempt fails.
    sign_in = tenant.codes.pop(code, None)
    challenge = s256(str(parameters.get("code_verifier") or ""))
    if (
        sign_in is None
        or time.monotonic() - sign_in.started_at > _CODE_LIFETIME
        or parameters.get("redirect_uri") != sign_in.redirect_uri
        or not _is_same(challenge, sign_in.code_challenge)
    ):
        # CIAM writes the code into its error description.
        raise RefusedError("invalid_grant", f"Invalid authorization code: {code}")
    return sign_in


def s256(verifier: str) -> str:
    """Return the S256 challenge of a PKCE verifier (RFC 7636, 4.6)."""
    digest = hashlib.sha256(_bytes(verifier)).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _is_same(value: str, expected: str) -> bool:
    return hmac.compare_digest(_bytes(value), _bytes(expected))


def _bytes(text: str) -> bytes:
    # JSON can hold a lone surrogate, which UTF-8 cannot encode.
    return text.encode(errors="backslashreplace")


def _basic_credentials(request: Request) -> tuple[str, str] | None:
    """Both parts are form-encoded (RFC 6749, 2.3.1)."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, _, secret = base64.b64decode(value).decode().partition(":")
    except ValueError:
        return "", ""
    return unquote(name), unquote(secret)


def authenticate_bearer(tenant: Tenant, request: Request) -> FakeSignIn:
    """Return the sign-in of the request's access token.

    Raise ``RefusedError`` if the token is unknown or the account is disabled.
    """
    access_token = _token_in(request)
    if access_token not in tenant.access_tokens:
        # CIAM writes the whole token into its error description.
        raise RefusedError("invalid_token", f"Invalid access token: {access_token}", 401)
    sign_in = tenant.access_tokens[access_token]
    tenant.accounts.check_still_enabled(sign_in.username)
    return sign_in


def check_application_token(tenant: Tenant, request: Request, scope: str) -> None:
    """Raise ``RefusedError`` without an application token, or if the token lacks the scope."""
    access_token = _token_in(request)
    if access_token not in tenant.application_tokens:
        raise RefusedError("invalid_token", f"Invalid access token: {access_token}", 401)
    if scope not in tenant.application_tokens[access_token]:
        raise RefusedError("Operation.Denied", status=403)


def _token_in(request: Request) -> str:
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    return value if scheme.lower() == "bearer" else request.args.get("access_token", "")


def _audience(tenant: Tenant, id_token: str) -> object:
    """Return the ``aud`` of an id_token of the fake, even an expired one; None for other tokens."""
    try:
        return jwt.decode(id_token, tenant.key, ["RS256"]).claims.get("aud")
    except (JoseError, ValueError):
        return None


def _planned_reply(sign_in: FakeSignIn, stage: str) -> Reply | None:
    planned = sign_in.planned.get(stage)
    return planned.response if isinstance(planned, Failure) else planned


def issue_tokens(
    tenant: Tenant, sign_in: FakeSignIn | None, scope: str = "APPLICATION_API"
) -> dict[str, Any]:
    """Issue tokens for a sign-in, or for the application if the sign-in is None.

    Return the members of the token response. ``scope`` applies to the application only.
    """
    scope = sign_in.scope if sign_in else scope
    access_token = (
        tenant.sign_access_token(sign_in, scope)
        if tenant.signs_access_tokens
        else _shared_secret_token(tenant, scope)
    )
    answer: dict[str, Any] = {
        "access_token": access_token,
        "token_type": "Bearer",
        "expires_in": tenant.token_lifetime,
        "scope": scope,
    }
    if sign_in:
        tenant.accounts.record_account(sign_in.username)
        answer["refresh_token"] = secrets.token_hex(16)
        tenant.access_tokens[access_token] = sign_in
        tenant.refresh_tokens[answer["refresh_token"]] = sign_in
    else:
        tenant.application_tokens[access_token] = frozenset(scope.split())
    return answer


def _shared_secret_token(tenant: Tenant, scope: str) -> str:
    """Return an HS256 token as in CIAM's samples, which no published key can verify."""
    claims = {
        "jti": secrets.token_hex(8),
        "client_id": tenant.client_id_of_tokens,
        "scope": scope,
        "exp": int(time.time()) + tenant.token_lifetime,
        **tenant.access_token_claims,
    }
    return jwt.encode(
        {"alg": "HS256"},
        {name: value for name, value in claims.items() if value is not None},
        OctKey.import_key("a secret of the fake's, 32 bytes."),
    )


# --- Responses --------------------------------------------------------------------------------


def _html_response(content: str, status: int = 200) -> Response:
    return Response(content, status, mimetype="text/html")


def _json_response(body: Mapping[str, Any]) -> Response:
    return Response(json.dumps(body, ensure_ascii=False), mimetype="application/json")


def enveloped_response(data: object) -> Response:
    """Return CIAM's success envelope around the data."""
    return _json_response(
        {
            "success": True,
            "code": "Operation.Success",
            "message": None,
            "requestId": new_request_id(),
            "data": data,
        }
    )


def _callback_redirect(
    tenant: Tenant, authorize_parameters: Mapping[str, str], **parameters: str
) -> Response:
    if "state" in authorize_parameters:
        parameters["state"] = authorize_parameters["state"]
    if tenant.sends_issuer:
        parameters["iss"] = tenant.issuer
    return redirect(_with_query(authorize_parameters["redirect_uri"], parameters))


def _failure_redirect(tenant: Tenant, parameters: Mapping[str, str], failure: Failure) -> Response:
    """Redirect to the client with ``?error=`` (RFC 6749, 4.1.2.1)."""
    response = _callback_redirect(
        tenant, parameters, error=failure.code, error_description=failure.text
    )
    response.headers.update(failure.headers)
    return response


def _with_query(address: str, parameters: Mapping[str, str]) -> str:
    if not parameters:
        return address
    return f"{address}{'&' if '?' in address else '?'}{urlencode(parameters)}"
