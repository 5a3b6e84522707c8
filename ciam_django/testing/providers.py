"""The authorize pages of the fake's social providers, where a user agrees or cancels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from werkzeug import Request, Response
from werkzeug.utils import redirect

from ciam_django.testing.endpoints import Route, is_registered
from ciam_django.testing.page import language_of, message_page, posting_page, provider_page

if TYPE_CHECKING:
    from ciam_django.testing.tenant import Tenant

AUTHORIZE_PATH: Final = "/provider/{name}/authorize"


@dataclass(frozen=True, slots=True)
class ProviderPage:
    """A social provider: the parameter names of its page, and the parameters of its callback.

    ``client_id`` and ``code`` are the names of these two parameters. ``extra_parameters`` are sent
    with the code, and ``refusal_parameters`` after a refusal. ``refusal_parameters`` is None if the
    provider does not redirect after a refusal, as with WeChat's QR code. ``posts_scope`` is True if
    the provider requires ``response_mode=form_post`` for a scope. The callback is then a form that
    the browser posts, and the form has the user's name at the first sign-in.
    """

    name: str
    client_id: str = "client_id"
    code: str = "code"
    extra_parameters: Mapping[str, str] = field(default_factory=dict)
    refusal_parameters: Mapping[str, str] | None = field(
        default_factory=lambda: {"error": "access_denied"}
    )
    posts_scope: bool = False


PROVIDER_PAGES: Final[Mapping[str, ProviderPage]] = {
    "wechat-website": ProviderPage("微信 WeChat", "appid", refusal_parameters=None),
    # After a refusal in its app, WeChat sends only the state.
    "wechat-in_app": ProviderPage("微信 WeChat", "appid", refusal_parameters={}),
    "qq": ProviderPage("QQ", refusal_parameters={"error": "access_denied", "usercancel": "1"}),
    "weibo": ProviderPage(
        "微博 Weibo", refusal_parameters={"error": "access_denied", "error_code": "21330"}
    ),
    "alipay": ProviderPage("支付宝 Alipay", "app_id", "auth_code", {"source": "alipay_wallet"}),
    "dingtalk": ProviderPage("钉钉 DingTalk", code="authCode"),
    "feishu": ProviderPage("飞书 Feishu"),
    "apple": ProviderPage(
        "Apple", refusal_parameters={"error": "user_cancelled_authorize"}, posts_scope=True
    ),
    "google": ProviderPage("Google"),
    "generic": ProviderPage("Example"),
}


def _page_handler(name: str, row: ProviderPage) -> Callable[[Tenant, Request], Response]:
    def answer(tenant: Tenant, request: Request) -> Response:
        parameters = request.values.to_dict()
        language = language_of(request)
        if not parameters.get(row.client_id):
            return _html(message_page("client_id", language), 400)
        if not is_registered(tenant, parameters.get("redirect_uri", "")):
            return _html(message_page("redirect_uri", language), 400)
        is_posted = parameters.get("response_mode") == "form_post"
        if row.posts_scope and parameters.get("scope") and not is_posted:
            return _html(message_page("response_mode", language), 400)
        if request.method != "POST":
            return _html(provider_page(row.name, parameters, language))
        callback = {"state": parameters["state"]} if "state" in parameters else {}
        if parameters.get("decision") != "cancel":
            username = parameters.get("username", "").strip() or "li"
            callback = {
                row.code: tenant.accounts.issue_social_code(
                    username,
                    challenge=parameters.get("code_challenge", ""),
                    nonce=parameters.get("nonce", ""),
                ),
                **row.extra_parameters,
                **callback,
            }
            if is_posted and "name" in parameters.get("scope", "").split():
                callback |= tenant.accounts.tell_name_once(username)
        elif row.refusal_parameters is None:
            return _html(message_page("refused", language))
        else:
            callback = {**row.refusal_parameters, **callback}
        if is_posted:
            return _html(posting_page(parameters["redirect_uri"], callback, language))
        mark = "&" if "?" in parameters["redirect_uri"] else "?"
        return redirect(f"{parameters['redirect_uri']}{mark}{urlencode(callback)}")

    return answer


def _html(content: str, status: int = 200) -> Response:
    return Response(content, status, mimetype="text/html")


PROVIDER_ROUTES: Final[dict[str, Route]] = {
    AUTHORIZE_PATH.format(name=name): Route("", ("GET", "POST"), _page_handler(name, row))
    for name, row in PROVIDER_PAGES.items()
}
