"""What the fake answers at each address, when nobody has told it to fail."""

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
from joserfc.jwk import OctKey
from werkzeug import Request, Response
from werkzeug.utils import redirect

from ciam_django.testing.failures import (
    BEHAVIOURS,
    STAGES,
    Failure,
    Misbehaviour,
    RefusedError,
    request_id,
)
from ciam_django.testing.page import authorize_page, language_of, plain_page
from ciam_django.testing.tenant import APP_ID, CLIENT_SECRET, SignIn, Tenant

# Seconds.
_CODE_LIFETIME: Final = 600
_STAGE_OF_GRANT: Final = {"refresh_token": "refresh", "client_credentials": "application"}
_OWN_HOSTS: Final = ("127.0.0.1", "localhost", "testserver")

Outcome = Response | Misbehaviour


# --- By hand: what a user name says -----------------------------------------------------------


def typed(username: str, seconds: float) -> dict[str, Failure | Misbehaviour]:
    """What a user name such as ``fail:CODE``, ``fail:STAGE:CODE`` or ``slow:STAGE`` asks for."""
    what, _, rest = username.partition(":")
    if what == "fail" and rest:
        stage, _, code = rest.partition(":")
        if stage not in STAGES or not code:
            stage, code = "token", rest
        return {stage: Failure(code.strip(), text="as the user name asked")}
    if what in BEHAVIOURS and rest in STAGES:
        return {rest: Misbehaviour(what, seconds)}
    return {}


# --- The endpoints ----------------------------------------------------------------------------


def discovery(tenant: Tenant, request: Request) -> Outcome:
    """OpenID Connect Discovery 1.0, 4."""
    return _json(
        {
            "issuer": tenant.issuer,
            "authorization_endpoint": tenant.address("oauth/authorize", "authorize"),
            "token_endpoint": tenant.address("oidc/token", "token", "refresh"),
            "userinfo_endpoint": tenant.address("oidc/userinfo", "userinfo"),
            "jwks_uri": tenant.published[1],
            "end_session_endpoint": tenant.address("user/logout", "logout"),
            "backchannel_logout_supported": True,
            "backchannel_logout_session_supported": True,
            "frontchannel_logout_supported": True,
            "frontchannel_logout_session_supported": True,
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            "code_challenge_methods_supported": ["S256"],
            "scopes_supported": ["openid", "profile", "email", "USER_API"],
            "authorization_response_iss_parameter_supported": tenant.sends_issuer,
            **tenant.metadata,
        }
    )


def jwks(tenant: Tenant, request: Request) -> Outcome:
    """RFC 7517, 5: the keys of today."""
    return _json({"keys": tenant.published_keys})


def authorize(tenant: Tenant, request: Request) -> Outcome:
    """RFC 6749, 4.1.1: the page, and where its form leads."""
    asked = request.values.to_dict()
    if refused := _refused(tenant, request, asked):
        return refused
    if request.method != "POST":
        return _page(authorize_page(asked, language_of(request)))
    if asked.get("decision") == "cancel":
        return _back(tenant, asked, error="access_denied", error_description="the user said no")

    username = asked.get("username", "").strip() or "li"
    planned = typed(username, tenant.seconds)
    here = planned.pop("authorize", None)
    if isinstance(here, Failure):
        return _back_with(tenant, asked, here)
    if here:
        return here
    # Nobody's in particular, so that the next request of anyone meets it.
    for stage in ("discovery", "jwks", "logout"):
        if stage in planned:
            tenant.plan(stage, planned.pop(stage), times=1)
    sign_in = SignIn(
        username=username,
        redirect_uri=asked["redirect_uri"],
        scope=asked.get("scope", ""),
        nonce=asked.get("nonce", ""),
        code_challenge=asked["code_challenge"],
        planned=planned,
    )
    code = secrets.token_hex(12)
    tenant.codes[code] = sign_in
    return _back(tenant, asked, code=code)


