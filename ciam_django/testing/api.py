"""The addresses of a fake CIAM's API, and the function that answers at each address."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from werkzeug import Request

from ciam_django.testing import endpoints
from ciam_django.testing.accounts import (
    SOCIAL_STEPS_BY_PREFIX,
    STATES_BY_PREFIX,
    STEPS_BY_PREFIX,
    UNLINKED_PREFIX,
    CiamFlow,
    user_id_of,
    username_of_identifier,
)
from ciam_django.testing.captcha_image import CAPTCHA_PNG
from ciam_django.testing.endpoints import Reply, Route
from ciam_django.testing.failures import Failure, Misbehaviour, RefusedError
from ciam_django.testing.tenant import FakeSignIn, Tenant

Parameters = Mapping[str, Any]
Handler = Callable[[Tenant, Parameters], Any]


@dataclass(frozen=True, slots=True)
class Operation:
    """An API call: its stage, its HTTP method, its permission and its handler.

    ``scope`` is the scope that the application's access token needs, or ``user`` for a call that
    needs a user's access token.
    """

    stage: str
    method: str
    scope: str
    handle: Handler


# --- Before the sign-in -----------------------------------------------------------------------


def login_page(tenant: Tenant, parameters: Parameters) -> Any:
    return {
        "2factorType": ["pwd", "sms"],
        "smsEmailCaptchaRisk": tenant.wants_captcha,
        "loginType": ["pwd", "sms", "email"],
        "passwordRecovery": True,
        "register": True,
        **tenant.login_page,
    }


def consents(tenant: Tenant, parameters: Parameters) -> Any:
    return tenant.consents


def auth_sources(tenant: Tenant, parameters: Parameters) -> Any:
    return [
        {"enterpriseAuthId": f"source_{name}", "displayName": name, "type": name}
        for name in AUTH_SOURCES
    ]


def adapter_info(tenant: Tenant, parameters: Parameters) -> Any:
    source = _required_parameter(
        parameters, "enterpriseAuthId", "AuthenticateInformation.EnterpriseAuthId"
    )
    for row in auth_sources(tenant, parameters):
        if row["enterpriseAuthId"] == source:
            return row
    raise RefusedError("Operation.Failure.AuthenticateInformation.Not.Found")


def captcha(tenant: Tenant, parameters: Parameters) -> Any:
    image = base64.b64encode(CAPTCHA_PNG).decode()
    return {"captchaCode": tenant.accounts.issue_captcha(), "captchaImage": image}


# --- Signing in -------------------------------------------------------------------------------


def password_login(tenant: Tenant, parameters: Parameters) -> Any:
    username = username_of_identifier(_required_parameter(parameters, "username", "User.Username"))
    password = _required_parameter(parameters, "password", "User.Password")
    _check_consents(tenant, parameters)
    tenant.accounts.check_password(username, password, parameters)
    return _continue_flow(tenant, tenant.accounts.start_flow(username))


def obtain_code(tenant: Tenant, parameters: Parameters) -> Any:
    channel, recipient = _recipient_in(parameters)
    _check_consents(tenant, parameters)
    if tenant.wants_captcha:
        tenant.accounts.spend_captcha(parameters)
    username = username_of_identifier(recipient)
    if username.startswith("nobody"):
        raise RefusedError(STATES_BY_PREFIX["nobody"])
    flow = tenant.accounts.start_flow(username)
    tenant.accounts.send_code(flow, channel, recipient)
    return {"fId": flow.id}


def verify_code(tenant: Tenant, parameters: Parameters) -> Any:
    flow = _spend_code(tenant, parameters)
    tenant.accounts.check_state(flow.username)
    return _continue_flow(tenant, flow)


def social_login(tenant: Tenant, parameters: Parameters) -> Any:
    adapter_info(tenant, parameters)
    _check_consents(tenant, parameters)
    code = _required_parameter(parameters, "code", "Social.Callback.Code")
    verifier = str(parameters.get("codeVerifier") or "")
    challenge = endpoints.s256(verifier) if verifier else ""
    tenant.accounts.check_social_proofs(code, challenge, str(parameters.get("nonce") or ""))
    return _sign_in_from_provider(tenant, tenant.accounts.spend_social_code(code))


def prepare_second_factor(tenant: Tenant, parameters: Parameters) -> Any:
    flow = tenant.accounts.flow_with_id(parameters.get("fId"))
    tenant.accounts.send_code(flow, str(parameters.get("type") or ""), flow.username)
    return {"fId": flow.id}


def verify_second_factor(tenant: Tenant, parameters: Parameters) -> Any:
    flow = _flow_at(tenant, parameters, "NEED_TWO_FACTOR")
    if parameters.get("type") == "PWD":
        tenant.accounts.check_password(
            flow.username, str(parameters.get("password") or ""), parameters
        )
    else:
        tenant.accounts.spend_code(flow, parameters.get("code"))
    return _complete_step(tenant, flow)


def set_new_password(tenant: Tenant, parameters: Parameters) -> Any:
    flow = _flow_at(tenant, parameters, "USER_UPDATE_PWD")
    tenant.accounts.set_password(flow.username, str(parameters.get("password") or ""))
    return _complete_step(tenant, flow)


def give_consent(tenant: Tenant, parameters: Parameters) -> Any:
    flow = _flow_at(tenant, parameters, "NEED_CONSENT")
    _check_consents(tenant, parameters, is_required=True)
    return _complete_step(tenant, flow)


def complete_profile(tenant: Tenant, parameters: Parameters) -> Any:
    flow = _flow_at(tenant, parameters, "NEED_COMPLETE")
    if parameters.get("ignore") is True:
        if flow.username.startswith("unfinished_must"):
            raise RefusedError("Operation.Failure.Unsupported.Ignore.Complete")
        return _complete_step(tenant, flow)
    for field in _missing_fields(flow):
        name = field if isinstance(field, str) else field["name"]
        value = _required_parameter(parameters, name, _NAMES_IN_CODES[name])
        if not isinstance(field, str) and value not in {o["value"] for o in field["options"]}:
            raise RefusedError(f"Params.Illegal.{_NAMES_IN_CODES[name]}")
    if str(parameters.get("email")).startswith("taken@"):
        raise RefusedError("Params.Exist.User.Email")
    return _complete_step(tenant, flow)


def link_obtain_code(tenant: Tenant, parameters: Parameters) -> Any:
    flow = _flow_at(tenant, parameters, "NEED_BIND")
    channel, recipient = _recipient_in(parameters)
    tenant.accounts.send_code(flow, channel, recipient)
    return {"fId": flow.id}


def link_account(tenant: Tenant, parameters: Parameters) -> Any:
    flow = _spend_code(tenant, parameters)
    flow.username = username_of_identifier(flow.recipient)
    tenant.accounts.check_state(flow.username)
    return _complete_step(tenant, flow)


def create_linked(tenant: Tenant, parameters: Parameters) -> Any:
    return _complete_step(tenant, _flow_at(tenant, parameters, "NEED_BIND"))


def register_obtain_code(tenant: Tenant, parameters: Parameters) -> Any:
    channel, recipient = _recipient_in(parameters)
    _check_consents(tenant, parameters)
    flow = tenant.accounts.start_flow(username_of_identifier(recipient))
    tenant.accounts.send_code(flow, channel, recipient)
    return {"fId": flow.id}


def register_submit(tenant: Tenant, parameters: Parameters) -> Any:
    """Create an account and sign in; a refused password spends no code (unverified at CIAM)."""
    flow = tenant.accounts.flow_with_id(parameters.get("fId"))
    tenant.accounts.check_code(flow, parameters.get("code"))
    username = str(parameters.get("username") or flow.username)
    password = str(parameters.get("password") or "")
    if password:
        tenant.accounts.check_new_password(username, password)
    tenant.accounts.create_account(username)
    if password:
        tenant.accounts.set_password(username, password)
    tenant.accounts.end_flow(flow)
    return complete_sign_in(tenant, username)


def recover_submit(tenant: Tenant, parameters: Parameters) -> Any:
    """Set a new password; a refused password spends no code (unverified at CIAM)."""
    flow = _flow_of_recipient(tenant, parameters)
    tenant.accounts.check_code(flow, parameters.get("code"))
    tenant.accounts.set_password(flow.username, str(parameters.get("password") or ""))
    tenant.accounts.end_flow(flow)
    return {"userId": user_id_of(flow.username)}


# --- WeChat's mini program --------------------------------------------------------------------


def mini_program_login(tenant: Tenant, parameters: Parameters) -> Any:
    username = _spend_wechat_code(tenant, parameters)
    if username.startswith(UNLINKED_PREFIX):
        raise RefusedError("Operation.Failure.Mini.Program.Silent.Login")
    return _sign_in_from_provider(tenant, username)


def mini_program_phone(tenant: Tenant, parameters: Parameters) -> Any:
    _check_consents(tenant, parameters)
    is_old = parameters.get("phoneNumberEncryptedData") and parameters.get("phoneNumberIv")
    if not parameters.get("phoneNumberCode") and not is_old:
        raise RefusedError("Params.Blank.Mini.Program.Phone")
    return _sign_in_from_provider(
        tenant, _spend_wechat_code(tenant, parameters).removeprefix(UNLINKED_PREFIX) or "li"
    )


def mini_program_user_info(tenant: Tenant, parameters: Parameters) -> Any:
    _check_consents(tenant, parameters)
    if not parameters.get("encryptedData") or not parameters.get("iv"):
        raise RefusedError("Params.Blank.Mini.Program.Userinfo")
    return _sign_in_from_provider(
        tenant, _spend_wechat_code(tenant, parameters).removeprefix(UNLINKED_PREFIX) or "li"
    )


def _spend_wechat_code(tenant: Tenant, parameters: Parameters) -> str:
    adapter_info(tenant, parameters)
    return tenant.accounts.spend_social_code(
        _required_parameter(parameters, "loginCode", "Mini.Program.LoginCode")
    )


# --- The steps of a sign-in -------------------------------------------------------------------


def _continue_flow(tenant: Tenant, flow: CiamFlow) -> dict[str, Any]:
    """Return the flow's next step, or the tokens after the last step."""
    if not flow.steps:
        tenant.accounts.end_flow(flow)
        return complete_sign_in(tenant, flow.username)
    additional = {
        "phoneNumber": "138****0000",
        "email": "l***@example.com",
        "fields": _missing_fields(flow),
    }
    return {"fId": flow.id, "flowType": flow.steps[0], "additional": additional}


