"""Any body, status and headers give one error or a success, and an error gives one answer."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from ciam_django.answers import BODY_MEMBERS, answer_to
from ciam_django.client.envelope import data_of
from ciam_django.codes import CODES
from ciam_django.errors import REQUEST_ID, CiamError, error_from_body, stage_named
from ciam_django.kinds import KINDS, Action, Kind
from ciam_django.lookup import FIELD
from tests.properties.strategies import BODY, HEADERS, JSON, MEMBERS, STATUS

pytestmark = pytest.mark.slow("properties")

# RFC 9110, 5.5: visible characters, spaces between them.
HEADER_VALUE = re.compile(r"[\x21-\x7e]+( [\x21-\x7e]+)*")
STAGES = st.sampled_from(["", "token", "password", "recover", "api", "logout"])


def answered(content: bytes, status: int, headers: dict[str, str]) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    response._content = content
    response.headers.update(headers)
    return response


def check_answer(error: CiamError) -> dict[str, Any]:
    answer = answer_to(error)
    body: dict[str, Any] = json.loads(json.dumps(answer.as_dict()))

    assert tuple(body) == BODY_MEMBERS
    assert 400 <= body["status"] <= 599
    assert body["status"] == answer.status
    assert body["code"] in CODES
    assert body["field"] is None or FIELD.fullmatch(body["field"])
    assert REQUEST_ID.fullmatch(body["request_id"])
    assert body["detail"]
    for name, value in answer.headers.items():
        assert HEADER_VALUE.fullmatch(name)
        assert HEADER_VALUE.fullmatch(value)
    return body


@given(BODY, STATUS, HEADERS)
def test_any_body_is_data_or_one_error(
    content: bytes, status: int, headers: dict[str, str]
) -> None:
    try:
        data = data_of(answered(content, status, headers))
    except CiamError as error:
        check_answer(error)
    else:
        assert isinstance(data, dict)
        assert status < 300 or json.loads(content)["success"]


@given(JSON | MEMBERS, STATUS, STAGES)
def test_nothing_of_a_body_is_shown_but_what_may_be(body: Any, status: int, stage: str) -> None:
    error = error_from_body(body, status=status)
    if error is None:
        assert isinstance(body, dict)
        return
    error.stage = stage_named(stage)
    shown = check_answer(error)

    # Each member is one of our own words; the request id and the field have alphabets of theirs.
    assert shown["detail"] in {str(row.message) for row in CODES.values()}
    assert shown["title"] in {str(row.title) for row in KINDS.values()}
    assert shown["kind"] in set(Kind)
    assert shown["action"] in set(Action)
    assert shown["action_url"] in (None, "/ciam/login/")
    assert shown["type"] == "about:blank"
    assert shown["retry_after"] is None or 1 <= shown["retry_after"] <= 3600


@given(MEMBERS)
def test_a_body_says_the_same_in_any_case_of_its_members(body: dict[str, Any]) -> None:
    upper = {name.upper(): value for name, value in body.items()}
    one, other = error_from_body(body), error_from_body(upper)

    assert (one and vars(one)) == (other and vars(other))


@pytest.mark.parametrize("deep", [10, 1000, 100_000])
@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_nesting_has_no_depth_that_is_too_much(deep: int, opening: bytes) -> None:
    with pytest.raises(CiamError) as raised:
        data_of(answered(opening * deep, 200, {}))

    assert raised.value.code == "unreadable_answer"
