"""Find the address of the client, and tell the hosts of this machine from other hosts.

``remote_addr`` and ``forwarded_for`` are values of ``CIAM_CLIENT_IP``. Both functions also suit
other packages, such as ``AXES_CLIENT_IP_CALLABLE`` of django-axes.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

from django.http import HttpRequest

from ciam_django.conf import conf

# An address with the port of the connection, as some proxies write it.
_WITH_PORT: Final = re.compile(r"\[([0-9A-Fa-f:.%\w]+)\](?::\d+)?|([0-9.]+):\d+", re.ASCII)
_MAX_LENGTH: Final = 64


def remote_addr(request: HttpRequest) -> str:
    """Return the address of the connection. Use it if no proxy is in front of the site."""
    return str(request.META.get("REMOTE_ADDR", ""))


def forwarded_for(request: HttpRequest) -> str:
    """Return the client's address from ``X-Forwarded-For``.

    The site is behind ``CIAM_TRUSTED_PROXIES`` proxies. Each proxy appends the address of its own
    client, so the last entries come from the trusted proxies, and a client can write only the
    entries before them. If the header has fewer entries than there are trusted proxies, the request
    has passed fewer proxies, and the first entry counts. Without the header, return the address of
    the connection. Return an empty text if the entry is no IP address.
    """
    header = request.META.get("HTTP_X_FORWARDED_FOR", "")
    if not header:
        return remote_addr(request)
    count = conf.CIAM_TRUSTED_PROXIES
    entry = header.rsplit(",", count)[-count:][0].strip()[:_MAX_LENGTH]
    match = _WITH_PORT.fullmatch(entry)
    address = match[1] or match[2] if match else entry
    try:
        # A link-local IPv6 address may name an interface of the proxy.
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    # Python 3.13 writes an IPv4-mapped IPv6 address in another form than Python 3.12.
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


def is_loopback(host: str) -> bool:
    """Return True if the host, a name or an IP address without a port, is this machine."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def is_loopback_url(url: str) -> bool:
    """Return True if the host of the URL is this machine."""
    with contextlib.suppress(ValueError):
        return is_loopback(urlsplit(url).hostname or "")
    return False
