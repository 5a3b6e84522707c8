"""Fetch CAPTCHAs from CIAM, and serve their images from this site.

A strict Content-Security-Policy allows only images of this site.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from typing import Final
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from ciam_django.accounts.rate_limits import count_captcha
from ciam_django.client.api import CiamClient
from ciam_django.client.cache import acquire_once, is_acquired
from ciam_django.client.results import Captcha
from ciam_django.errors import CiamError, Stage
from ciam_django.login.cookies import EncryptedCookies, known_browser_id
from ciam_django.privacy import own_text
from ciam_django.reporting import answer_and_report, report

# Seconds for which the cookie with the id of a CAPTCHA is valid.
_LIFETIME: Final = 600
# Each form has a CAPTCHA of its own, so that the forms of several tabs can be submitted.
_COOKIES: Final = EncryptedCookies("ciam_django.login.captcha", "captcha_", _LIFETIME, max_count=3)
_FORM_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,16}")
# The name of the cookie for an image without the id of a form.
_NO_FORM: Final = "last"
# Seconds until CIAM is asked again if it gives CAPTCHAs.
_CHECK_INTERVAL: Final = 60
_WORKS_KEY: Final = "ciam_django.captcha.works"
_FAILS_KEY: Final = "ciam_django.captcha.fails"
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
    """Return the image of a new CAPTCHA, and store the CAPTCHA's id in an encrypted cookie.

    ``?form=`` is the id of the form that shows the image. If CIAM fails or a rate limit is
    exceeded, report the ``CiamError`` and return an empty response with the error's HTTP status.
    """
    try:
        captcha = fetch_captcha(request)
        content, content_type = decode_captcha_image(captcha)
    except CiamError as error:
        # The browser shows no page in an <img>, so the body stays empty.
        return HttpResponse(status=answer_and_report(error, request).status)
    response = HttpResponse(content, content_type=content_type)
    response["Content-Security-Policy"] = "default-src 'none'"
    response["X-Content-Type-Options"] = "nosniff"
    form_id = request.GET.get("form", "")
    name = form_id if _FORM_ID.fullmatch(form_id) else _NO_FORM
    _COOKIES.set(request, response, name, {"id": captcha.id})
    return response


def new_form_id() -> str:
    """Return a new id for a form with a CAPTCHA."""
    return secrets.token_urlsafe(6)


def image_url(form_id: str) -> str:
    """Return the URL of a new image for the form."""
    return f"{reverse('ciam:captcha')}?{urlencode({'form': form_id})}"


def fetch_captcha(request: HttpRequest) -> Captcha:
    """Count the request in the rate limits, and return a new CAPTCHA from CIAM.

    Raises ``CiamError``: ``too_many_requests`` above a rate limit, or the error of the call.
    """
    count_captcha(request, known_browser_id(request))
    return CiamClient().captcha()


def load_captcha_availability() -> bool:
    """Return True if CIAM gives CAPTCHAs, which may need a call to CIAM.

    Return False if the call fails, and report the failure. The result is cached for
    ``_CHECK_INTERVAL``.
    """
    if is_acquired(_WORKS_KEY):
        return True
    if is_acquired(_FAILS_KEY):
        return False
    try:
        decode_captcha_image(CiamClient().captcha())
    except CiamError as error:
        report(error)
        acquire_once(_FAILS_KEY, seconds=_CHECK_INTERVAL)
        return False
    acquire_once(_WORKS_KEY, seconds=_CHECK_INTERVAL)
    return True


def decode_captcha_image(captcha: Captcha) -> tuple[bytes, str]:
    """Return the bytes of the image and its media type.

    Raises ``CiamError``: ``unreadable_answer`` if the image is not a data URL in Base64 with a PNG,
    JPEG or GIF image.
    """
    _, _, encoded = captcha.image.partition("base64,")
    try:
        content = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        content = b""
    for start, content_type in _IMAGE_TYPES.items():
        if content.startswith(start):
            return content, content_type
    raise CiamError(
        "unreadable_answer",
        stage=Stage.API,
        upstream_text=own_text("the CAPTCHA is not a PNG, JPEG or GIF image"),
    )


def captcha_parameters(
    request: HttpRequest, text: str, captcha_id: str = "", form_id: str = ""
) -> dict[str, str]:
    """Return CIAM's API parameters for a CAPTCHA: its id, and the text that the user typed.

    If ``captcha_id`` is empty, the id comes from the cookie of the form, or from the cookie of the
    browser's last CAPTCHA. The id is empty if there is no valid cookie. CIAM checks the text;
    nothing has been checked yet.
    """
    if not captcha_id:
        content = _COOKIES.content(request, form_id, _LIFETIME) or next(
            iter(_COOKIES.contents(request, _LIFETIME)), {}
        )
        captcha_id = content.get("id", "")
    return {"captchaCode": captcha_id, "captchaText": text}
