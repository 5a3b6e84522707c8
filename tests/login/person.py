"""Somebody who fills in our forms, as a browser without scripts does."""

from __future__ import annotations

import re
from typing import Any

from django.http import HttpResponse
from django.test import Client

from ciam_django.testing import FakeCiam
from tests.browser import HTML


class FormBrowser:
    """Opens pages and sends their forms; ``answer`` is what came last."""

    def __init__(self, ciam: FakeCiam) -> None:
        self.ciam = ciam
        self.client = Client(headers={"Accept": HTML}, enforce_csrf_checks=True)
        self.response: Any = None

    def open_page(self, address: str) -> Any:
        """Open a page of ours."""
        self.response = self.client.get(address)
        return self.response

    def submit_form(self, **given: object) -> Any:
        """Send the form of the page, all terms agreed to, and follow to a page of ours."""
        page = self.response.content.decode()
        form = re.search(
            r'<form[^>]* action="([^"]*)"[^>]*data-ciam-form.*?</form>', page, re.DOTALL
        )
        assert form, page
        hidden = re.findall(r'type="hidden" name="([^"]*)" value="([^"]*)"', form[0])
        consents = re.findall(r'name="consent" value="([^"]*)"', form[0])
        self.response = self.client.post(form[1], {"consent": consents, **dict(hidden), **given})
        return self.follow_redirect()

    def follow_redirect(self) -> Any:
        """Go where the answer leads, if that is a page of ours."""
        if self.response.status_code == 302 and self.response["Location"].startswith("/ciam/"):
            return self.open_page(self.response["Location"])
        return self.response

    @property
    def user_id(self) -> str | None:
        """The primary key of the user who is signed in."""
        found: str | None = self.client.session.get("_auth_user_id")
        return found

    @property
    def title(self) -> str:
        """What the page is about."""
        found = re.search(r"<h1[^>]*>(.*?)</h1>", self.response.content.decode())
        assert found
        return found[1]


def check_field_error(response: HttpResponse, field: str) -> str:
    """What stands at the field, which has the focus and names it as its description."""
    page = response.content.decode()
    found = re.search(rf'<p class="ciam-error" id="ciam_{field}_error">(.*?)</p>', page)
    assert found, page
    control = re.search(rf'<input[^>]*id="ciam_{field}"[^>]*>', page)
    assert control
    assert "autofocus" in control[0]
    assert 'aria-invalid="true"' in control[0]
    assert f'aria-describedby="ciam_{field}_error"' in control[0]
    return found[1]
