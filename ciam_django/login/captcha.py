"""The view that serves CAPTCHA images from this site, as a strict Content-Security-Policy needs."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from ciam_django.accounts.rate_limits import count_captcha
from ciam_django.client.api import CiamClient
from ciam_django.client.results import Captcha
from ciam_django.errors import CiamError, Stage
from ciam_django.login.cookies import EncryptedCookies
from ciam_django.reporting import answer_and_report

# Seconds.
_LIFETIME: Final = 600
_COOKIES: Final = EncryptedCookies("ciam_django.login.captcha", "captcha_", _LIFETIME, max_count=1)
_NAME: Final = "last"
# First bytes of an image -> media type. No other content from CIAM is sent to the browser.
_IMAGE_TYPES: Final = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
}


@login_not_required
@require_safe
@never_cache
def issue_captcha_image(request: HttpRequest) -> HttpResponse:
    """Answer with a new CAPTCHA image; an encrypted cookie stores the CAPTCHA's id."""
    try:
        captcha = fetch_captcha(request)
        content, content_type = captcha_image(captcha)
    except CiamError as error:
        # The browser shows no page in an <img>, so the body stays empty.
        return HttpResponse(status=answer_and_report(error, request).status)
    response = HttpResponse(content, content_type=content_type)
    response["Content-Security-Policy"] = "default-src 'none'"
    response["X-Content-Type-Options"] = "nosniff"
    _COOKIES.set(request, response, _NAME, {"id": captcha.id})
    return response


def fetch_captcha(request: HttpRequest) -> Captcha:
    """Return a new CAPTCHA from CIAM; raise a ``CiamError`` above the rate limit."""
    count_captcha(request)
    return CiamClient().captcha()


def captcha_image(captcha: Captcha) -> tuple[bytes, str]:
    """Return the image and its media type; raise a ``CiamError`` if the content is no image."""
    _, _, encoded = captcha.image.partition("base64,")
    try:
        content = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        content = b""
    for start, content_type in _IMAGE_TYPES.items():
        if content.startswith(start):
            return content, content_type
    raise CiamError("unreadable_answer", stage=Stage.API, upstream_text="the CAPTCHA is no image")


def captcha_parameters(request: HttpRequest, text: str, captcha_id: str = "") -> dict[str, str]:
    """Return the API parameters of a solved CAPTCHA: its id and the text that was typed.

    Without ``captcha_id``, the id is in the cookie of the browser's last CAPTCHA.
    """
    cookie_content = _COOKIES.content(request, _NAME, _LIFETIME) or {}
    return {"captchaCode": captcha_id or cookie_content.get("id", ""), "captchaText": text}
