"""The table of social providers, with each provider's authorize URL and parameter names.

CIAM exchanges the code that a provider returns. ``CIAM_SOCIAL_PROVIDERS`` names CIAM's
authentication source for each provider.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Collection, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote, urlencode

from django.http import HttpRequest

from ciam_django.conf import cached_until_settings_change, conf
from ciam_django.login.hints import is_in_app, user_agent
from ciam_django.provider_names import PROVIDER_NAMES
from ciam_django.responses import static_url

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise


@enum.unique
class BrowserType(enum.StrEnum):
    """A type of browser; some providers work only in some types."""

    DESKTOP = "desktop"
    PHONE = "phone"
    WECHAT = "wechat"
    # The browser inside any other app.
    IN_APP = "in_app"


class Provider(NamedTuple):
    """A row of the table.

    ``client_id`` and ``code`` are names of parameters. ``cancel_error`` is the ``error`` that the
    provider returns if the user refuses. ``more`` holds further parameters of the authorize URL,
    and ``more_with_scope`` the parameters that the provider requires if the URL has a scope.
    ``browser_types`` holds the types of browsers in which the authorize page works.
    ``has_page`` is False for a mini program and an app, which have no authorize page. ``proofs``
    are the parameters that the provider binds the code to: ``pkce`` (RFC 7636) and ``nonce``
    (OpenID Connect Core 1.0, section 3.1.2.1). ``has_native_codes`` is True if the SDK of the
    provider gives a code to a native app. CIAM documents neither, so that all values of both are
    unverified.

    ``icon`` is a URL or the path of a static file; a provider with an icon is a mark on the login
    page. ``brand`` names the colours of its full-width button in ``ciam.css``. ``own_app`` is a
    pattern for the User-Agent of the browser inside the provider's own app. ``qr_script`` is the
    URL of the provider's script that shows a QR code inside a page, and ``qr_frame`` is the origin
    of the frame that the script adds to the page.
    """

    label: str | StrPromise
    authorize_url: str = ""
    scope: str = ""
    client_id: str = "client_id"
    code: str = "code"
    cancel_error: str = "access_denied"
    more: Mapping[str, str] = {}
    more_with_scope: Mapping[str, str] = {}
    fragment: str = ""
    browser_types: Set[BrowserType] = frozenset(BrowserType)
    has_page: bool = True
    proofs: Set[str] = frozenset()
    icon: str = ""
    brand: str = ""
    own_app: str = ""
    qr_script: str = ""
    qr_frame: str = ""
    has_native_codes: bool = False


# fmt: off
PROVIDERS: Final[Mapping[str, Provider]] = {
    # https://developers.weixin.qq.com/doc/oplatform/Website_App/WeChat_Login/Wechat_Login.html
    # If the user refuses at the QR code, WeChat does not call back.
    "wechat.website": Provider(
        PROVIDER_NAMES["wechat"],
        "https://open.weixin.qq.com/connect/qrconnect", "snsapi_login", "appid",
        fragment="wechat_redirect", browser_types={BrowserType.DESKTOP},
        icon="ciam_django/wechat.svg", brand="wechat",
        qr_script="https://res.wx.qq.com/connect/zh_CN/htmledition/js/wxLogin.js",
        qr_frame="https://open.weixin.qq.com"),
    # https://developers.weixin.qq.com/doc/offiaccount/OA_Web_Apps/Wechat_webpage_authorization.html
    # WeChat needs the parameters in exactly this order. The page works only in WeChat's browser.
    "wechat.in_app": Provider(
        PROVIDER_NAMES["wechat"],
        "https://open.weixin.qq.com/connect/oauth2/authorize", "snsapi_userinfo",
        "appid", fragment="wechat_redirect", browser_types={BrowserType.WECHAT},
        icon="ciam_django/wechat.svg", brand="wechat", own_app=r"MicroMessenger/"),
    # https://developers.weixin.qq.com/miniprogram/dev/framework/open-ability/login.html
    "wechat.mini_program": Provider(PROVIDER_NAMES["wechat"], has_page=False),
    # https://developers.weixin.qq.com/doc/oplatform/Mobile_App/WeChat_Login/Development_Guide.html
    "wechat.app": Provider(
        PROVIDER_NAMES["wechat"], has_page=False, has_native_codes=True),
    # The SDKs of QQ and Weibo give an access token, and no code. Any app that has got an access
    # token of a user could sign in as this user.
    # https://wiki.connect.qq.com/
    "qq": Provider(PROVIDER_NAMES["qq"],
        "https://graph.qq.com/oauth2.0/authorize", "get_user_info",
        icon="ciam_django/qq.svg", brand="qq", own_app=r"\bQQ/"),
    # https://open.weibo.com/wiki/Oauth2/authorize
    "weibo": Provider(
        PROVIDER_NAMES["weibo"], "https://api.weibo.com/oauth2/authorize",
        own_app=r"Weibo"),
    # https://opendocs.alipay.com/open/263/105809
    # WeChat's browser blocks the page.
    "alipay": Provider(
        PROVIDER_NAMES["alipay"],
        "https://openauth.alipay.com/oauth2/publicAppAuthorize.htm", "auth_user",
        "app_id", "auth_code", browser_types=set(BrowserType) - {BrowserType.WECHAT},
        icon="ciam_django/alipay.svg", brand="alipay", own_app=r"AlipayClient",
        has_native_codes=True),
    # https://open.dingtalk.com/document/orgapp/tutorial-obtaining-user-personal-information
    "dingtalk": Provider(
        PROVIDER_NAMES["dingtalk"],
        "https://login.dingtalk.com/oauth2/auth", "openid", code="authCode",
        more={"prompt": "consent"}, own_app=r"DingTalk/",
        has_native_codes=True),
    # https://open.feishu.cn/document/authentication-management/access-token/obtain-oauth-code
    "feishu": Provider(
        PROVIDER_NAMES["feishu"],
        "https://accounts.feishu.cn/open-apis/authen/v1/authorize", proofs={"pkce"},
        own_app=r"\bLark/",
        has_native_codes=True),
    # https://developer.apple.com/documentation/signinwithapplerestapi
    # With a scope, Apple requires response_mode=form_post, and tells the name only there. A project
    # that needs the name or the email address sets the scope "name email".
    "apple": Provider(
        PROVIDER_NAMES["apple"],
        "https://appleid.apple.com/auth/authorize", more={"response_mode": "query"},
        more_with_scope={"response_mode": "form_post"},
        cancel_error="user_cancelled_authorize", proofs={"nonce"}, has_native_codes=True),
    # https://developers.google.com/identity/openid-connect/openid-connect
    # Google refuses browsers inside apps (disallowed_useragent):
    # https://developers.google.com/identity/protocols/oauth2/policies#browsers
    "google": Provider(
        PROVIDER_NAMES["google"],
        "https://accounts.google.com/o/oauth2/v2/auth", "openid email profile",
        browser_types={BrowserType.DESKTOP, BrowserType.PHONE}, proofs={"pkce", "nonce"},
        has_native_codes=True),
    # Any other OAuth 2.0 provider; the project sets at least label and authorize_url.
    "generic": Provider("", proofs={"pkce", "nonce"}, has_native_codes=True),
}
# fmt: on

# Fields of a row that an entry of CIAM_SOCIAL_PROVIDERS can replace. An entry also has app_id and
# source, and can have provider (the name of the row), proofs (the proofs that CIAM checks) and
# native (True if an app may send the codes of the provider's SDK).
OVERRIDABLE_FIELDS: Final = frozenset(
    {
        "label",
        "authorize_url",
        "scope",
        "client_id",
        "code",
        "more",
        "fragment",
        "browser_types",
        "icon",
    }
)
REQUIRED_FIELDS: Final = ("app_id", "source")
WECHAT: Final = "wechat"
MINI_PROGRAM: Final = "wechat-mini_program"


class Registration(NamedTuple):
    """The project's registration with a provider; ``name`` is a part of this site's URLs.

    ``proofs`` are the proofs of the provider that CIAM checks, as the project says. CIAM exchanges
    the code, so that CIAM needs the verifier and the nonce. CIAM does not document them. A provider
    that got a challenge refuses a code without the verifier.

    ``takes_native_codes`` is True if ``ciam:api_provider`` takes the codes of the provider's SDK.
    There is no state of a browser that protects such a sign-in, so that the project has to allow
    the codes.
    """

    name: str
    provider: Provider
    app_id: str
    source: str
    proofs: Set[str] = frozenset()
    takes_native_codes: bool = False

    @property
    def answers_by_post(self) -> bool:
        """True if the provider sends the callback as a form that the browser posts.

        OAuth 2.0 Form Post Response Mode, section 2.
        """
        return self._more_parameters.get("response_mode") == "form_post"

    @property
    def _more_parameters(self) -> dict[str, str]:
        row = self.provider
        return {**row.more, **(row.more_with_scope if row.scope else {})}

    def authorize_url(
        self, redirect_uri: str, state: str, *, nonce: str = "", code_challenge: str = ""
    ) -> str:
        """Return the authorize URL of RFC 6749, section 4.1.1, with the provider's parameter names.

        The URL has the nonce and the S256 challenge if they are among the ``proofs``.
        """
        row = self.provider
        parameters = {
            row.client_id: self.app_id,
            "redirect_uri": redirect_uri,
            "response_type": "code",
            "scope": row.scope,
            "state": state,
            **self._more_parameters,
        }
        if "nonce" in self.proofs:
            parameters["nonce"] = nonce
        if "pkce" in self.proofs:
            parameters |= {"code_challenge": code_challenge, "code_challenge_method": "S256"}
        query = urlencode(
            {name: value for name, value in parameters.items() if value}, quote_via=quote
        )
        separator = "&" if "?" in row.authorize_url else "?"
        fragment = f"#{row.fragment}" if row.fragment else ""
        return f"{row.authorize_url}{separator}{query}{fragment}"

    def proof_parameters(self, *, nonce: str, code_verifier: str) -> dict[str, str]:
        """Return the parameters with which CIAM checks the ``proofs``; the names are unverified.

        ``CIAM_ENDPOINTS`` replaces the names: ``{"social_login": {"parameters": {...}}}``.
        """
        values = {"pkce": ("codeVerifier", code_verifier), "nonce": ("nonce", nonce)}
        return dict(values[proof] for proof in values if proof in self.proofs)


@cached_until_settings_change("CIAM_SOCIAL_PROVIDERS")
def registrations() -> Mapping[str, Registration]:
    """Return name -> registration, of the complete entries of ``CIAM_SOCIAL_PROVIDERS``.

    A system check reports the incomplete entries.
    """
    complete = {}
    for name, entry in provider_entries(conf.CIAM_SOCIAL_PROVIDERS).items():
        row = provider_of_entry(name, entry)
        is_complete = all(entry.get(key) for key in REQUIRED_FIELDS)
        if row and is_complete and (row.authorize_url or not row.has_page):
            slug = name.replace(".", "-")
            wanted = entry.get("proofs")
            proofs = frozenset(
                proof for proof in row.proofs if isinstance(wanted, Collection) and proof in wanted
            )
            is_allowed = entry.get("native") is True or not row.has_page
            complete[slug] = Registration(
                slug,
                row,
                entry["app_id"],
                entry["source"],
                proofs,
                takes_native_codes=row.has_native_codes and is_allowed,
            )
    return complete


def provider_entries(setting: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return name -> entry of the setting; WeChat's registrations become separate entries.

    An entry that is not a mapping is left out.
    """
    entries: dict[str, Any] = {}
    for name, value in setting.items():
        is_wechat = name == WECHAT and isinstance(value, Mapping)
        parts = value.items() if is_wechat else [("", value)]
        entries |= {f"{name}.{part}".rstrip("."): entry for part, entry in parts}
    return {name: entry for name, entry in entries.items() if isinstance(entry, Mapping)}