def _refused(tenant: Tenant, request: Request, asked: Mapping[str, str]) -> Response | None:
    # A browser is never sent to an address that nobody has registered.
    if asked.get("client_id") != APP_ID:
        return _page(plain_page("client_id", language_of(request)), 400)
    if not is_registered(tenant, asked.get("redirect_uri", "")):
        return _page(plain_page("redirect_uri", language_of(request)), 400)
    if asked.get("response_type") != "code":
        return _back(tenant, asked, error="unsupported_response_type")
    if asked.get("code_challenge_method") != "S256" or not asked.get("code_challenge"):
        return _back(
            tenant, asked, error="invalid_request", error_description="PKCE S256 is required"
        )
    return None


def token(tenant: Tenant, request: Request) -> Outcome:
    """RFC 6749, 4.1.3 and 6: form in, token out."""
    asked = request.form.to_dict()
    client_id, secret = _basic(request) or (asked.get("client_id"), asked.get("client_secret"))
    sign_in, outcome = _granted(tenant, asked, client_id, secret)
    if outcome:
        return outcome
    answer = tokens_of(tenant, sign_in)
    if sign_in and "openid" in sign_in.scope.split():
        id_token = tenant.sign_id_token(sign_in, answer["access_token"])
        answer |= {"id_token": id_token} if id_token else {}
    return _json(answer)


def ciam_token(tenant: Tenant, request: Request) -> Outcome:
    """CIAM's own: JSON in, an envelope out."""
    try:
        asked = json.loads(request.get_data())
    except ValueError:
        raise RefusedError("Unsupported.Media.Type") from None
    if not isinstance(asked, dict):
        raise RefusedError("Params.Illegal")
    sign_in, outcome = _granted(tenant, asked, asked.get("client_id"), asked.get("client_secret"))
    if outcome:
        return outcome
    answer = tokens_of(tenant, sign_in, str(asked.get("scope") or "APPLICATION_API"))
    if sign_in:
        answer |= {"userId": sign_in.user_id, "uuid": sign_in.user_id}
        answer["id_token"] = tenant.sign_ciam_id_token(sign_in)
    return enveloped(answer)


def userinfo(tenant: Tenant, request: Request) -> Outcome:
    """OpenID Connect Core 1.0, 5.3."""
    sign_in = bearer(tenant, request)
    if outcome := _happens(sign_in, "userinfo"):
        return outcome
    return _json(tenant.userinfo_of(sign_in))


def user_info(tenant: Tenant, request: Request) -> Outcome:
    """CIAM's ``user/info``."""
    sign_in = bearer(tenant, request)
    if outcome := _happens(sign_in, "api"):
        return outcome
    return enveloped(None if request.method == "PUT" else person_of(sign_in))


def person_of(sign_in: SignIn) -> dict[str, Any]:
    """Somebody as CIAM's API tells of them."""
    return {
        "userId": sign_in.user_id,
        "uuid": sign_in.user_id,
        "username": sign_in.username,
        "displayName": sign_in.profile["name"],
        "email": sign_in.profile["email"],
        "phoneNumber": "13800000000",
    }


def logout(tenant: Tenant, request: Request) -> Outcome:
    """OpenID Connect RP-Initiated Logout 1.0, 2; for a bearer token, CIAM's own ``user/logout``."""
    if request.headers.get("Authorization"):
        bearer(tenant, request)
        tenant.access_tokens.pop(_token_in(request))
        return enveloped(None)
    asked = request.values
    back_to = asked.get("post_logout_redirect_uri", "")
    if not back_to:
        return _page(plain_page("signed_out", language_of(request)))
    client_id = asked.get("client_id") or _audience(tenant, asked.get("id_token_hint", ""))
    if client_id != APP_ID or not is_registered(tenant, back_to):
        return _page(plain_page("post_logout_redirect_uri", language_of(request)), 400)
    return redirect(_with_query(back_to, {"state": asked["state"]} if asked.get("state") else {}))


