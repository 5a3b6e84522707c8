"""The data or the failure in a response of CIAM."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from ciam_django.client import raise_for_failure
from ciam_django.client.envelope import data_of
from ciam_django.errors import CiamError, error_from_body, raising_ciam_errors
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


# --- raise_for_failure ------------------------------------------------------------------------

LOCKED = "Operation.Failure.User.Locked"


@for_each_row("status", [200, 302, 400, 500])
@for_each_row(
    "body, code",
    [
        ({"success": False, "code": "Operation.Failure", "message": LOCKED}, LOCKED),
        ({"Success": "false", "Code": LOCKED}, LOCKED),
        ({"error": "invalid_grant", "error_description": "the code is used"}, "invalid_grant"),
        ({"errcode": 40029, "errmsg": "invalid code"}, "wechat.40029"),
    ],
)
def test_a_failure_body_raises_whatever_its_status(
    status: int, body: dict[str, object], code: str
) -> None:
    with pytest.raises(CiamError) as raised:
        raise_for_failure(response_of(json.dumps(body).encode(), status))

    assert (raised.value.code, raised.value.upstream_status) == (code, status)


@for_each_row("content, status", [(b"<html>", 200), (b"[]", 200), (b"", 302), (b"", 503)])
def test_a_response_that_is_no_answer_raises(content: bytes, status: int) -> None:
    with pytest.raises(CiamError) as raised:
        raise_for_failure(response_of(content, status))

    assert raised.value.code == "unreadable_answer"


@for_each_row(
    "content",
    [b'{"success": true, "data": {}}', b'{"access_token": "a"}', b'{"keys": []}', b""],
)
def test_a_success_raises_nothing(content: bytes) -> None:
    raise_for_failure(response_of(content))


def test_the_stage_is_that_of_the_block_around_the_call() -> None:
    with pytest.raises(CiamError) as raised, raising_ciam_errors("profile"):
        raise_for_failure(response_of(b'{"error": "invalid_token"}', 401))

    assert raised.value.stage == "profile"


def test_a_body_is_a_failure_exactly_if_its_parsed_form_is_a_failure() -> None:
    names = ["success", "Success", "error", "ERROR", "errcode", "ErrCode", "code", "Code"]
    values: list[Any] = [None, True, False, "true", 0, 200, "invalid_grant", "Operation.Success"]
    starts: list[dict[str, Any]] = [{"access_token": "a"}, {"access_token": "a", "success": True}]
    bodies = [{**body, name: value} for body in starts for name in names for value in (*values, {})]
    wrong = []
    for body in bodies:
        for status in (200, 302, 400, 500):
            expected = error_from_body(body, status=status)
            try:
                data_of(response_of(json.dumps(body).encode(), status))
                code = ""
            except CiamError as error:
                code = error.code
            if code != (expected.code if expected else "unreadable_answer" * (status == 302)):
                wrong.append((body, status, code))

    assert wrong == []