# Name of a field that can be missing -> the field's name in CIAM's codes.
_NAMES_IN_CODES: Final = {
    "displayName": "User.DisplayName",
    "email": "User.Email",
    "phoneNumber": "User.Phone.Number",
    "gender": "User.Gender",
    "country": "User.Country",
    "province": "User.Province",
    "city": "User.City",
}
# Fields with lists of values. CIAM does not document how it sends the lists.
_FIELDS_WITH_OPTIONS: Final = [
    {
        "name": "gender",
        "options": [{"value": "female", "name": "女"}, {"value": "male", "name": "男"}],
    },
    {
        "name": "country",
        "options": [{"value": "CN", "name": "中国"}, {"value": "TW", "name": "中国台湾"}],
    },
    {"name": "province", "options": [{"value": "广东省"}, {"value": "台北市"}]},
    "city",
]


def _missing_fields(flow: CiamFlow) -> list[Any]:
    if flow.username.startswith("unfinished_options"):
        return _FIELDS_WITH_OPTIONS
    is_of_phone = flow.username.startswith("unfinished_phone")
    return ["phoneNumber"] if is_of_phone else ["displayName", "email"]


def _complete_step(tenant: Tenant, flow: CiamFlow) -> dict[str, Any]:
    flow.steps.pop(0)
    return _continue_flow(tenant, flow)


