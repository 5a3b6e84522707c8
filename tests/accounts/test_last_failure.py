"""Tests of the newest failure of an identity, which the admin shows."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import partial

import pytest
from django.http import HttpRequest
from django.test import RequestFactory

from ciam_django.accounts.backends import attribute_failures_to, name_digest
from ciam_django.accounts.last_failure import LastFailure, last_failure_of, record_failure
from ciam_django.accounts.models import CiamIdentity


def request_of(name: str) -> HttpRequest:
    request = RequestFactory().post("/")
    attribute_failures_to(request, name)
    return request


def test_the_newest_failure_of_an_identity_or_of_its_names_is_cached_for_a_day(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    identity = CiamIdentity(key="k-1", names=[name_digest("li"), name_digest("none")])
    assert last_failure_of(identity) is None
    start = int(time.time())
    for seconds, name, code in ((0, "k-1", "first"), (20, "LI ", "new\nest"), (30, "wang", "x")):
        monkeypatch.setattr(time, "time", partial(float, start + seconds))
        record_failure(request_of(name), code, f"id-{seconds}")
    # A request without a name.
    record_failure(RequestFactory().post("/"), "other", "id")

    newest = LastFailure(datetime.fromtimestamp(start + 20, UTC), "newest", "id-20")
    assert last_failure_of(identity) == newest
    monkeypatch.setattr(time, "time", partial(float, start + 86410))
    assert last_failure_of(identity) == newest
    monkeypatch.setattr(time, "time", partial(float, start + 86430))
    assert last_failure_of(identity) is None
