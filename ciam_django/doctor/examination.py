"""Share the client, the metadata and a forwarded request between the questions."""

from __future__ import annotations

import functools
import io
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest
from django.urls import reverse

from ciam_django.client.app import ciam_app
from ciam_django.client.diagnosis import fetch_metadata
from ciam_django.client.oauth import CiamApp
from ciam_django.conf import conf
from ciam_django.errors import CiamError
from ciam_django.login.redirects import callback_url

# A client in the range for documentation (RFC 5737), and the address of the proxy.
CLIENT_ADDRESS: Final = "198.51.100.7"
_PROXY_ADDRESS: Final = "127.0.0.1"


class Examination:
    """An examination of the site, whose members ask CIAM once and remember the answer.

    ``worker_timeout`` is the time limit of the server's workers in seconds, and ``gunicorn_config``
    is the path of gunicorn's configuration; both may be missing.
    """

    def __init__(self, worker_timeout: float | None = None, gunicorn_config: str = "") -> None:
        self.worker_timeout = worker_timeout
        self.gunicorn_config = gunicorn_config

    @functools.cached_property
    def client(self) -> CiamApp:
        """The client; raises the ``CiamError`` of an incomplete setting."""
        return ciam_app()

    @functools.cached_property
    def fetched_metadata(self) -> Mapping[str, Any] | CiamError:
        """The metadata as CIAM sends it, or the error of the call."""
        try:
            return fetch_metadata(self.client)
        except CiamError as error:
            return error

    @functools.cached_property
    def metadata(self) -> dict[str, Any] | CiamError:
        """The checked metadata, or the error of the call or of the check."""
        fetched = self.fetched_metadata
        if isinstance(fetched, CiamError):
            return fetched
        try:
            return self.client.checked_metadata(fetched)
        except CiamError as error:
            return error

    @functools.cached_property
    def host(self) -> str:
        """A host of the site: of ``CIAM_CALLBACK_URL``, or else the first of ``ALLOWED_HOSTS``."""
        named = [host.lstrip(".") for host in settings.ALLOWED_HOSTS if host.strip("*")]
        return urlsplit(conf.CIAM_CALLBACK_URL).netloc or next(iter(named), "localhost")

    @functools.cached_property
    def forwarded_request(self) -> HttpRequest:
        """A request that a proxy has received by https and forwards to this site.

        The proxy also sends the header of SECURE_PROXY_SSL_HEADER, which can have another name.
        """
        header = settings.SECURE_PROXY_SSL_HEADER
        own_header = {header[0]: header[1]} if header and header[0].startswith("HTTP_") else {}
        return WSGIRequest(
            {
                **own_header,
                "REQUEST_METHOD": "GET",
                "PATH_INFO": "/",
                "SERVER_NAME": _PROXY_ADDRESS,
                "SERVER_PORT": "8000",
                "REMOTE_ADDR": _PROXY_ADDRESS,
                "HTTP_HOST": self.host,
                "HTTP_X_FORWARDED_HOST": self.host,
                "HTTP_X_FORWARDED_PROTO": "https",
                "HTTP_X_FORWARDED_FOR": CLIENT_ADDRESS,
                "wsgi.url_scheme": "http",
                "wsgi.input": io.BytesIO(),
            }
        )

    @functools.cached_property
    def callback(self) -> str:
        """The redirect URI of a sign-in."""
        request = self.forwarded_request
        try:
            return callback_url(request)
        except DisallowedHost:
            return f"{request.scheme}://{self.host}{reverse('ciam:callback')}"

    @property
    def has_own_callback(self) -> bool:
        """True if the setting names the redirect URI, so that no host is guessed."""
        return bool(conf.CIAM_CALLBACK_URL)
