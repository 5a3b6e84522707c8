"""Count the calls to CIAM, the connections and the queries of a sign-in in a warm process."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from ciam_django.testing import FakeCiam
from tests.browser import Browser

# The statements of a transaction are not counted as queries.
TRANSACTION_STATEMENTS = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE")


@pytest.fixture
def browser(ciam: FakeCiam, transactional_db: None) -> Browser:
    """A browser whose sign-in is committed in a transaction, as outside of tests."""
    return Browser(ciam)


def queries_in(captured: CaptureQueriesContext) -> list[str]:
    statements = [query["sql"] for query in captured.captured_queries]
    return [sql for sql in statements if not sql.startswith(TRANSACTION_STATEMENTS)]


def test_a_sign_in_calls_ciam_once_over_an_open_connection(browser: Browser) -> None:
    browser.sign_in()
    callback = browser.sign_in_at_ciam(browser.start_sign_in())
    calls, connections = len(browser.ciam.requests), browser.ciam.connections
    response = browser.open_callback(callback)

    assert response.status_code == 302
    assert [request.stage for request in browser.ciam.requests[calls:]] == ["token"]
    assert browser.ciam.connections == connections


def test_a_failed_sign_in_calls_ciam_once_over_an_open_connection(browser: Browser) -> None:
    browser.sign_in()
    callback = browser.sign_in_at_ciam(browser.start_sign_in())
    browser.ciam.fail("token", code="Operation.Failure.User.Locked")
    calls, connections = len(browser.ciam.requests), browser.ciam.connections
    response = browser.open_callback(callback)

    assert response["Ciam-Error-Code"] == "Operation.Failure.User.Locked"
    assert [request.stage for request in browser.ciam.requests[calls:]] == ["token"]
    assert browser.ciam.connections == connections


def test_the_redirect_to_ciam_needs_no_call_to_ciam(browser: Browser) -> None:
    browser.sign_in()
    calls = len(browser.ciam.requests)

    assert browser.start_sign_in()
    assert browser.ciam.requests[calls:] == []


def test_a_sign_in_takes_at_most_six_queries_with_sessions_in_the_database(
    browser: Browser,
) -> None:
    browser.sign_in()
    # Use another browser of the same user: the first browser has a session already.
    other = Browser(browser.ciam)
    callback = other.sign_in_at_ciam(other.start_sign_in())
    with CaptureQueriesContext(connection) as captured:
        response = other.open_callback(callback)

    assert response.status_code == 302
    assert other.user_id
    # The session is created by Django's ``login``, and saved once more, for a second callback.
    assert 1 <= len(queries_in(captured)) <= 6, queries_in(captured)
    statements = [query["sql"] for query in captured.captured_queries]
    # Django's own savepoint around the new session.
    assert len([sql for sql in statements if sql.startswith("SAVEPOINT")]) <= 1, statements


def test_a_first_sign_in_takes_at_most_nine_queries(browser: Browser) -> None:
    callback = browser.sign_in_at_ciam(browser.start_sign_in())
    with CaptureQueriesContext(connection) as captured:
        response = browser.open_callback(callback)

    assert response.status_code == 302
    assert browser.user_id
    # Three more than a later sign-in: the new user, the new identity, and the check of the issuer.
    assert 1 <= len(queries_in(captured)) <= 9, queries_in(captured)


def test_a_first_sign_in_takes_no_more_queries_at_a_site_with_other_people(
    browser: Browser,
) -> None:
    Browser(browser.ciam).sign_in("wang")
    callback = browser.sign_in_at_ciam(browser.start_sign_in())
    with CaptureQueriesContext(connection) as captured:
        browser.open_callback(callback)

    assert browser.user_id
    assert 1 <= len(queries_in(captured)) <= 9, queries_in(captured)
    # No index has the order of the time, so that the query would read all identities.
    assert not [
        sql for sql in queries_in(captured) if "ORDER BY" in sql and 'created_at" DESC' in sql
    ]


def test_a_failed_sign_in_takes_no_query(browser: Browser) -> None:
    callback = browser.sign_in_at_ciam(browser.start_sign_in())
    browser.ciam.fail("token", code="Operation.Failure.User.Locked")
    with CaptureQueriesContext(connection) as captured:
        response = browser.open_callback(callback)

    assert response.status_code == 403
    assert captured.captured_queries == []
