"""Test the text of a failure: the facts of the log line, and no secrets."""

from __future__ import annotations

import pytest

from ciam_django.doctor.findings import Status, failure_text
from ciam_django.errors import CiamError


def test_a_failure_has_the_facts_of_the_log_line() -> None:
    error = CiamError(
        "Operation.Failure",
        type_code="Params.Illegal",
        upstream_status=502,
        upstream_text="token=abc of li@shop.cn",
    )
    error.cause_names = ("requests.exceptions.ConnectionError", "socket.gaierror")

    assert failure_text(error) == (
        "failure Operation.Failure, type code Params.Illegal, HTTP status 502, caused by gaierror, "
        "token=[redacted] of [email]"
    )


def test_a_failure_without_facts_is_its_code() -> None:
    assert failure_text(CiamError("timeout")) == "failure timeout"


@pytest.mark.parametrize("code", ["eyJhbGciOiJ9 <b>", "a\nb"])
def test_a_code_has_only_the_characters_of_codes(code: str) -> None:
    assert not set(failure_text(CiamError(code))) & set("<>\n")


def test_the_statuses_are_in_the_order_of_their_weight() -> None:
    assert list(Status) == ["ok", "skipped", "warning", "error"]
