"""The addresses of a fake CIAM's API, with what each of them checks and answers."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from werkzeug import Request

from ciam_django.testing import endpoints
from ciam_django.testing.accounts import SOCIAL_STEPS, STATES, STEPS, UNLINKED, Flow, username_of
from ciam_django.testing.endpoints import Endpoint, Outcome
from ciam_django.testing.failures import Failure, Misbehaviour, RefusedError
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
    return {
        "2factorType": ["pwd", "sms"],
        "smsEmailCaptchaRisk": tenant.wants_captcha,
        "loginType": ["pwd", "sms", "email"],
        "passwordRecovery": True,
        "register": True,
        **tenant.login_page,
    }


def consents(tenant: Tenant, asked: Asked) -> Any:
    return [
        {"uuid": "terms", "name": "用户协议", "url": "https://example.com/terms"},
        {"uuid": "privacy", "name": "隐私政策", "url": "https://example.com/privacy"},
    ]


def auth_sources(tenant: Tenant, asked: Asked) -> Any:
    return [
        {"enterpriseAuthId": f"source_{name}", "displayName": name, "type": name}
        for name in SOURCES
    ]


def adapter_info(tenant: Tenant, asked: Asked) -> Any:
    source = _given(asked, "enterpriseAuthId", "AuthenticateInformation.EnterpriseAuthId")
    for row in auth_sources(tenant, asked):
        if row["enterpriseAuthId"] == source:
            return row
    raise RefusedError("Operation.Failure.AuthenticateInformation.Not.Found")


def captcha(tenant: Tenant, asked: Asked) -> Any:
    captcha_id, picture = tenant.people.new_captcha()
    return {"captchaCode": captcha_id, "captchaImage": base64.b64encode(picture).decode()}


# --- Signing in -------------------------------------------------------------------------------


def password_login(tenant: Tenant, asked: Asked) -> Any:
    username = username_of(_given(asked, "username", "User.Username"))
    password = _given(asked, "password", "User.Password")
    _check_consents(tenant, asked)
    tenant.people.check_password(username, password, asked)
    return _on(tenant, tenant.people.begin(username))


def obtain_code(tenant: Tenant, asked: Asked) -> Any:
    channel, receiver = _receiver(asked)
    _check_consents(tenant, asked)
    if tenant.wants_captcha:
        tenant.people.check_captcha(asked)
    username = username_of(receiver)
    if username.startswith("nobody"):
        raise RefusedError(STATES["nobody"])
    flow = tenant.people.begin(username)
    tenant.people.send(flow, channel, receiver)
    return {"fId": flow.id}


def verify_code(tenant: Tenant, asked: Asked) -> Any:
    flow = _proven_flow(tenant, asked)
    tenant.people.check_state(flow.username)
    return _on(tenant, flow)


def social_login(tenant: Tenant, asked: Asked) -> Any:
    adapter_info(tenant, asked)
    username = tenant.people.spend_social(_given(asked, "code", "Social.Callback.Code"))
    return _from_social(tenant, username)


def prepare_second_factor(tenant: Tenant, asked: Asked) -> Any:
    flow = tenant.people.flow(asked.get("fId"))
    tenant.people.send(flow, str(asked.get("type") or ""), flow.username)
    return {"fId": flow.id}


def verify_second_factor(tenant: Tenant, asked: Asked) -> Any:
    flow = _flow_at(tenant, asked, "NEED_TWO_FACTOR")
    if asked.get("type") == "PWD":
        tenant.people.check_password(flow.username, str(asked.get("password") or ""), asked)
    else:
        tenant.people.check_code(flow, asked.get("code"))
    return _past(tenant, flow)


def set_new_password(tenant: Tenant, asked: Asked) -> Any:
    flow = _flow_at(tenant, asked, "USER_UPDATE_PWD")
    tenant.people.set_password(flow.username, str(asked.get("password") or ""))
    return _past(tenant, flow)


def give_consent(tenant: Tenant, asked: Asked) -> Any:
    flow = _flow_at(tenant, asked, "NEED_CONSENT")
    _check_consents(tenant, asked, is_required=True)
    return _past(tenant, flow)


def complete_profile(tenant: Tenant, asked: Asked) -> Any:
    flow = _flow_at(tenant, asked, "NEED_COMPLETE")
    if asked.get("ignore") is True:
        if flow.username.startswith("unfinished_must"):
            raise RefusedError("Operation.Failure.Unsupported.Ignore.Complete")
        return _past(tenant, flow)
    for name in _fields(flow):
        _given(asked, name, _FIELDS[name])
    if str(asked.get("email")).startswith("taken@"):
        raise RefusedError("Params.Exist.User.Email")
    return _past(tenant, flow)


def link_obtain_code(tenant: Tenant, asked: Asked) -> Any:
    flow = _flow_at(tenant, asked, "NEED_BIND")
    channel, receiver = _receiver(asked)
    tenant.people.send(flow, channel, receiver)
    return {"fId": flow.id}


def link_account(tenant: Tenant, asked: Asked) -> Any:
    flow = _proven_flow(tenant, asked)
    flow.username = username_of(flow.receiver)
    tenant.people.check_state(flow.username)
    return _past(tenant, flow)


def create_linked(tenant: Tenant, asked: Asked) -> Any:
    return _past(tenant, _flow_at(tenant, asked, "NEED_BIND"))


def register_obtain_code(tenant: Tenant, asked: Asked) -> Any:
    channel, receiver = _receiver(asked)
    _check_consents(tenant, asked)
    flow = tenant.people.begin(username_of(receiver))
    tenant.people.send(flow, channel, receiver)
    return {"fId": flow.id}


def register_submit(tenant: Tenant, asked: Asked) -> Any:
    flow = tenant.people.flow(asked.get("fId"))
    tenant.people.check_code(flow, asked.get("code"))
    username = str(asked.get("username") or flow.username)
    tenant.people.add(username)
    if password := asked.get("password"):
        tenant.people.set_password(username, str(password))
    tenant.people.end(flow)
    return signed_in(tenant, username)


def recover_submit(tenant: Tenant, asked: Asked) -> Any:
    flow = _proven_flow(tenant, asked)
    tenant.people.set_password(flow.username, str(asked.get("password") or ""))
    tenant.people.end(flow)


# --- WeChat's mini program --------------------------------------------------------------------


def mini_program_login(tenant: Tenant, asked: Asked) -> Any:
    username = _of_wechat(tenant, asked)
    if username.startswith(UNLINKED):
        raise RefusedError("Operation.Failure.Mini.Program.Silent.Login")
    return _from_social(tenant, username)


def mini_program_phone(tenant: Tenant, asked: Asked) -> Any:
    is_old = asked.get("phoneNumberEncryptedData") and asked.get("phoneNumberIv")
    if not asked.get("phoneNumberCode") and not is_old:
        raise RefusedError("Params.Blank.Mini.Program.Phone")
    return _from_social(tenant, _of_wechat(tenant, asked).removeprefix(UNLINKED) or "li")


def mini_program_user_info(tenant: Tenant, asked: Asked) -> Any:
    if not asked.get("encryptedData") or not asked.get("iv"):
        raise RefusedError("Params.Blank.Mini.Program.Userinfo")
    return _from_social(tenant, _of_wechat(tenant, asked).removeprefix(UNLINKED) or "li")


def _of_wechat(tenant: Tenant, asked: Asked) -> str:
    adapter_info(tenant, asked)
    return tenant.people.spend_social(_given(asked, "loginCode", "Mini.Program.LoginCode"))


# --- How a sign-in goes on --------------------------------------------------------------------


def _on(tenant: Tenant, flow: Flow) -> dict[str, Any]:
    """The flow's next step, or its end."""
    if not flow.steps:
        tenant.people.end(flow)
        return signed_in(tenant, flow.username)
    additional = {
        "phoneNumber": "138****0000",
        "email": "l***@example.com",
        "fields": _fields(flow),
    }
    return {"fId": flow.id, "flowType": flow.steps[0], "additional": additional}


