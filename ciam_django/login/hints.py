"""What the page of a refused callback adds: why this browser has no such sign-in under way.

Judged only from our own cookies and the User-Agent, for anyone can write the rest.
"""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, Final

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from ciam_django.login import state
from ciam_django.login.cookies import has_any_cookie, set_cookie
from ciam_django.login.redirects import redirect_response
from ciam_django.responses import HTML, media_type_for

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise


@enum.unique
class Hint(enum.StrEnum):
    """What may have come between leaving for CIAM and coming back."""

    EXPIRED = "expired"
    IN_APP_BROWSER = "in_app_browser"
    OTHER_BROWSER = "other_browser"
    COOKIES_BLOCKED = "cookies_blocked"


# Each has to be true even where the judgement is not.
HINT_TEXTS: Final[dict[Hint, str | StrPromise]] = {
    Hint.EXPIRED: _("More than 10 minutes have passed since you began."),
    Hint.IN_APP_BROWSER: _(
        "This page has opened inside an app. If you began in your browser, sign in there."
    ),
    Hint.OTHER_BROWSER: _(
        "A sign-in has to end in the browser where it began. If that was another one, sign in "
        "there."
    ),
    Hint.COOKIES_BLOCKED: _(
        "Your browser isn't keeping this site's cookies, and signing in needs them. Allow them "
        "first."
    ),
}

# What the browsers inside of apps write into their User-Agent, and no other browser does.
IN_APP: Final[dict[str, str]] = {
    "WeChat, WeCom": r"MicroMessenger/",
    "Alipay, Taobao, DingTalk": r"AliApp\(|AlipayClient|DingTalk/",
    # Not MQQBrowser, which is a browser of its own.
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
_IN_APP: Final = re.compile("|".join(IN_APP.values()), re.IGNORECASE)

# In the address that ``cookie_test_response`` leads to, and the cookie that should come along.
_COOKIE_TEST_PARAMETER: Final = "ciam_asked"
_TEST_COOKIE: Final = "asked"
_COOKIE_LIFETIME: Final = 24 * 3600


def hint_text(hint: Hint | None) -> str:
    """The hint in the language that is active now; the empty text for none."""
    return str(HINT_TEXTS[hint]) if hint else ""


def hint_at_form(request: HttpRequest) -> Hint | None:
    """Why a form of ours may have come without its token: its cookie has not come either."""
    return None if has_any_cookie(request) else Hint.COOKIES_BLOCKED


def hint_at_callback(
    request: HttpRequest, returned_state: str, provider: str = "ciam"
) -> Hint | None:
    """Why the state that a callback came with is none that this browser can go on with."""
    if not returned_state:
        if _COOKIE_TEST_PARAMETER not in request.GET:
            return None
        return Hint.OTHER_BROWSER if has_any_cookie(request) else Hint.COOKIES_BLOCKED
    if state.is_expired(request, returned_state, provider):
        return Hint.EXPIRED
    if state.has_state_cookie(request, returned_state) or state.is_claimed(returned_state):
        return None
    if _IN_APP.search(request.headers.get("User-Agent", "")):
        return Hint.IN_APP_BROWSER
    return Hint.OTHER_BROWSER


def cookie_test_response(request: HttpRequest, hint: Hint | None) -> HttpResponse | None:
    """The redirect that shows whether this browser keeps cookies; None where that is known.

    Nobody leaves for CIAM without a cookie, so a callback that has none comes from another
    browser, or from one that has stopped keeping them. The address has no state in it, so there
    is no second redirect, and the code is gone from the browser's history.
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
