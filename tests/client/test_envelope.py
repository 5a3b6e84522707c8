"""The data or the failure in a response of CIAM."""

from __future__ import annotations

import json

import pytest
import requests

from ciam_django.client.envelope import data_of
from ciam_django.errors import CiamError
from tests.rows import for_each_row


def response_of(content: bytes, status: int = 200, **headers: str) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    response._content = content
    response.headers.update(headers)
    return response


def test_a_token_response_is_not_unwrapped() -> None:
    body = {"access_token": "a", "data": {"access_token": "b"}}

    assert data_of(response_of(json.dumps(body).encode())) == body


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_wrapped_success_is_unwrapped_in_any_unicode_encoding(encoding: str) -> None:
    body = {"success": True, "code": "Operation.Success", "data": {"userId": "李"}}

    assert data_of(response_of(json.dumps(body).encode(encoding))) == {"userId": "李"}


def test_the_code_survives_a_wrong_charset() -> None:
    body = '{"success": false, "code": "Params.Illegal", "message": "参数无效"}'.encode("gbk")
    with pytest.raises(CiamError) as raised:
        data_of(response_of(body))

    assert raised.value.code == "Params.Illegal"


@for_each_row(
    "content",
    [b"", b"<html>", b"[]", b"null", b"7", b'"text"', b"{", b"\xff\xfe\xfd", b"[" * 100_000],
)
@for_each_row("status", [200, 400, 503])
def test_a_body_that_is_not_an_object_is_unreadable(content: bytes, status: int) -> None:
    with pytest.raises(CiamError) as raised:
        data_of(response_of(content, status))

    assert (raised.value.code, raised.value.upstream_status) == ("unreadable_answer", status)


def test_status_429_alone_means_too_many_requests() -> None:
    with pytest.raises(CiamError) as raised:
        data_of(response_of(b"<html>", 429, **{"Retry-After": "30"}))

    assert (raised.value.code, raised.value.retry_after) == ("too_many_requests", 30)


def test_a_redirect_is_unreadable() -> None:
    with pytest.raises(CiamError) as raised:
        data_of(response_of(b'{"access_token": "a"}', 302))

    assert raised.value.code == "unreadable_answer"
