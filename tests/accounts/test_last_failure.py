"""Tests of the newest failure of an identity, which the admin shows."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import partial

import pytest
from django.http import HttpRequest
from django.test import RequestFactory

from ciam_django.accounts.backends import attribute_failures_to, name_digest
from ciam_django.accounts.last_failure import (
    LastFailure,
    _cache_key,
    last_failures_of,
    record_failure,
)
from ciam_django.accounts.models import CiamIdentity
from ciam_django.client.cache import get_cached


def request_of(name: str) -> HttpRequest:
    request = RequestFactory().post("/")
    attribute_failures_to(request, name)
    return request


def test_the_last_five_failures_of_an_identity_and_of_its_names_are_cached_for_a_day(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    identity = CiamIdentity(key="k-1", names=[name_digest("li"), name_digest("none")])
    assert last_failures_of(identity) == []
    start = int(time.time())
    rows = ((0, "k-1", "first"), (20, "LI ", "new\nest"), (30, "wang", "x"), (40, "k-1", "last"))
    for seconds, name, code in rows:
        monkeypatch.setattr(time, "time", partial(float, start + seconds))
        record_failure(request_of(name), code, f"id-{seconds}")
    # A request without a name.
    record_failure(RequestFactory().post("/"), "other", "id")
    expected = [
        LastFailure(datetime.fromtimestamp(start + seconds, UTC), code, f"id-{seconds}")
        for seconds, code in ((40, "last"), (20, "newest"), (0, "first"))
    ]

    assert last_failures_of(identity) == expected
    # A later failure of a name does not keep the earlier failures.
    monkeypatch.setattr(time, "time", partial(float, start + 86410))
    record_failure(request_of("k-1"), "next", "id")
    assert [each.code for each in last_failures_of(identity)] == ["next", "last", "newest"]
    monkeypatch.setattr(time, "time", partial(float, start + 2 * 86410))
    assert last_failures_of(identity) == []


def test_older_failures_of_a_name_are_forgotten() -> None:
    identity = CiamIdentity(key="k-1", names=[name_digest("li")])
    for number in range(7):
        for name in ("k-1", "li"):
            record_failure(request_of(name), f"{name}.{number}", "id")

    codes = [each.code for each in last_failures_of(identity)]
    assert codes == ["li.6", "k-1.6", "li.5", "k-1.5", "li.4"]
    assert len(get_cached(_cache_key(name_digest("li")))) == 5
