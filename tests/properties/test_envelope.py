"""Property tests of CIAM's bodies, statuses and headers, and of the answers to errors."""

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

# Visible characters with spaces between them (RFC 9110, 5.5).
HEADER_VALUE = re.compile(r"[\x21-\x7e]+( [\x21-\x7e]+)*")
STAGES = st.sampled_from(["", "token", "password", "recover", "api", "logout"])


def response_with(content: bytes, status: int, headers: dict[str, str]) -> requests.Response:
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
def test_any_body_gives_data_or_an_error(
    content: bytes, status: int, headers: dict[str, str]
) -> None:
    try:
        data = data_of(response_with(content, status, headers))
    except CiamError as error:
        check_answer(error)
    else:
        assert isinstance(data, dict)
        assert status < 300 or json.loads(content)["success"]


@given(JSON | MEMBERS, STATUS, STAGES)
def test_an_answer_shows_only_permitted_values_of_a_body(
    body: Any, status: int, stage: str
) -> None:
    error = error_from_body(body, status=status)
    if error is None:
        assert isinstance(body, dict)
        return
    error.stage = stage_named(stage)
    shown = check_answer(error)

    # Each text is a text of the package. check_answer tests the request id and the field.
    assert shown["detail"] in {str(row.message) for row in CODES.values()}
    assert shown["title"] in {str(row.title) for row in KINDS.values()}
    assert shown["kind"] in set(Kind)
    assert shown["action"] in set(Action)
    assert shown["action_url"] in (None, "/ciam/login/")
    assert shown["type"] == "about:blank"
    assert shown["retry_after"] is None or 1 <= shown["retry_after"] <= 3600


@given(MEMBERS)
def test_letter_case_of_member_names_does_not_matter(body: dict[str, Any]) -> None:
    upper = {name.upper(): value for name, value in body.items()}
    error, upper_error = error_from_body(body), error_from_body(upper)

    assert (error and vars(error)) == (upper_error and vars(upper_error))


@pytest.mark.parametrize("depth", [10, 1000, 100_000])
@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_json_of_any_nesting_depth_is_an_unreadable_answer(depth: int, opening: bytes) -> None:
    with pytest.raises(CiamError) as raised:
        data_of(response_with(opening * depth, 200, {}))

    assert raised.value.code == "unreadable_answer"