# What may be missing -> how CIAM's codes call it.
_FIELDS: Final = {
    "displayName": "User.DisplayName",
    "email": "User.Email",
    "phoneNumber": "User.Phone.Number",
}


def _fields(flow: Flow) -> list[str]:
    is_of_phone = flow.username.startswith("unfinished_phone")
    return ["phoneNumber"] if is_of_phone else ["displayName", "email"]


def _past(tenant: Tenant, flow: Flow) -> dict[str, Any]:
    """What comes after the step that has been taken."""
    flow.steps.pop(0)
    return _on(tenant, flow)


def _flow_at(tenant: Tenant, asked: Asked, step: str) -> Flow:
    flow = tenant.people.flow(asked.get("fId"))
    if flow.steps[:1] != [step]:
        raise RefusedError("Operation.Failure.FId.Not.Found")
    return flow


def _proven_flow(tenant: Tenant, asked: Asked) -> Flow:
    """The flow whose code is given, by who it was sent to."""
    flow = tenant.people.flow(asked.get("fId"))
    _, receiver = _receiver(asked)
    if receiver != flow.receiver:
        same = "PhoneNumber" if flow.channel == "SMS" else "Email"
        raise RefusedError(f"Operation.Failure.{same}.Not.Same")
    tenant.people.check_code(flow, asked.get("code"))
    return flow