def _flow_at(tenant: Tenant, parameters: Parameters, step: str) -> CiamFlow:
    flow = tenant.accounts.flow_with_id(parameters.get("fId"))
    if flow.steps[:1] != [step]:
        raise RefusedError("Operation.Failure.FId.Not.Found")
    return flow


def _spend_code(tenant: Tenant, parameters: Parameters) -> CiamFlow:
    """Spend the code in the parameters and return its flow, if the recipient matches."""
    flow = _flow_of_recipient(tenant, parameters)
    tenant.accounts.spend_code(flow, parameters.get("code"))
    return flow


def _flow_of_recipient(tenant: Tenant, parameters: Parameters) -> CiamFlow:
    """Return the flow in the parameters; raise ``RefusedError`` for another recipient."""
    flow = tenant.accounts.flow_with_id(parameters.get("fId"))
    _, recipient = _recipient_in(parameters)
    if recipient != flow.recipient:
        same = "PhoneNumber" if flow.channel == "SMS" else "Email"
        raise RefusedError(f"Operation.Failure.{same}.Not.Same")
    return flow


def _sign_in_from_provider(tenant: Tenant, username: str) -> dict[str, Any]:
    if username.startswith(UNLINKED_PREFIX):
        raise RefusedError("Operation.Failure.Social.User.Not.Bind")
    tenant.accounts.check_state(username)
    return _continue_flow(
        tenant, tenant.accounts.start_flow(username, {**STEPS_BY_PREFIX, **SOCIAL_STEPS_BY_PREFIX})
    )


