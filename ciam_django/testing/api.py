"""The addresses of a fake CIAM's API, with what each of them checks and answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from werkzeug import Request

from ciam_django.testing import endpoints
from ciam_django.testing.endpoints import Endpoint, Outcome
from ciam_django.testing.failures import RefusedError
from ciam_django.testing.tenant import SignIn, Tenant

Asked = Mapping[str, Any]
Answer = Callable[[Tenant, Asked], Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A row: who may call (a scope, or ``user``), and what comes of it."""

    stage: str
    method: str
    scope: str
    answer: Answer


# --- Before anybody has signed in -------------------------------------------------------------


def login_page(tenant: Tenant, asked: Asked) -> Any:
    return {"2factorType": ["pwd", "sms"], "smsEmailCaptchaRisk": False}


def consents(tenant: Tenant, asked: Asked) -> Any:
    return [
        {"uuid": "terms", "name": "用户协议", "url": "https://example.com/terms"},
        {"uuid": "privacy", "name": "隐私政策", "url": "https://example.com/privacy"},
    ]


def auth_sources(tenant: Tenant, asked: Asked) -> Any:
    return [
        {"enterpriseAuthId": f"source_{name}", "displayName": name, "type": name}
        for name in ("wechat", "qq", "alipay", "dingtalk")
    ]


def adapter_info(tenant: Tenant, asked: Asked) -> Any:
    source = _given(asked, "enterpriseAuthId", "AuthenticateInformation.EnterpriseAuthId")
    for row in auth_sources(tenant, asked):
        if row["enterpriseAuthId"] == source:
            return row
    raise RefusedError("Operation.Failure.AuthenticateInformation.Not.Found")


def captcha(tenant: Tenant, asked: Asked) -> Any:
    return {"captchaCode": tenant.people.new_captcha(), "captchaImage": _PICTURE}


# --- Signing in -------------------------------------------------------------------------------


def password_login(tenant: Tenant, asked: Asked) -> Any:
    username = _given(asked, "username", "User.Username")
    password = _given(asked, "password", "User.Password")
    step = tenant.people.check_password(username, password, asked)
    if not step:
        return signed_in(tenant, username)
    flow = tenant.people.begin(username)
    return {"fId": flow.id, "flowType": step, "additional": {"phoneNumber": "138****0000"}}


def obtain_code(tenant: Tenant, asked: Asked) -> Any:
    channel, receiver = _receiver(asked)
    flow = tenant.people.begin(receiver)
    tenant.people.send(flow, channel, receiver)
    return {"fId": flow.id}


def verify_code(tenant: Tenant, asked: Asked) -> Any:
    flow = tenant.people.flow(asked.get("fId"))
    _, receiver = _receiver(asked)
    if receiver != flow.receiver:
        same = "PhoneNumber" if flow.channel == "SMS" else "Email"
        raise RefusedError(f"Operation.Failure.{same}.Not.Same")
    tenant.people.check_code(flow, asked.get("code"))
    tenant.people.check_state(flow.username)
    tenant.people.end(flow)
    return signed_in(tenant, flow.username)


def social_login(tenant: Tenant, asked: Asked) -> Any:
    adapter_info(tenant, asked)
    username = tenant.people.spend_social(_given(asked, "code", "Social.Callback.Code"))
    tenant.people.check_state(username)
    return signed_in(tenant, username)


def prepare_second_factor(tenant: Tenant, asked: Asked) -> Any:
    flow = tenant.people.flow(asked.get("fId"))
    tenant.people.send(flow, str(asked.get("type") or ""), flow.username)
    return {"fId": flow.id}


def verify_second_factor(tenant: Tenant, asked: Asked) -> Any:
    flow = tenant.people.flow(asked.get("fId"))
    if asked.get("type") == "PWD":
        tenant.people.check_password(flow.username, str(asked.get("password") or ""), asked)
    else:
        tenant.people.check_code(flow, asked.get("code"))
    tenant.people.end(flow)
    return signed_in(tenant, flow.username)


def register_submit(tenant: Tenant, asked: Asked) -> Any:
    flow = tenant.people.flow(asked.get("fId"))
    tenant.people.check_code(flow, asked.get("code"))
    username = str(asked.get("username") or flow.username)
    tenant.people.add(username)
    tenant.people.end(flow)
    return signed_in(tenant, username)


def signed_in(tenant: Tenant, username: str) -> dict[str, Any]:
    """The end of a sign-in: tokens, and whose they are."""
    sign_in = SignIn(username, redirect_uri="", scope="USER_API", nonce="", code_challenge="")
    tokens = endpoints.tokens_of(tenant, sign_in)
    return {**tokens, "userId": sign_in.user_id, "uuid": sign_in.user_id}


# --- The application, about people ------------------------------------------------------------


def find_user(tenant: Tenant, asked: Asked) -> Any:
    username = tenant.people.named(_given(asked, "userUuid", "User.Uuid"))
    return endpoints.person_of(SignIn(username, "", "", "", ""))


