"""``Browser`` signs in with Django's test client here and with the form of the fake CIAM."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

from django.http import HttpResponse
from django.test import Client

from ciam_django.testing import FakeCiam

HTML = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


class Browser:
    """A browser that signs in step by step; ``client`` holds the cookies."""

    def __init__(self, ciam: FakeCiam) -> None:
        self.ciam = ciam
        self.client = Client(headers={"Accept": HTML})

    def start_sign_in(self, next_url: str = "") -> str:
        """Start a sign-in and return the address of CIAM's authorize page."""
        response = self.client.post("/ciam/authorize/", {"next": next_url})
        assert response.status_code == 302, response.content
        return str(response["Location"])

    def sign_in_at_ciam(self, address: str, username: str = "li") -> str:
        """Type a user name at CIAM and return the address of the callback."""
        return self.ciam.authorize(address, username=username)

    def open_callback(self, callback: str, **headers: str) -> HttpResponse:
        """Open the address of a callback and return the response."""
        parts = urlsplit(callback)
        response = self.client.get(f"{parts.path}?{parts.query}", headers=cast("Any", headers))
        return cast("HttpResponse", response)

    def sign_in(self, username: str = "li", next_url: str = "", **headers: str) -> HttpResponse:
        """Sign in from start to end and return the response of the callback."""
        callback = self.sign_in_at_ciam(self.start_sign_in(next_url), username)
        return self.open_callback(callback, **headers)

    @property
    def user_id(self) -> str | None:
        """The primary key of the signed-in user, or None."""
        return cast("str | None", self.client.session.get("_auth_user_id"))


def query_of(address: str) -> dict[str, str]:
    """Return the query of an address, with one value for each name."""
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