def _check_consents(tenant: Tenant, parameters: Parameters, *, is_required: bool = False) -> None:
    consents_parameter = parameters.get("consents")
    agreed = set(consents_parameter) if isinstance(consents_parameter, list) else set()
    wanted = {row["uuid"] for row in tenant.consents if row.get("required", True)}
    if (is_required or tenant.requires_consents) and not wanted <= agreed:
        raise RefusedError("Params.Illegal.Consent")


def complete_sign_in(tenant: Tenant, username: str) -> dict[str, Any]:
    """Return the tokens of a new sign-in, with the user's id."""
    sign_in = FakeSignIn(username, redirect_uri="", scope="USER_API", nonce="", code_challenge="")
    tokens = endpoints.issue_tokens(tenant, sign_in)
    if tenant.api_id_token == "oidc":  # noqa: S105
        tokens["id_token"] = tenant.sign_id_token(sign_in, tokens["access_token"])
    else:
        tokens["id_token"] = tenant.sign_ciam_id_token(sign_in)
    return {**tokens, "userId": sign_in.user_id, "uuid": sign_in.user_id}


# --- The application's calls about users ------------------------------------------------------


def find_user(tenant: Tenant, parameters: Parameters) -> Any:
    username = tenant.accounts.username_with_id(
        _required_parameter(parameters, "userUuid", "User.Uuid")
    )
    return endpoints.user_data_of(FakeSignIn(username, "", "", "", ""))


def create_user(tenant: Tenant, parameters: Parameters) -> Any:
    username = _required_parameter(parameters, "username", "User.Username")
    tenant.accounts.create_account(username)
    return endpoints.user_data_of(FakeSignIn(username, "", "", "", ""))


def _state_setter(code: str) -> Handler:
    def answer(tenant: Tenant, parameters: Parameters) -> Any:
        username = tenant.accounts.username_with_id(
            _required_parameter(parameters, "userUuid", "User.Uuid")
        )
        tenant.accounts.set_state(username, code)

    return answer


def empty_success(tenant: Tenant, parameters: Parameters) -> Any:
    """Return None, for a call whose success has no data."""


def token_check(tenant: Tenant, parameters: Parameters) -> Any:
    """Return ``Tenant.token_check``, or None if it is empty."""
    return tenant.token_check or None


def empty_list(tenant: Tenant, parameters: Parameters) -> Any:
    """Return an empty list."""
    return []


