"""The pages of social providers that the fake plays: where a person says yes, or no."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from werkzeug import Request, Response
from werkzeug.utils import redirect

from ciam_django.testing.endpoints import Endpoint, is_registered
from ciam_django.testing.page import language_of, plain_page, provider_page

if TYPE_CHECKING:
    from ciam_django.testing.tenant import Tenant

PLACE: Final = "/provider/{name}/authorize"


@dataclass(frozen=True, slots=True)
class Provider:
    """A row: names of parameters, what comes beside the code, and what a refusal sends back.

    ``refused`` is None where a refusal never comes back, as at WeChat's QR code.
    """

    name: str
    client_id: str = "client_id"
    code: str = "code"
    more: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] | None = field(default_factory=lambda: {"error": "access_denied"})


PROVIDERS: Final[Mapping[str, Provider]] = {
    "wechat-website": Provider("微信 WeChat", "appid", refused=None),
    # In its app it comes back with nothing but the state.
    "wechat-in_app": Provider("微信 WeChat", "appid", refused={}),
    "qq": Provider("QQ", refused={"error": "access_denied", "usercancel": "1"}),
    "weibo": Provider("微博 Weibo", refused={"error": "access_denied", "error_code": "21330"}),
    "alipay": Provider("支付宝 Alipay", "app_id", "auth_code", {"source": "alipay_wallet"}),
    "dingtalk": Provider("钉钉 DingTalk", code="authCode"),
    "feishu": Provider("飞书 Feishu"),
    "apple": Provider("Apple", refused={"error": "user_cancelled_authorize"}),
    "google": Provider("Google"),
    "generic": Provider("Example"),
}


def _page_of(name: str, row: Provider) -> Callable[[Tenant, Request], Response]:
    def answer(tenant: Tenant, request: Request) -> Response:
        asked = request.values.to_dict()
        language = language_of(request)
        if not asked.get(row.client_id):
            return _html(plain_page("client_id", language), 400)
        if not is_registered(tenant, asked.get("redirect_uri", "")):
            return _html(plain_page("redirect_uri", language), 400)
        if request.method != "POST":
            return _html(provider_page(row.name, asked, language))
        given = {"state": asked["state"]} if "state" in asked else {}
        if asked.get("decision") != "cancel":
            username = asked.get("username", "").strip() or "li"
            given = {row.code: tenant.people.begin_social(username), **row.more, **given}
        elif row.refused is None:
            return _html(plain_page("refused", language))
        else:
            given = {**row.refused, **given}
        mark = "&" if "?" in asked["redirect_uri"] else "?"
        return redirect(f"{asked['redirect_uri']}{mark}{urlencode(given)}")

    return answer


def _html(content: str, status: int = 200) -> Response:
    return Response(content, status, mimetype="text/html")


PAGES: Final[dict[str, Endpoint]] = {
    PLACE.format(name=name): Endpoint("", ("GET", "POST"), _page_of(name, row))
    for name, row in PROVIDERS.items()
}