def form_action_origins() -> set[str]:
    """Return the providers' origins, for ``form-action`` of a Content-Security-Policy."""
    urls = [registration.provider.authorize_url for registration in registrations().values()]
    return {"/".join(url.split("/", 3)[:3]) for url in urls if url}


def provider_of_entry(name: str, entry: Mapping[str, Any]) -> Provider | None:
    """Return the row of an entry, with the fields that the entry replaces; None without a row."""
    row = PROVIDERS.get(entry.get("provider", name))
    return row and row._replace(**{key: entry[key] for key in OVERRIDABLE_FIELDS & entry.keys()})


# --- Providers for each type of browser -------------------------------------------------------

_PHONE: Final = re.compile(r"Mobi|Android|iPhone|iPad|iPod|HarmonyOS", re.IGNORECASE)
_IN_WECHAT: Final = re.compile(r"MicroMessenger/", re.IGNORECASE)
# WeCom's User-Agent also has WeChat's name. In a mini program's web view, the mini program itself
# signs the user in.
_NOT_WECHAT: Final = re.compile(r"wxwork|miniProgram", re.IGNORECASE)


def browser_type(request: HttpRequest) -> BrowserType:
    """Return the type of the browser that the User-Agent names."""
    agent = user_agent(request)
    if _IN_WECHAT.search(agent) and not _NOT_WECHAT.search(agent):
        return BrowserType.WECHAT
    return BrowserType.IN_APP if is_in_app(request) else _type_outside_apps(request)