def _from_social(tenant: Tenant, username: str) -> dict[str, Any]:
    if username.startswith(UNLINKED):
        raise RefusedError("Operation.Failure.Social.User.Not.Bind")
    tenant.people.check_state(username)
    return _on(tenant, tenant.people.begin(username, {**STEPS, **SOCIAL_STEPS}))


def _check_consents(tenant: Tenant, asked: Asked, *, is_required: bool = False) -> None:
    given = asked.get("consents")
    agreed = set(given) if isinstance(given, list) else set()
    if (is_required or tenant.requires_consents) and not {"terms", "privacy"} <= agreed:
        raise RefusedError("Params.Illegal.Consent")


def signed_in(tenant: Tenant, username: str) -> dict[str, Any]:
    """The end of a sign-in: tokens, and whose they are."""
    sign_in = SignIn(username, redirect_uri="", scope="USER_API", nonce="", code_challenge="")
    tokens = endpoints.tokens_of(tenant, sign_in)
    if tenant.api_id_token == "oidc":  # noqa: S105
        tokens["id_token"] = tenant.sign_id_token(sign_in, tokens["access_token"])
    else:
        tokens["id_token"] = tenant.sign_ciam_id_token(sign_in)
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


def token_check(tenant: Tenant, asked: Asked) -> Any:
    """What a test has it say of a good token, or nothing."""
    return tenant.token_check or None


def nothing_yet(tenant: Tenant, asked: Asked) -> Any:
    """An empty list."""
    return []


_APPLICATION: Final = "APPLICATION_API"
_MANAGEMENT: Final = "MANAGEMENT_APPLICATION_API"
_USER: Final = "user"
SOURCES: Final = (
    "wechat",
    "wechat_website",
    "wechat_in_app",
    "wechat_mini_program",
    "qq",
    "weibo",
    "alipay",
    "dingtalk",
    "feishu",
    "apple",
    "google",
    "generic",
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
    "register/obtain_code": (Call("send_code", "POST", _APPLICATION, register_obtain_code),),
    "register/submit": (Call("register", "POST", _APPLICATION, register_submit),),
    "login/update_pwd": (Call("profile", "POST", _APPLICATION, set_new_password),),
    "login/consent": (Call("profile", "POST", _APPLICATION, give_consent),),
    "login/complete": (Call("profile", "POST", _APPLICATION, complete_profile),),
    "social/obtain_code": (Call("send_code", "POST", _APPLICATION, link_obtain_code),),
    "social/bind": (Call("verify_code", "POST", _APPLICATION, link_account),),
    "social/register": (Call("social", "POST", _APPLICATION, create_linked),),
    "password/obtain_code": (Call("recover", "POST", _APPLICATION, obtain_code),),
    "password/reset": (Call("recover", "POST", _APPLICATION, recover_submit),),
    "login/mini_program/silent": (Call("social", "POST", _APPLICATION, mini_program_login),),
    "login/mini_program/phone": (Call("social", "POST", _APPLICATION, mini_program_phone),),
    "login/mini_program/userinfo": (Call("social", "POST", _APPLICATION, mini_program_user_info),),
    "user/token/check": (Call("api", "GET", _USER, token_check),),
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
        asked = _asked(request)
        if planned := _typed(tenant, asked):
            return planned.response if isinstance(planned, Failure) else planned
        return endpoints.enveloped(call.answer(tenant, asked))

    return Endpoint(calls[0].stage, tuple(by_method), answer)


def _typed(tenant: Tenant, asked: Asked) -> Failure | Misbehaviour | None:
    """What a developer has typed as the user name, here or at a social provider."""
    username = str(asked.get("username") or tenant.people.social_name(asked.get("code")))
    return next(iter(endpoints.typed(username, tenant.seconds).values()), None)


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
