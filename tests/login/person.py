"""``FormBrowser`` fills in the package's forms as a browser without JavaScript does."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from django.http import HttpResponse
from django.test import Client

from ciam_django.testing import FakeCiam
from tests.browser import HTML


class FormBrowser:
    """A browser that opens pages and submits their forms; ``response`` is the last response."""

    def __init__(self, ciam: FakeCiam) -> None:
        self.ciam = ciam
        self.client = Client(headers={"Accept": HTML}, enforce_csrf_checks=True)
        self.response: Any = None

    def open_page(self, address: str) -> Any:
        """Open a page of the package and return the response."""
        self.response = self.client.get(address)
        return self.response

    def submit_form(self, **fields: object) -> Any:
        """Submit the page's form with all consents, and follow a redirect to a package page."""
        page = self.response.content.decode()
        form = re.search(
            r'<form[^>]* action="([^"]*)"[^>]*data-ciam-form.*?</form>', page, re.DOTALL
        )
        assert form, page
        hidden = re.findall(r'type="hidden" name="([^"]*)" value="([^"]*)"', form[0])
        consents = re.findall(r'name="consent" value="([^"]*)"', form[0])
        self.response = self.client.post(form[1], {"consent": consents, **dict(hidden), **fields})
        return self.follow_redirect()

    def load_captcha(self) -> Any:
        """Load the CAPTCHA image of the page as the browser does, and return its response."""
        image = re.search(r'<img[^>]* src="([^"]*)"', self.response.content.decode())
        assert image
        return self.client.get(unescape(image[1]))

    def follow_redirect(self) -> Any:
        """Follow the redirect of the last response if it leads to a page of the package."""
        if self.response.status_code == 302 and self.response["Location"].startswith("/ciam/"):
            return self.open_page(self.response["Location"])
        return self.response

    @property
    def user_id(self) -> str | None:
        """The primary key of the signed-in user, or None."""
        user_id: str | None = self.client.session.get("_auth_user_id")
        return user_id

    @property
    def title(self) -> str:
        """The heading of the page."""
        heading = re.search(r"<h1[^>]*>(.*?)</h1>", self.response.content.decode())
        assert heading
        return heading[1]


def check_field_error(response: HttpResponse, field: str) -> str:
    """Check that a field has the focus and is described by its error, and return the error."""
    page = response.content.decode()
    error = re.search(rf'<p class="ciam-error" id="ciam_{field}_error">(.*?)</p>', page)
    assert error, page
    control = re.search(rf'<(?:input|select)[^>]*id="ciam_{field}"[^>]*>', page)
    assert control
    assert "autofocus" in control[0]
    assert 'aria-invalid="true"' in control[0]
    assert f'aria-describedby="ciam_{field}_error"' in control[0]
    return error[1]