def _type_outside_apps(request: HttpRequest) -> BrowserType:
    agent = user_agent(request)
    return BrowserType.PHONE if _PHONE.search(agent) else BrowserType.DESKTOP


def available_providers(request: HttpRequest) -> Sequence[Registration]:
    """Return the registrations whose authorize page works in the request's browser."""
    browser = browser_type(request)
    return [
        registration
        for registration in registrations().values()
        if registration.provider.has_page and browser in registration.provider.browser_types
    ]


class OfferedProviders(NamedTuple):
    """The registrations that work in the request's browser, as the login page shows them.

    ``first`` is above the form: the provider of the app that the browser is a part of, or the
    provider that the browser has used last. ``marks`` have an icon, and ``others`` have none.
    """

    first: Registration | None
    marks: Sequence[Registration]
    others: Sequence[Registration]


def offered_providers(request: HttpRequest, last_method: str = "") -> OfferedProviders:
    """Return the available registrations in groups; ``last_method`` comes first in its group.

    ``last_method`` is the name of the provider or login method that the browser has used last.
    """
    available = {each.name: each for each in available_providers(request)}
    names = with_first(list(available), last_method)
    agent = user_agent(request)
    own = [name for name in names if _is_own_app(available[name].provider, agent)]
    first = next(iter([*own, *(name for name in names if name == last_method)]), "")
    rest = [available[name] for name in names if name != first]
    return OfferedProviders(
        available.get(first),
        [registration for registration in rest if registration.provider.icon],
        [registration for registration in rest if not registration.provider.icon],
    )