def failed(tenant: Tenant, request: Request, stage: str, failure: Failure) -> Response:
    """What a planned failure looks like: at the authorize page, the way back to the client.

    A failure with a status of its own is answered in place, and so is a request that must not be
    sent anywhere.
    """
    asked = request.values.to_dict()
    if stage != "authorize" or failure.status or _refused(tenant, request, asked):
        return failure.response
    return _back_with(tenant, asked, failure)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A row: which stage an address is of, and who answers there."""

    stage: str
    methods: tuple[str, ...]
    answer: Callable[[Tenant, Request], Outcome]


ENDPOINTS: Final[dict[str, Endpoint]] = {
    f"oidc/{APP_ID}/.well-known/openid-configuration": Endpoint("discovery", ("GET",), discovery),
    f"oidc/{APP_ID}/.well-known/jwks.json": Endpoint("jwks", ("GET",), jwks),
    "oauth/authorize": Endpoint("authorize", ("GET", "POST"), authorize),
    "oauth/token": Endpoint("token", ("POST",), ciam_token),
    "oidc/token": Endpoint("token", ("POST",), token),
    "oidc/userinfo": Endpoint("userinfo", ("GET", "POST"), userinfo),
    "user/info": Endpoint("api", ("GET", "PUT"), user_info),
    "user/logout": Endpoint("logout", ("GET", "POST"), logout),
}


def is_registered(tenant: Tenant, address: str) -> bool:
    """Whether a browser may be sent there: this machine's own addresses may, and who was added."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    is_own = parts.scheme in ("http", "https") and parts.hostname in _OWN_HOSTS
    # RFC 6749, 3.1.2: no fragment.
    return (is_own or address in tenant.redirect_uris) and "#" not in address


def stage_of(endpoint: Endpoint, request: Request) -> str:
    """Where on the way a request is: at the token's addresses, the grant decides."""
    if endpoint.stage != "token":
        return endpoint.stage
    return _STAGE_OF_GRANT.get(str(_grant_type(request)), endpoint.stage)


def _grant_type(request: Request) -> object:
    try:
        asked = json.loads(request.get_data())
    except ValueError:
        return request.form.get("grant_type")
    return asked.get("grant_type") if isinstance(asked, dict) else None


# --- What a real server checks ----------------------------------------------------------------


def _granted(
    tenant: Tenant, asked: Mapping[str, Any], client_id: object, secret: object
) -> tuple[SignIn | None, Outcome | None]:
    """Whose sign-in a grant is of (nobody's: the application's own), or what is to happen."""
    if client_id != APP_ID or not _is_same(str(secret), CLIENT_SECRET):
        raise RefusedError("invalid_client", status=401)
    match asked.get("grant_type"):
        case "authorization_code":
            sign_in = _of_code(tenant, asked)
            return sign_in, _happens(sign_in, "token")
        case "refresh_token":
            # Each is good for one use, as of RFC 9700, 4.14.2.
            found = tenant.refresh_tokens.pop(str(asked.get("refresh_token")), None)
            if not found:
                given = asked.get("refresh_token")
                raise RefusedError("invalid_grant", f"Invalid refresh token: {given}")
            tenant.people.check_still(found.username)
            return found, _happens(found, "refresh")
        case "client_credentials":
            return None, None
        case None:
            raise RefusedError("invalid_request", "Missing grant type")
        case other:
            raise RefusedError("unsupported_grant_type", f"{other}")


def _of_code(tenant: Tenant, asked: Mapping[str, Any]) -> SignIn:
    code = str(asked.get("code"))
    # Spent by the first attempt, a wrong one too.
    sign_in = tenant.codes.pop(code, None)
    challenge = _s256(str(asked.get("code_verifier") or ""))
    if (
        sign_in is None
        or time.monotonic() - sign_in.began > _CODE_LIFETIME
        or asked.get("redirect_uri") != sign_in.redirect_uri
        or not _is_same(challenge, sign_in.code_challenge)
    ):
        # CIAM does write the code itself into its description.
        raise RefusedError("invalid_grant", f"Invalid authorization code: {code}")
    return sign_in


