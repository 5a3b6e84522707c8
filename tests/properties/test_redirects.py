"""Property tests of ``next`` with the URL parser of browsers."""

from __future__ import annotations

import contextlib
from urllib.parse import unquote

import ada_url
import pytest
from django.test import RequestFactory
from django.urls import Resolver404, resolve
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
        "ciam/callback/", "ciam/done", "/ciam/logout/", "%2e%2e/", "%2E", "%63iam/login", "../",
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
def test_no_next_leads_to_another_site_or_to_a_page_of_this_package(address: str) -> None:
    request = RequestFactory().get("/ciam/login/")
    if safe := safe_next(request, address):
        opened = ada_url.URL(safe, base=f"{HERE}/ciam/login/")
        assert opened.origin in OURS
        with contextlib.suppress(Resolver404):
            match = resolve(unquote(opened.pathname))
            assert "ciam" not in match.app_names or match.url_name == "done"


@given(st.lists(st.from_regex(r"[a-z0-9_.~-]{1,12}", fullmatch=True), max_size=5))
def test_a_path_of_this_site_is_accepted_unchanged(parts: list[str]) -> None:
    path = f"/{'/'.join(parts)}?page=2#top"

    assert safe_next(RequestFactory().get("/"), path) == path


@given(st.text(min_size=512, max_size=3000))
def test_a_long_next_is_refused(address: str) -> None:
    assert safe_next(RequestFactory().get("/"), f"/{address}") == ""