def _is_own_app(row: Provider, agent: str) -> bool:
    return bool(row.own_app) and re.search(row.own_app, agent, re.IGNORECASE) is not None


def with_first(names: Sequence[str], first: str) -> Sequence[str]:
    """Return the names with ``first`` at the start, if it is one of the names."""
    return sorted(names, key=lambda name: name != first)


def providers_elsewhere(request: HttpRequest) -> Sequence[tuple[Registration, str]]:
    """Return the registrations that the user can use after opening the page in another browser.

    The second item is the place: ``wechat``, or ``browser`` for the browser of the same device, if
    the page is in the browser of an app. A registration is left out if the page offers another
    registration with the same label.
    """
    outside, available = _type_outside_apps(request), available_providers(request)
    labels = {str(registration.provider.label) for registration in available}
    elsewhere: list[tuple[Registration, str]] = []
    for registration in registrations().values():
        row = registration.provider
        if outside in row.browser_types:
            place = "browser"
        elif outside is BrowserType.PHONE and BrowserType.WECHAT in row.browser_types:
            place = "wechat"
        else:
            place = ""
        if row.has_page and place and str(row.label) not in labels:
            labels.add(str(row.label))
            elsewhere.append((registration, place))
    return elsewhere


def icon_url(registration: Registration) -> str:
    """Return the URL of the provider's icon, or an empty text without an icon.

    An icon that is no URL and no absolute path is the path of a static file.
    """
    icon = registration.provider.icon
    is_url = icon.startswith("/") or ":" in icon
    return icon if is_url or not icon else static_url(icon)
