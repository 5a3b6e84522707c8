"""Tests of the notices that a cookie stores for the next page."""

from __future__ import annotations

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from ciam_django.errors import CiamError
from ciam_django.login import notices
from tests.login.test_state import aged


def request_after(response: HttpResponse, age: int = 0) -> HttpRequest:
    """Return a request with the cookies of a response that was sent ``age`` seconds earlier."""
    request = RequestFactory().get("/")
    request.COOKIES = {
        name: aged(cookie.value, age, notices._COOKIES.purpose)
        for name, cookie in response.cookies.items()
    }
    return request


@pytest.mark.parametrize(("age", "is_shown"), [(55, True), (61, False)])
def test_a_notice_is_shown_for_a_minute(age: int, is_shown: bool) -> None:
    response = HttpResponse()
    notices.set_success_notice(RequestFactory().get("/"), response, "linked")
    text = "The account has been linked." if is_shown else ""

    assert notices.notice_from_cookie(request_after(response, age)) == (None, text)
    assert response.cookies["ciam_notice_last"]["max-age"] == 60


def test_the_notice_of_an_error_has_the_answer_of_its_stage_and_its_request_id() -> None:
    response = HttpResponse()
    error = CiamError("Operation.Failure.User.Locked", request_id="id-1", stage="password")
    notices.set_error_notice(RequestFactory().get("/"), response, error, is_cancelled=False)
    answer, text = notices.notice_from_cookie(request_after(response))

    assert text == ""
    assert answer is not None
    # At this stage, the answer does not reveal that the account is locked.
    assert answer.code == "Operation.Failure.Username.Or.Password.Error"


def test_the_notice_of_a_cancelled_sign_in_is_only_a_text() -> None:
    response = HttpResponse()
    error = CiamError("access_denied", stage="social")
    notices.set_error_notice(RequestFactory().get("/"), response, error, is_cancelled=True)
    answer, text = notices.notice_from_cookie(request_after(response))

    assert answer is None
    assert text


def test_the_notice_of_another_version_with_an_unknown_stage_is_shown() -> None:
    response = HttpResponse()
    content = {"error": {"code": "timeout", "stage": "newer"}}
    notices._COOKIES.set(RequestFactory().get("/"), response, "last", content)
    answer, _ = notices.notice_from_cookie(request_after(response))

    assert answer is not None
    assert answer.code == "timeout"


def test_a_browser_without_a_valid_notice_has_no_notice() -> None:
    response = HttpResponse()
    notices._COOKIES.set(RequestFactory().get("/"), response, "last", {"good_news": "unknown"})

    assert notices.notice_from_cookie(RequestFactory().get("/")) == (None, "")
    assert notices.notice_from_cookie(request_after(response)) == (None, "")
