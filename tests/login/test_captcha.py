"""Tests of CAPTCHA images: only an image is sent to the browser."""

from __future__ import annotations

import base64

import pytest

from ciam_django.client.results import Captcha
from ciam_django.errors import CiamError
from ciam_django.login.captcha import decode_captcha_image, load_captcha_availability
from ciam_django.testing import FakeCiam


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
    ciam: FakeCiam, gives_captchas: bool
) -> None:
    if not gives_captchas:
        ciam.fail("api", code="not_found", status=404, times=None)

    assert [load_captcha_availability() for _ in range(3)] == [gives_captchas] * 3
    assert len([request for request in ciam.requests if "captcha" in request.path]) == 1