_APPLICATION: Final = "APPLICATION_API"
_MANAGEMENT: Final = "MANAGEMENT_APPLICATION_API"
_USER: Final = "user"
AUTH_SOURCES: Final = (
    "wechat",
    "wechat_website",
    "wechat_in_app",
    "wechat_mini_program",
    "wechat_app",
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
API_OPERATIONS: Final[dict[str, tuple[Operation, ...]]] = {
    "config/loginpage": (Operation("api", "GET", _APPLICATION, login_page),),
    "consents": (Operation("api", "GET", _APPLICATION, consents),),
    "load_enterprise_auths": (Operation("api", "GET", _APPLICATION, auth_sources),),
    "get_adapter_info": (Operation("api", "GET", _APPLICATION, adapter_info),),
    "captcha": (Operation("api", "GET", _APPLICATION, captcha),),
    "login/pwd": (Operation("password", "POST", _APPLICATION, password_login),),
    "login/obtain_code": (Operation("send_code", "POST", _APPLICATION, obtain_code),),
    "login/verify_code": (Operation("verify_code", "POST", _APPLICATION, verify_code),),
    "login/social": (Operation("social", "POST", _APPLICATION, social_login),),
    "prepare_second_factor": (Operation("send_code", "POST", _APPLICATION, prepare_second_factor),),
    "verify_second_factor": (Operation("verify_code", "POST", _APPLICATION, verify_second_factor),),
    "register/obtain_code": (Operation("send_code", "POST", _APPLICATION, register_obtain_code),),
    "register/submit": (Operation("register", "POST", _APPLICATION, register_submit),),
    "login/update_pwd": (Operation("profile", "POST", _APPLICATION, set_new_password),),
    "login/consent": (Operation("profile", "POST", _APPLICATION, give_consent),),
    "login/complete": (Operation("profile", "POST", _APPLICATION, complete_profile),),
    "social/obtain_code": (Operation("send_code", "POST", _APPLICATION, link_obtain_code),),
    "social/bind": (Operation("verify_code", "POST", _APPLICATION, link_account),),
    "social/register": (Operation("social", "POST", _APPLICATION, create_linked),),
    "password/obtain_code": (Operation("recover", "POST", _APPLICATION, obtain_code),),
    "password/reset": (Operation("recover", "POST", _APPLICATION, recover_submit),),
    "login/mini_program/silent": (Operation("social", "POST", _APPLICATION, mini_program_login),),
    "login/mini_program/phone": (Operation("social", "POST", _APPLICATION, mini_program_phone),),
    "login/mini_program/userinfo":
        (Operation("social", "POST", _APPLICATION, mini_program_user_info),),
    "user/token/check": (Operation("api", "GET", _USER, token_check),),
    "user/operate_check": (Operation("profile", "GET", _USER, empty_success),),
    "user/login/history/list": (Operation("api", "GET", _USER, empty_list),),
    "user/get_agree_records": (Operation("api", "GET", _USER, empty_list),),
    "user/agree_records/recall": (Operation("profile", "POST", _USER, empty_success),),
    "user/password": (Operation("profile", "PUT", _USER, empty_success),),
    "user/phone": (Operation("profile", "PUT", _USER, empty_success),),
    "user/email": (Operation("profile", "PUT", _USER, empty_success),),
    "user/unsubscribe": (Operation("profile", "POST", _USER, empty_success),),
    "management/user": (
        Operation("api", "GET", _MANAGEMENT, find_user),
        Operation("api", "POST", _MANAGEMENT, create_user),
    ),
    "management/user/enable": (Operation("api", "POST", _MANAGEMENT, _state_setter("")),),
    "management/user/disable":
        (Operation("api", "POST", _MANAGEMENT, _state_setter("Operation.Failure.User.Disabled")),),
    "management/user/unlock": (Operation("api", "POST", _MANAGEMENT, _state_setter("")),),
}
# fmt: on


def _required_parameter(parameters: Parameters, name: str, in_code: str) -> str:
    value = parameters.get(name)
    if not isinstance(value, str) or not value:
        raise RefusedError(f"Params.Blank.{in_code}")
    return value


def _recipient_in(parameters: Parameters) -> tuple[str, str]:
    channel = str(parameters.get("type") or "")
    if channel == "EMAIL":
        return channel, _required_parameter(parameters, "email", "User.Email")
    number = _required_parameter(parameters, "phoneNumber", "User.Phone.Number")
    if not number.isdigit():
        raise RefusedError("Params.Illegal.User.Phone.Number")
    return channel, f"+{parameters.get('phoneRegion') or '86'} {number}"


# --- From a call to an endpoint ---------------------------------------------------------------


def _route_of(calls: tuple[Operation, ...]) -> Route:
    by_method = {call.method: call for call in calls}

    def answer(tenant: Tenant, request: Request) -> Reply:
        call = by_method[request.method.replace("HEAD", "GET")]
        if call.scope == _USER:
            endpoints.authenticate_bearer(tenant, request)
        else:
            endpoints.check_application_token(tenant, request, call.scope)
        parameters = _parameters_of(request)
        if planned := _fault_in_parameters(tenant, parameters):
            return planned.response if isinstance(planned, Failure) else planned
        return endpoints.enveloped_response(call.handle(tenant, parameters))

    return Route(calls[0].stage, tuple(by_method), answer)


def _fault_in_parameters(tenant: Tenant, parameters: Parameters) -> Failure | Misbehaviour | None:
    """Return the fault that a user name asks for, from this call or from a social provider."""
    username = str(
        parameters.get("username")
        or tenant.accounts.username_of_social_code(parameters.get("code"))
    )
    return next(iter(endpoints.faults_in_username(username, tenant.slow_seconds).values()), None)


def _parameters_of(request: Request) -> Parameters:
    if request.method in ("GET", "HEAD"):
        return request.args.to_dict()
    try:
        parameters = json.loads(request.get_data() or b"{}")
    except ValueError:
        raise RefusedError("Unsupported.Media.Type") from None
    if not isinstance(parameters, dict):
        raise RefusedError("Params.Illegal")
    return parameters


API_ROUTES: Final = {path: _route_of(calls) for path, calls in API_OPERATIONS.items()}
