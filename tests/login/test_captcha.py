"""Tests of CAPTCHA images: only an image is sent to the browser."""

from __future__ import annotations

import base64
import time
from functools import partial

import pytest
from django.http import HttpResponse
from django.test import RequestFactory

from ciam_django.client.results import Captcha
from ciam_django.errors import CiamError
from ciam_django.login import captcha as captchas
from ciam_django.login.captcha import (
    captcha_parameters,
    decode_captcha_image,
    load_captcha_availability,
)
from ciam_django.testing import FakeCiam
from tests.login.test_state import aged


def captcha(content: bytes) -> Captcha:
    return Captcha("id", f"data:image/png;base64,{base64.b64encode(content).decode()}", {})


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"\x89PNG\r\n\x1a\n...", "image/png"),
        (b"\xff\xd8\xff\xe0...", "image/jpeg"),
        (b"GIF89a...", "image/gif"),
    ],
)
def test_the_first_bytes_of_an_image_decide_its_media_type(
    content: bytes, content_type: str
) -> None:
    assert decode_captcha_image(captcha(content)) == (content, content_type)


@pytest.mark.parametrize(
    "image",
    [
        "",
        "data:image/svg+xml;base64,PHN2Zz48c2NyaXB0Pg==",
        "data:text/html;base64,PGh0bWw+",
        "data:image/png;base64,not base64!",
        "https://evil.example/picture.png",
    ],
)
def test_content_that_is_no_image_is_refused(image: str) -> None:
    with pytest.raises(CiamError) as raised:
        decode_captcha_image(Captcha("id", image, {}))

    assert raised.value.code == "unreadable_answer"


@pytest.mark.parametrize("gives_captchas", [True, False])
def test_ciam_is_asked_once_a_minute_if_it_gives_captchas(
    ciam: FakeCiam, gives_captchas: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not gives_captchas:
        ciam.fail("api", code="not_found", status=404, times=None)

    start = time.time()
    for seconds, calls in ((0, 1), (1, 1), (59, 1), (61, 2)):
        monkeypatch.setattr(time, "time", partial(float, start + seconds))
        assert load_captcha_availability() is gives_captchas
        assert len([each for each in ciam.requests if "captcha" in each.path]) == calls


@pytest.mark.parametrize(("age", "is_valid"), [(595, True), (601, False)])
def test_the_cookie_of_a_captcha_is_read_for_ten_minutes(age: int, is_valid: bool) -> None:
    cookies = captchas._COOKIES
    text = aged(cookies.encrypted({"id": "c-1"}), age, cookies.purpose)
    request = RequestFactory().get("/")
    for form_id in ("f", "another"):
        request.COOKIES = {f"ciam_captcha_{form_id}": text}
        captcha_id = captcha_parameters(request, "text", form_id="f")["captchaCode"]
        assert captcha_id == ("c-1" if is_valid else "")


def test_a_browser_has_the_cookies_of_three_captchas() -> None:
    cookies, response = captchas._COOKIES, HttpResponse()
    for form_id in ("a", "b", "c", "d"):
        cookies.set(RequestFactory().get("/"), response, form_id, {"id": form_id})

    kept = [name for name, morsel in response.cookies.items() if morsel.value]
    assert kept == ["ciam_captcha_b", "ciam_captcha_c", "ciam_captcha_d"]
    assert response.cookies["ciam_captcha_d"]["max-age"] == 600