def _s256(verifier: str) -> str:
    """RFC 7636, 4.6."""
    digest = hashlib.sha256(_bytes(verifier)).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _is_same(given: str, expected: str) -> bool:
    return hmac.compare_digest(_bytes(given), _bytes(expected))


def _bytes(text: str) -> bytes:
    # JSON can hold half a character, which UTF-8 cannot.
    return text.encode(errors="backslashreplace")


def _basic(request: Request) -> tuple[str, str] | None:
    """RFC 6749, 2.3.1: both parts are form-encoded first."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, _, secret = base64.b64decode(value).decode().partition(":")
    except ValueError:
        return "", ""
    return unquote(name), unquote(secret)


def bearer(tenant: Tenant, request: Request) -> SignIn:
    """Whose token a request has."""
    given = _token_in(request)
    if given not in tenant.access_tokens:
        # As CIAM writes it, with the whole token.
        raise RefusedError("invalid_token", f"Invalid access token: {given}", 401)
    sign_in = tenant.access_tokens[given]
    tenant.people.check_still(sign_in.username)
    return sign_in


def check_application(tenant: Tenant, request: Request, scope: str) -> None:
    """Refuse a request without the application's own token, or with one for other calls."""
    given = _token_in(request)
    if given not in tenant.application_tokens:
        raise RefusedError("invalid_token", f"Invalid access token: {given}", 401)
    if scope not in tenant.application_tokens[given]:
        raise RefusedError("Operation.Denied", status=403)


def _token_in(request: Request) -> str:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    return given if scheme.lower() == "bearer" else request.args.get("access_token", "")


def _audience(tenant: Tenant, id_token: str) -> object:
    """Whom a token of ours was made for, however old it is; nobody for any other."""
    try:
        return jwt.decode(id_token, tenant.key, ["RS256"]).claims.get("aud")
    except (JoseError, ValueError):
        return None


def _happens(sign_in: SignIn, stage: str) -> Outcome | None:
    planned = sign_in.planned.get(stage)
    return planned.response if isinstance(planned, Failure) else planned


def tokens_of(
    tenant: Tenant, sign_in: SignIn | None, scope: str = "APPLICATION_API"
) -> dict[str, Any]:
    """New tokens of a sign-in, or of the application's own."""
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
        tenant.people.know(sign_in.username)
        answer["refresh_token"] = secrets.token_hex(16)
        tenant.access_tokens[access_token] = sign_in
        tenant.refresh_tokens[answer["refresh_token"]] = sign_in
    else:
        tenant.application_tokens[access_token] = frozenset(scope.split())
    return answer


def _shared_secret_token(tenant: Tenant, scope: str) -> str:
    """As CIAM's samples are: HS256, which no published key can verify."""
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


def _page(content: str, status: int = 200) -> Response:
    return Response(content, status, mimetype="text/html")


def _json(body: Mapping[str, Any]) -> Response:
    return Response(json.dumps(body, ensure_ascii=False), mimetype="application/json")


def enveloped(data: object) -> Response:
    """CIAM's success."""
    return _json(
        {
            "success": True,
            "code": "Operation.Success",
            "message": None,
            "requestId": request_id(),
            "data": data,
        }
    )


def _back(tenant: Tenant, asked: Mapping[str, str], **parameters: str) -> Response:
    if "state" in asked:
        parameters["state"] = asked["state"]
    if tenant.sends_issuer:
        parameters["iss"] = tenant.issuer
    return redirect(_with_query(asked["redirect_uri"], parameters))


def _back_with(tenant: Tenant, asked: Mapping[str, str], failure: Failure) -> Response:
    """RFC 6749, 4.1.2.1."""
    response = _back(tenant, asked, error=failure.code, error_description=failure.text)
    response.headers.update(failure.headers)
    return response


def _with_query(address: str, parameters: Mapping[str, str]) -> str:
    if not parameters:
        return address
    return f"{address}{'&' if '?' in address else '?'}{urlencode(parameters)}"
