"""Property tests of ``next`` with the URL parser of browsers."""

from __future__ import annotations

import ada_url
import pytest
from django.test import RequestFactory
from hypothesis import example, given
from hypothesis import strategies as st

from ciam_django.login.redirects import safe_next

pytestmark = pytest.mark.slow("properties")

HERE = "http://testserver"
# From http, https at the same host is the same site. Django accepts it too.
OURS = (HERE, "https://testserver")
PIECES = st.sampled_from(
    [
        "/", "//", "///", "\\", "/\\", "\\\\", "http:", "https:", "HTTP:", "hTTps://",
        "javascript:",
        "data:", "@", ":", "?", "#", ".", "..", "%2f", "%5c", "%09", "\t", "\n", "\r", "\0", " ",
        "\u3000", "\uff0f", "\u2028", "evil.example", "testserver", "testserver:80", "[::1]", "[",
        "a", "user:pass", "\x01", "\x7f", ";", "&", "=", "。", "①",
    ]
)  # fmt: skip
ADDRESSES = st.lists(PIECES, max_size=8).map("".join) | st.text(max_size=40)


@given(ADDRESSES)
@example("//evil.example")
@example("/\\evil.example")
@example("\thttps://evil.example")
@example("http:evil.example")
@example("/\t/evil.example")
@example("https:///evil.example")
@example("hTTps://testserver")
def test_no_next_leads_to_another_site(address: str) -> None:
    request = RequestFactory().get("/")
    if safe := safe_next(request, address):
        assert ada_url.URL(safe, base=f"{HERE}/ciam/login/").origin in OURS


@given(st.lists(st.from_regex(r"[a-z0-9_.~-]{1,12}", fullmatch=True), max_size=5))
def test_a_path_of_this_site_is_accepted_unchanged(parts: list[str]) -> None:
    path = f"/{'/'.join(parts)}?page=2#top"

    assert safe_next(RequestFactory().get("/"), path) == path


@given(st.text(min_size=1025, max_size=3000))
def test_a_long_next_is_refused(address: str) -> None:
    assert safe_next(RequestFactory().get("/"), f"/{address}") == ""
