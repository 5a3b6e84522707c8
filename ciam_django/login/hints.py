"""The hints on the page of a refused callback, which say why the sign-in cannot continue.

A hint depends only on the cookies of this package, on the User-Agent, and on the host at which the
sign-in has started, because anyone can forge the query of the callback.
"""

from __future__ import annotations

import enum
import functools
import re
from typing import TYPE_CHECKING, Final

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from ciam_django.login.cookies import has_any_cookie, set_cookie
from ciam_django.login.redirects import redirect_response
from ciam_django.login.state import (
    has_state_cookie,
    is_claimed,
    is_expired,
    starting_host,
)
from ciam_django.responses import HTML, media_type_for

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise


@enum.unique
class Hint(enum.StrEnum):
    """A reason why a callback has no valid state."""

    EXPIRED = "expired"
    OTHER_HOST = "other_host"
    IN_APP_BROWSER = "in_app_browser"
    OTHER_BROWSER = "other_browser"
    COOKIES_BLOCKED = "cookies_blocked"


# Each text must be true even if the package has guessed the wrong reason.
HINT_TEXTS: Final[dict[Hint, str | StrPromise]] = {
    Hint.EXPIRED: _("It's been more than 10 minutes since you started."),
    Hint.OTHER_HOST: _(
        "You started at a different address of this site. Start again here, and stay at this "
        "address."
    ),
    Hint.IN_APP_BROWSER: _(
        "This page opened inside an app. If you started in your browser, go back and sign in there."
    ),
    Hint.OTHER_BROWSER: _("You need to finish signing in with the browser you started in."),
    Hint.COOKIES_BLOCKED: _(
        "Your browser may be blocking this site's cookies. Allow cookies, then sign in again."
    ),
}

# App -> a pattern for the User-Agent of the browser inside the app, which matches no other browser.
IN_APP: Final[dict[str, str]] = {
    "WeChat, WeCom": r"MicroMessenger/",
    "Alipay, Taobao, DingTalk": r"AliApp\(|AlipayClient|DingTalk/",
    # The pattern must not match MQQBrowser, which is a browser and not the app.
    "QQ": r"\bQQ/",
    "Weibo": r"Weibo",
    "Feishu, Lark": r"\bLark/",
    "Douyin, Toutiao, TikTok": r"\baweme|NewsArticle/|musical_ly|BytedanceWebview",
    "Xiaohongshu": r"xhsdiscover|\bdiscover/",
    "Baidu": r"baiduboxapp/",
    "Line": r"\bLine/",
    "KakaoTalk": r"KAKAOTALK",
    "Facebook, Messenger, Instagram": r"FBAN/|FBAV/|FB_IAB/|Instagram",
    "X, LinkedIn, Snapchat": r"Twitter for|LinkedInApp|Snapchat/",
    # https://developer.chrome.com/docs/multidevice/user-agent#webview_user_agent
    "any app on Android": r"; wv\)",
    "any app on iOS": r"\((?:iPhone|iPad|iPod)(?!.*\bSafari/).*AppleWebKit/",
}
# The time of a search grows with the square of the length. The names of apps that these patterns
# look for are within the first 512 characters.
_LONGEST_USER_AGENT: Final = 512


@functools.cache
def _in_app() -> re.Pattern[str]:
    return re.compile("|".join(IN_APP.values()), re.IGNORECASE)


# ``cookie_test_response`` redirects to a URL with this parameter and sets this cookie.
_COOKIE_TEST_PARAMETER: Final = "ciam_asked"
_TEST_COOKIE: Final = "asked"
_COOKIE_LIFETIME: Final = 24 * 3600


def user_agent(request: HttpRequest) -> str:
    """Return the first 512 characters of the User-Agent; empty if the header is missing."""
    return request.headers.get("User-Agent", "")[:_LONGEST_USER_AGENT]


def is_in_app(request: HttpRequest) -> bool:
    """Return True if the User-Agent names a browser inside an app."""
    return _in_app().search(user_agent(request)) is not None


def hint_text(hint: Hint | None) -> str:
    """Return the hint's text in the active language; an empty text for None."""
    return str(HINT_TEXTS[hint]) if hint else ""


def hint_at_form(request: HttpRequest) -> Hint | None:
    """Return the hint for a form without a valid CSRF token, or None."""
    return None if has_any_cookie(request) else Hint.COOKIES_BLOCKED


def hint_at_callback(
    request: HttpRequest, returned_state: str, provider: str = "ciam"
) -> Hint | None:
    """Return the hint for a callback whose state is not valid in this browser, or None.

    ``returned_state`` is the state in the query, and ``provider`` is the name of the provider.
    """
    if not returned_state:
        if _COOKIE_TEST_PARAMETER not in request.GET:
            return None
        return Hint.OTHER_BROWSER if has_any_cookie(request) else Hint.COOKIES_BLOCKED
    if is_expired(request, returned_state, provider):
        return Hint.EXPIRED
    if has_state_cookie(request, returned_state) or is_claimed(returned_state):
        return None
    if changed_hosts(request, returned_state):
        return Hint.OTHER_HOST
    if is_in_app(request):
        return Hint.IN_APP_BROWSER
    return Hint.OTHER_BROWSER


def changed_hosts(request: HttpRequest, returned_state: str) -> str:
    """Return both hosts as a text for developers if the host has changed, otherwise an empty text.

    Django has checked both hosts with ``ALLOWED_HOSTS``.
    """
    host, starting = request.get_host(), starting_host(returned_state)
    return f"the host changed from {starting} to {host}"[:500] if starting not in ("", host) else ""


def cookie_test_response(request: HttpRequest, hint: Hint | None) -> HttpResponse | None:
    """Return a redirect that tests if the browser stores cookies, or None if no test is needed.

    Each sign-in sets a cookie before the browser leaves for CIAM. So a callback without cookies
    comes from another browser, or from a browser that has stopped storing cookies. The redirect's
    URL has no state, so a second redirect is impossible, and the code does not stay in the
    browser's history.
    """
    if (
        hint is not Hint.OTHER_BROWSER
        or has_any_cookie(request)
        or request.headers.get("Sec-Fetch-Dest") != "document"
        or media_type_for(request) != HTML
    ):
        return None
    response = redirect_response(f"?{_COOKIE_TEST_PARAMETER}=1")
    set_cookie(request, response, _TEST_COOKIE, "1", seconds=_COOKIE_LIFETIME)
    return response
