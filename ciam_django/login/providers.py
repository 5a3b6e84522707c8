"""The table of social providers: where each signs people in, and what its parameters are called.

CIAM takes the code that comes back; which of its authentication sources it is for, the project
says in ``CIAM_SOCIAL_PROVIDERS``.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from ciam_django.conf import cached_until_settings_change, conf

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise


@enum.unique
class BrowserType(enum.Enum):
    """Where a page is open, as far as a provider cares."""

    DESKTOP = enum.auto()
    PHONE = enum.auto()
    WECHAT = enum.auto()


@dataclass(frozen=True, slots=True)
class Provider:
    """A row; ``client_id`` and ``code`` are the names of parameters, ``cancelled`` is the error of
    whoever said no.

    ``has_page`` is False for a mini program, which has no page to go to.
    """

    label: str | StrPromise
    authorize_url: str = ""
    scope: str = ""
    client_id: str = "client_id"
    code: str = "code"
    cancel_error: str = "access_denied"
    more: Mapping[str, str] = field(default_factory=dict)
    fragment: str = ""
    browser_types: Set[BrowserType] = frozenset(BrowserType)
    has_page: bool = True


# fmt: off
PROVIDERS: Final[Mapping[str, Provider]] = {
    # https://developers.weixin.qq.com/doc/oplatform/Website_App/WeChat_Login/Wechat_Login.html
    # A refusal at the QR code never comes back.
    "wechat.website": Provider(
        _("WeChat"), "https://open.weixin.qq.com/connect/qrconnect", "snsapi_login", "appid",
        fragment="wechat_redirect", browser_types={BrowserType.DESKTOP}),
    # https://developers.weixin.qq.com/doc/offiaccount/OA_Web_Apps/Wechat_webpage_authorization.html
    # It wants its parameters in just this order, and works in WeChat's own browser only.
    "wechat.in_app": Provider(
        _("WeChat"), "https://open.weixin.qq.com/connect/oauth2/authorize", "snsapi_userinfo",
        "appid", fragment="wechat_redirect", browser_types={BrowserType.WECHAT}),
    # https://developers.weixin.qq.com/miniprogram/dev/framework/open-ability/login.html
    "wechat.mini_program": Provider(_("WeChat"), has_page=False),
    # https://wiki.connect.qq.com/
    "qq": Provider(_("QQ"), "https://graph.qq.com/oauth2.0/authorize", "get_user_info"),
    # https://open.weibo.com/wiki/Oauth2/authorize
    "weibo": Provider(_("Weibo"), "https://api.weibo.com/oauth2/authorize"),
    # https://opendocs.alipay.com/open/263/105809
    "alipay": Provider(
        _("Alipay"), "https://openauth.alipay.com/oauth2/publicAppAuthorize.htm", "auth_user",
        "app_id", "auth_code"),
    # https://open.dingtalk.com/document/orgapp/tutorial-obtaining-user-personal-information
    "dingtalk": Provider(
        _("DingTalk"), "https://login.dingtalk.com/oauth2/auth", "openid", code="authCode",
        more={"prompt": "consent"}),
    # https://open.feishu.cn/document/authentication-management/access-token/obtain-oauth-code
    "feishu": Provider(_("Feishu"), "https://accounts.feishu.cn/open-apis/authen/v1/authorize"),
    # https://developer.apple.com/documentation/signinwithapplerestapi
    # Without a scope: with one Apple insists on form_post, which no SameSite cookie survives.
    "apple": Provider(
        _("Apple"), "https://appleid.apple.com/auth/authorize", more={"response_mode": "query"},
        cancel_error="user_cancelled_authorize"),
    # https://developers.google.com/identity/openid-connect/openid-connect
    "google": Provider(
        _("Google"), "https://accounts.google.com/o/oauth2/v2/auth", "openid email profile"),
    # Any other that speaks OAuth 2.0; the project gives at least label and authorize_url.
    "generic": Provider(""),
}
# fmt: on

# What a project may say of a provider beside its own fields: app id, source, and which row it is.
OVERRIDABLE_FIELDS: Final = frozenset(
    {"label", "authorize_url", "scope", "client_id", "code", "more", "fragment"}
)
REQUIRED_FIELDS: Final = ("app_id", "source")
WECHAT: Final = "wechat"
MINI_PROGRAM: Final = "wechat-mini_program"


@dataclass(frozen=True, slots=True)
class Registration:
    """A provider as this project is registered with it; ``name`` stands in our addresses."""

    name: str
    provider: Provider
    app_id: str
    source: str

    def authorize_url(self, redirect_uri: str, state: str) -> str:
        """Where to send the browser (RFC 6749, 4.1.1, with the provider's own names).

        Without PKCE: it is CIAM that trades the code in, and takes no verifier.
        """
        row = self.provider
        parameters = {
            row.client_id: self.app_id,
            "redirect_uri": redirect_uri,
            "response_type": "code",
            "scope": row.scope,
            "state": state,
            **row.more,
        }
        query = urlencode(
            {name: value for name, value in parameters.items() if value}, quote_via=quote
        )
        mark = "&" if "?" in row.authorize_url else "?"
        fragment = f"#{row.fragment}" if row.fragment else ""
        return f"{row.authorize_url}{mark}{query}{fragment}"


@cached_until_settings_change("CIAM_SOCIAL_PROVIDERS")
def registrations() -> Mapping[str, Registration]:
    """Those of ``CIAM_SOCIAL_PROVIDERS`` that are complete, by name; a check names the others."""
    complete = {}
    for name, given in provider_entries(conf.CIAM_SOCIAL_PROVIDERS).items():
        row = provider_of_entry(name, given)
        is_complete = all(given.get(key) for key in REQUIRED_FIELDS)
        if row and is_complete and (row.authorize_url or not row.has_page):
            slug = name.replace(".", "-")
            complete[slug] = Registration(slug, row, given["app_id"], given["source"])
    return complete


def provider_entries(setting: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The setting's entries, WeChat's registrations one by one."""
    rows: dict[str, Any] = {}
    for name, given in setting.items():
        is_wechat = name == WECHAT and isinstance(given, Mapping)
        parts = given.items() if is_wechat else [("", given)]
        rows |= {f"{name}.{part}".rstrip("."): each for part, each in parts}
    return {name: given for name, given in rows.items() if isinstance(given, Mapping)}


def form_action_origins() -> set[str]:
    """Where the login page's forms lead, beside CIAM: for a policy's form-action."""
    urls = [each.provider.authorize_url for each in registrations().values()]
    return {"/".join(url.split("/", 3)[:3]) for url in urls if url}


def provider_of_entry(name: str, given: Mapping[str, Any]) -> Provider | None:
    """The provider that an entry means, with what the project replaces; None for an unknown one."""
    row = PROVIDERS.get(given.get("provider", name))
    return row and replace(row, **{key: given[key] for key in OVERRIDABLE_FIELDS & given.keys()})


# --- What is offered where --------------------------------------------------------------------

_PHONE: Final = re.compile(r"Mobi|Android|iPhone|iPad|iPod|HarmonyOS", re.IGNORECASE)
_IN_WECHAT: Final = re.compile(r"MicroMessenger/", re.IGNORECASE)
# WeCom has WeChat's name, too; and in a mini program's web view, the mini program signs in.
_NOT_WECHAT: Final = re.compile(r"wxwork|miniProgram", re.IGNORECASE)


def browser_type(request: HttpRequest) -> BrowserType:
    """Where the page is open, judged from the User-Agent."""
    agent = request.headers.get("User-Agent", "")
    if _IN_WECHAT.search(agent) and not _NOT_WECHAT.search(agent):
        return BrowserType.WECHAT
    return BrowserType.PHONE if _PHONE.search(agent) else BrowserType.DESKTOP


def available_providers(request: HttpRequest) -> Sequence[Registration]:
    """The providers that work where the page is open."""
    browser = browser_type(request)
    return [
        each
        for each in registrations().values()
        if each.provider.has_page and browser in each.provider.browser_types
    ]


def suggests_wechat(request: HttpRequest) -> bool:
    """Whether WeChat would be offered, if only the page were open in it."""
    is_registered = any(name.startswith("wechat-in_app") for name in registrations())
    return is_registered and browser_type(request) is BrowserType.PHONE