def create_user(tenant: Tenant, asked: Asked) -> Any:
    username = _given(asked, "username", "User.Username")
    tenant.people.add(username)
    return endpoints.person_of(SignIn(username, "", "", "", ""))


def _sets(code: str) -> Answer:
    def answer(tenant: Tenant, asked: Asked) -> Any:
        username = tenant.people.named(_given(asked, "userUuid", "User.Uuid"))
        tenant.people.set_state(username, code)

    return answer


def done(tenant: Tenant, asked: Asked) -> Any:
    """What succeeds and tells nothing."""


def nothing_yet(tenant: Tenant, asked: Asked) -> Any:
    """An empty list."""
    return []


_APPLICATION: Final = "APPLICATION_API"
_MANAGEMENT: Final = "MANAGEMENT_APPLICATION_API"
_USER: Final = "user"
# A transparent pixel, which serves for a picture of a text.
_PICTURE: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAA"
    "AABJRU5ErkJggg=="
)

# fmt: off
CALLS: Final[dict[str, tuple[Call, ...]]] = {
    "config/loginpage": (Call("api", "GET", _APPLICATION, login_page),),
    "consents": (Call("api", "GET", _APPLICATION, consents),),
    "load_enterprise_auths": (Call("api", "GET", _APPLICATION, auth_sources),),
    "get_adapter_info": (Call("api", "GET", _APPLICATION, adapter_info),),
    "captcha": (Call("api", "GET", _APPLICATION, captcha),),
    "login/pwd": (Call("password", "POST", _APPLICATION, password_login),),
    "login/obtain_code": (Call("send_code", "POST", _APPLICATION, obtain_code),),
    "login/verify_code": (Call("verify_code", "POST", _APPLICATION, verify_code),),
    "login/social": (Call("social", "POST", _APPLICATION, social_login),),
    "prepare_second_factor": (Call("send_code", "POST", _APPLICATION, prepare_second_factor),),
    "verify_second_factor": (Call("verify_code", "POST", _APPLICATION, verify_second_factor),),
    "register/obtain_code": (Call("send_code", "POST", _APPLICATION, obtain_code),),
    "register/submit": (Call("register", "POST", _APPLICATION, register_submit),),
    "user/token/check": (Call("api", "GET", _USER, done),),
    "user/operate_check": (Call("profile", "GET", _USER, done),),
    "user/login/history/list": (Call("api", "GET", _USER, nothing_yet),),
    "user/get_agree_records": (Call("api", "GET", _USER, nothing_yet),),
    "user/agree_records/recall": (Call("profile", "POST", _USER, done),),
    "user/password": (Call("profile", "PUT", _USER, done),),
    "user/phone": (Call("profile", "PUT", _USER, done),),
    "user/email": (Call("profile", "PUT", _USER, done),),
    "user/unsubscribe": (Call("profile", "POST", _USER, done),),
    "management/user": (
        Call("api", "GET", _MANAGEMENT, find_user),
        Call("api", "POST", _MANAGEMENT, create_user),
    ),
    "management/user/enable": (Call("api", "POST", _MANAGEMENT, _sets("")),),
    "management/user/disable":
        (Call("api", "POST", _MANAGEMENT, _sets("Operation.Failure.User.Disabled")),),
    "management/user/unlock": (Call("api", "POST", _MANAGEMENT, _sets("")),),
}
# fmt: on


def _given(asked: Asked, name: str, in_code: str) -> str:
    value = asked.get(name)
    if not isinstance(value, str) or not value:
        raise RefusedError(f"Params.Blank.{in_code}")
    return value


def _receiver(asked: Asked) -> tuple[str, str]:
    channel = str(asked.get("type") or "")
    if channel == "EMAIL":
        return channel, _given(asked, "email", "User.Email")
    number = _given(asked, "phoneNumber", "User.Phone.Number")
    if not number.isdigit():
        raise RefusedError("Params.Illegal.User.Phone.Number")
    return channel, f"+{asked.get('phoneRegion') or '86'} {number}"


# --- From a call to an endpoint ---------------------------------------------------------------


def _endpoint(calls: tuple[Call, ...]) -> Endpoint:
    by_method = {call.method: call for call in calls}

    def answer(tenant: Tenant, request: Request) -> Outcome:
        call = by_method[request.method.replace("HEAD", "GET")]
        if call.scope == _USER:
            endpoints.bearer(tenant, request)
        else:
            endpoints.check_application(tenant, request, call.scope)
        return endpoints.enveloped(call.answer(tenant, _asked(request)))

    return Endpoint(calls[0].stage, tuple(by_method), answer)


def _asked(request: Request) -> Asked:
    if request.method in ("GET", "HEAD"):
        return request.args.to_dict()
    try:
        asked = json.loads(request.get_data() or b"{}")
    except ValueError:
        raise RefusedError("Unsupported.Media.Type") from None
    if not isinstance(asked, dict):
        raise RefusedError("Params.Illegal")
    return asked


API: Final = {path: _endpoint(calls) for path, calls in CALLS.items()}
