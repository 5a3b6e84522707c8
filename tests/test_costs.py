"""What a sign-in costs once a process is warm: calls to CIAM, connections, queries."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from ciam_django.testing import FakeCiam
from tests.browser import Browser

# What a transaction is made of is no question to the database.
OF_TRANSACTIONS = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE")


@pytest.fixture
def browser(ciam: FakeCiam, transactional_db: None) -> Browser:
    """One whose sign-in is a transaction of its own, as it is outside of tests."""
    return Browser(ciam)


def queries_in(captured: CaptureQueriesContext) -> list[str]:
    statements = [query["sql"] for query in captured.captured_queries]
    return [sql for sql in statements if not sql.startswith(OF_TRANSACTIONS)]


def test_a_sign_in_asks_ciam_once_over_a_connection_that_is_open(browser: Browser) -> None:
    browser.sign_in()
    callback = browser.sign_in_at_ciam(browser.start_sign_in())
    asked, connections = len(browser.ciam.requests), browser.ciam.connections
    response = browser.open_callback(callback)

    assert response.status_code == 302
    assert [request.stage for request in browser.ciam.requests[asked:]] == ["token"]
    assert browser.ciam.connections == connections


def test_a_failed_sign_in_asks_ciam_once_over_a_connection_that_is_open(browser: Browser) -> None:
    browser.sign_in()
    callback = browser.sign_in_at_ciam(browser.start_sign_in())
    browser.ciam.fail("token", code="Operation.Failure.User.Locked")
    asked, connections = len(browser.ciam.requests), browser.ciam.connections
    response = browser.open_callback(callback)

    assert response["Ciam-Error-Code"] == "Operation.Failure.User.Locked"
    assert [request.stage for request in browser.ciam.requests[asked:]] == ["token"]
    assert browser.ciam.connections == connections


def test_leaving_for_ciam_asks_it_nothing(browser: Browser) -> None:
    browser.sign_in()
    asked = len(browser.ciam.requests)

    assert browser.start_sign_in()
    assert browser.ciam.requests[asked:] == []


def test_a_sign_in_takes_six_queries_with_sessions_in_the_database(browser: Browser) -> None:
    browser.sign_in()
    # Another browser of the same person: the first has a session already.
    other = Browser(browser.ciam)
    callback = other.sign_in_at_ciam(other.start_sign_in())
    with CaptureQueriesContext(connection) as captured:
        response = other.open_callback(callback)

    assert response.status_code == 302
    assert other.user_id
    assert 1 <= len(queries_in(captured)) <= 6, queries_in(captured)


def test_a_failed_sign_in_takes_no_query(browser: Browser) -> None:
    callback = browser.sign_in_at_ciam(browser.start_sign_in())
    browser.ciam.fail("token", code="Operation.Failure.User.Locked")
    with CaptureQueriesContext(connection) as captured:
        response = browser.open_callback(callback)

    assert response.status_code == 403
    assert captured.captured_queries == []
