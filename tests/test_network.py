"""Test that the client's address is found behind proxies, and that no client can choose it."""

from __future__ import annotations

import pytest
from django.test import RequestFactory
from pytest_django.fixtures import Settings

from ciam_django.network import forwarded_for, is_loopback_url, remote_addr
from tests.rows import for_each_row


@for_each_row(
    "proxies, header, expected",
    [
        (1, "198.51.100.7", "198.51.100.7"),
        # The client has written the first entries.
        (1, "10.0.0.1, 198.51.100.7", "198.51.100.7"),
        (1, "1.1.1.1,2.2.2.2 ,  198.51.100.7 ", "198.51.100.7"),
        (2, "10.0.0.1, 198.51.100.7, 203.0.113.5", "198.51.100.7"),
        (3, "10.0.0.1, 198.51.100.7, 203.0.113.5, 203.0.113.6", "198.51.100.7"),
        # A request that has passed fewer proxies.
        (3, "198.51.100.7, 203.0.113.5", "198.51.100.7"),
        (2, "198.51.100.7", "198.51.100.7"),
        # IPv6, and entries with a port or an interface.
        (1, "2001:DB8::0007", "2001:db8::7"),
        (1, "[2001:db8::7]", "2001:db8::7"),
        (1, "[2001:db8::7]:4711", "2001:db8::7"),
        (1, "198.51.100.7:4711", "198.51.100.7"),
        (1, "::ffff:198.51.100.7", "198.51.100.7"),
        (1, "fe80::1%eth0", "fe80::1"),
        (1, "[fe80::1%eth0]:443", "fe80::1"),
        # No header: the address of the connection.
        (1, "", "192.0.2.1"),
        # No address: one count for all such clients.
        (1, "unknown", ""),
        (1, "198.51.100.7, ", ""),
        (1, "_hidden:4711", ""),
        (1, "198.51.100.7:port", ""),
        (1, "1.2.3.4.5:80", ""),
        (1, "198.51.100.7" * 9, ""),
        (1, "\u0661\u0669\u0668.51.100.7", ""),
    ],
)
def test_the_entry_of_the_outermost_trusted_proxy_is_the_client(
    settings: Settings, proxies: int, header: str, expected: str
) -> None:
    settings.CIAM_TRUSTED_PROXIES = proxies
    request = RequestFactory().get("/", REMOTE_ADDR="192.0.2.1", HTTP_X_FORWARDED_FOR=header)

    assert forwarded_for(request) == expected


@pytest.mark.parametrize("function", [forwarded_for, remote_addr])
def test_without_a_proxy_the_address_is_that_of_the_connection(function: object) -> None:
    assert callable(function)
    assert function(RequestFactory().get("/", REMOTE_ADDR="192.0.2.1")) == "192.0.2.1"
    assert function(RequestFactory().get("/", REMOTE_ADDR="")) == ""


def test_no_header_that_the_proxies_do_not_append_to_is_read() -> None:
    headers = {"X-Real-IP": "1.1.1.1", "Forwarded": "for=1.1.1.1", "Client-IP": "1.1.1.1"}
    request = RequestFactory().get("/", REMOTE_ADDR="192.0.2.1", headers=headers)

    assert forwarded_for(request) == remote_addr(request) == "192.0.2.1"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:9000/a", True),
        ("http://[::1]:9000", True),
        ("https://localhost", True),
        ("https://127.8.8.8/", True),
        ("https://login.shop.cn", False),
        ("https://localhost.shop.cn", False),
        ("http://0x7f000001/", False),
        ("http://[", False),
        ("", False),
    ],
)
def test_the_urls_of_this_machine_are_told_from_other_urls(url: str, expected: bool) -> None:
    assert is_loopback_url(url) is expected


def test_a_long_header_costs_little(settings: Settings) -> None:
    settings.CIAM_TRUSTED_PROXIES = 10
    for entry in ("1.1.1.1,", "[", "1:", ","):
        header = entry * (65536 // len(entry))
        request = RequestFactory().get("/", HTTP_X_FORWARDED_FOR=header)
        assert forwarded_for(request) in {"1.1.1.1", ""}
