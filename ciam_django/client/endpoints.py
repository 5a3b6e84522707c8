"""Define the table of CIAM's API: name -> method, path, credential, stage and group.

https://help.aliyun.com/en/idaas/ciam/developer-reference/api-overview
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from ciam_django.conf import cached_until_settings_change, conf
from ciam_django.errors import CiamError, Stage
from ciam_django.privacy import own_text


@enum.unique
class Credential(enum.StrEnum):
    """The credential of a call."""

    # The user's access token.
    USER = "user"
    # The application's access token, with the scope that is the value.
    APPLICATION = "APPLICATION_API"
    MANAGEMENT = "MANAGEMENT_APPLICATION_API"
    # Client id and secret, in the body.
    SECRET = "secret"  # noqa: S105  (a kind of credential, not one)


@enum.unique
class EndpointGroup(enum.StrEnum):
    """The endpoints that share a circuit: if one is silent, the calls of the others stop, too.

    The endpoints of a group have the same purpose. An endpoint of another group may answer, so
    that its calls go on.
    """

    # The metadata and the keys, which are cached.
    METADATA = "metadata"
    # The token endpoint, also for the application's token, and the userinfo endpoint.
    TOKEN = "token"  # noqa: S105  (the name of a group)
    # The forms of the login page, with the application's token.
    LOGIN = "login"
    # The check of access tokens: bearer tokens, and the sessions of CIAM_SESSION_CHECK.
    CHECK = "check"
    # The calls with the user's token.
    PROFILE = "profile"
    MANAGEMENT = "management"


class Endpoint(NamedTuple):
    """A row: ``path`` is relative to ``PREFIX``; ``documented`` is True if the vendor
    documents the path.

    Parameters go into the query of a GET, and into the JSON body of any other method.
    ``parameters`` maps CIAM's documented name of a parameter to the tenant's name.
    """

    method: str
    path: str
    credential: Credential
    stage: Stage = Stage.API
    documented: bool = True
    parameters: Mapping[str, str] = {}
    # None is the group of the credential.
    group: EndpointGroup | None = None


# The groups of the endpoints whose row has no group.
GROUPS: Final[Mapping[Credential, EndpointGroup]] = {
    Credential.USER: EndpointGroup.PROFILE,
    Credential.APPLICATION: EndpointGroup.LOGIN,
    Credential.MANAGEMENT: EndpointGroup.MANAGEMENT,
    Credential.SECRET: EndpointGroup.TOKEN,
}

PREFIX: Final = "/api/bff/v1.2/developer/ciam/"

# fmt: off
ENDPOINTS: Final[dict[str, Endpoint]] = {
    # https://help.aliyun.com/en/idaas/ciam/developer-reference/authorization-information
    "application_token": Endpoint("POST", "oauth/token", Credential.SECRET),
    # https://help.aliyun.com/en/idaas/ciam/developer-reference/authentication-interface
    "login_page": Endpoint("GET", "config/loginpage", Credential.APPLICATION),
    "consents": Endpoint("GET", "consents", Credential.APPLICATION),
    "auth_sources": Endpoint("GET", "load_enterprise_auths", Credential.APPLICATION),
    "adapter_info": Endpoint("GET", "get_adapter_info", Credential.APPLICATION),
    "captcha": Endpoint("GET", "captcha", Credential.APPLICATION),
    "password_login": Endpoint("POST", "login/pwd", Credential.APPLICATION, Stage.PASSWORD),
    "obtain_code": Endpoint("POST", "login/obtain_code", Credential.APPLICATION, Stage.SEND_CODE),
    "verify_code": Endpoint("POST", "login/verify_code", Credential.APPLICATION, Stage.VERIFY_CODE),
    "social_login": Endpoint("POST", "login/social", Credential.APPLICATION, Stage.SOCIAL),
    "prepare_second_factor":
        Endpoint("POST", "prepare_second_factor", Credential.APPLICATION, Stage.SEND_CODE),
    "verify_second_factor":
        Endpoint("POST", "verify_second_factor", Credential.APPLICATION, Stage.VERIFY_CODE),
    "register_obtain_code":
        Endpoint("POST", "register/obtain_code", Credential.APPLICATION, Stage.SEND_CODE),
    "register_submit": Endpoint("POST", "register/submit", Credential.APPLICATION, Stage.REGISTER),
    # https://help.aliyun.com/en/idaas/ciam/developer-reference/user-interface
    "user_check": Endpoint("GET", "user/token/check", Credential.USER, group=EndpointGroup.CHECK),
    "operate_check": Endpoint("GET", "user/operate_check", Credential.USER, Stage.PROFILE),
    "user_info": Endpoint("GET", "user/info", Credential.USER),
    "change_user_info": Endpoint("PUT", "user/info", Credential.USER, Stage.PROFILE),
    "login_history": Endpoint("GET", "user/login/history/list", Credential.USER),
    "agreements": Endpoint("GET", "user/get_agree_records", Credential.USER),
    "recall_agreement":
        Endpoint("POST", "user/agree_records/recall", Credential.USER, Stage.PROFILE),
    "user_logout": Endpoint("POST", "user/logout", Credential.USER, Stage.LOGOUT),
    # https://help.aliyun.com/en/idaas/ciam/developer-reference/management-interface
    "find_user": Endpoint("GET", "management/user", Credential.MANAGEMENT),
    "create_user": Endpoint("POST", "management/user", Credential.MANAGEMENT),
    "enable_user": Endpoint("POST", "management/user/enable", Credential.MANAGEMENT),
    "disable_user": Endpoint("POST", "management/user/disable", Credential.MANAGEMENT),
    "unlock_user": Endpoint("POST", "management/user/unlock", Credential.MANAGEMENT),
    # Unverified: the vendor describes these endpoints without their paths.
    "change_password":
        Endpoint("PUT", "user/password", Credential.USER, Stage.PROFILE, documented=False),
    "change_phone": Endpoint("PUT", "user/phone", Credential.USER, Stage.PROFILE, documented=False),
    "change_email": Endpoint("PUT", "user/email", Credential.USER, Stage.PROFILE, documented=False),
    "close_account":
        Endpoint("POST", "user/unsubscribe", Credential.USER, Stage.PROFILE, documented=False),
    "set_new_password":
        Endpoint("POST", "login/update_pwd", Credential.APPLICATION, Stage.PROFILE,
                 documented=False),
    "give_consent":
        Endpoint("POST", "login/consent", Credential.APPLICATION, Stage.PROFILE, documented=False),
    "complete_profile":
        Endpoint("POST", "login/complete", Credential.APPLICATION, Stage.PROFILE, documented=False),
    "link_obtain_code":
        Endpoint("POST", "social/obtain_code", Credential.APPLICATION, Stage.SEND_CODE,
                 documented=False),
    "link_account":
        Endpoint("POST", "social/bind", Credential.APPLICATION, Stage.VERIFY_CODE,
                 documented=False),
    "create_linked":
        Endpoint("POST", "social/register", Credential.APPLICATION, Stage.SOCIAL, documented=False),
    "recover_obtain_code":
        Endpoint("POST", "password/obtain_code", Credential.APPLICATION, Stage.RECOVER,
                 documented=False),
    "recover_submit":
        Endpoint("POST", "password/reset", Credential.APPLICATION, Stage.RECOVER, documented=False),
    "mini_program_login":
        Endpoint("POST", "login/mini_program/silent", Credential.APPLICATION, Stage.SOCIAL,
                 documented=False),
    "mini_program_phone":
        Endpoint("POST", "login/mini_program/phone", Credential.APPLICATION, Stage.SOCIAL,
                 documented=False),
    "mini_program_user_info":
        Endpoint("POST", "login/mini_program/userinfo", Credential.APPLICATION, Stage.SOCIAL,
                 documented=False),
}
# fmt: on

# The endpoints of OAuth and OpenID Connect, whose URLs come from the client's setting or from the
# metadata. The project's own calls with the client have the last name.
OTHER_ENDPOINT: Final = "other"
OAUTH_ENDPOINTS: Final = ("metadata", "keys", "token", "refresh", "userinfo", OTHER_ENDPOINT)


@cached_until_settings_change("CIAM_ENDPOINTS")
def endpoint_of(name: str) -> Endpoint:
    """Return the row of the table, with the fields that ``CIAM_ENDPOINTS`` replaces.

    An unknown field, credential, stage or group in ``CIAM_ENDPOINTS`` raises ``bad_configuration``.
    """
    replaced: Mapping[str, Any] = conf.CIAM_ENDPOINTS.get(name, {})
    try:
        row = ENDPOINTS[name]._replace(**replaced)
        return row._replace(
            credential=Credential(row.credential),
            stage=Stage(row.stage),
            group=EndpointGroup(row.group) if row.group else None,
        )
    except (TypeError, ValueError) as error:
        raise CiamError(
            "bad_configuration", stage=Stage.API, upstream_text=own_text(f"CIAM_ENDPOINTS: {error}")
        ) from error
