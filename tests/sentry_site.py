"""A project with Sentry's real SDK, which runs as ``python -m tests.sentry_site``.

The project causes failures under WSGI. Then it prints, as JSON, the data sent to Sentry and the
secrets of these failures. The SDK patches Django and logging permanently, so no test may import it.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

envelopes: list[str] = []


class Collector(Transport):
    """Collects the data that would go over the network."""

    def capture_envelope(self, envelope: Envelope) -> None:
        """Store an envelope of the SDK."""
        envelopes.append(envelope.serialize().decode(errors="replace"))


# A project's settings start the SDK, too, before Django is set up.
mode, options = sys.argv[1], json.loads(sys.argv[2])
sentry_sdk.init(dsn="https://key@sentry.invalid/1", transport=Collector, **options)
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"

import django  # noqa: E402

django.setup()

from django.contrib.auth.signals import user_logged_in  # noqa: E402
from django.core.handlers.wsgi import WSGIHandler  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.test import RequestFactory, override_settings  # noqa: E402
from django.test.utils import setup_test_environment  # noqa: E402
from django.urls import include, path  # noqa: E402

from ciam_django.client import CiamClient  # noqa: E402
from ciam_django.errors import raising_ciam_errors  # noqa: E402
from ciam_django.testing import FakeCiam  # noqa: E402
from tests.browser import Browser, query_of  # noqa: E402
from tests.planting import LeakyFailure, ciam_body, oauth_body, secret_in  # noqa: E402


def raise_unanswered(request: HttpRequest) -> HttpResponse:
    """A view whose error no handler answers, because the view raises another error from it."""
    project_variable = "a variable of the project"
    try:
        with raising_ciam_errors("api"):
            CiamClient().user_info(secret_in("access_token"))
    except Exception as error:
        raise ZeroDivisionError(len(project_variable)) from error
    return HttpResponse()


urlpatterns = [path("ciam/", include("ciam_django.urls")), path("unanswered/", raise_unanswered)]

application = WSGIHandler()


def open_page(address: str, browser: Browser) -> str:
    """Send a GET through WSGI, as a server does, and return the status line."""
    cookies = "; ".join(f"{m.key}={m.value}" for m in browser.client.cookies.values())
    request = RequestFactory().get(address, headers={"Cookie": cookies, "Accept": "text/html"})
    statuses: list[str] = []

    def start_response(status: str, headers: object, exc_info: object = None) -> Any:
        statuses.append(status)

    response = application(request.environ, start_response)
    b"".join(response)
    response.close()
    return statuses[0]


def broken_receiver(**kwargs: Any) -> None:
    """Raise an error of the project during a sign-in."""
    project_variable = "a variable of the project"
    raise ZeroDivisionError(len(project_variable))


def secrets_of(ciam: FakeCiam, browser: Browser, callback: str) -> dict[str, str]:
    secrets = {name: query_of(callback)[name] for name in ("code", "state")}
    secrets |= {
        name: morsel.value
        for name, morsel in browser.client.cookies.items()
        if name.startswith("ciam_state_")
    }
    secrets |= {f"token {number}": token for number, token in enumerate(ciam.access_tokens)}
    for number, request in enumerate(ciam.requests):
        if authorization := request.headers.get("Authorization"):
            secrets[f"authorization {number}"] = authorization
    return secrets


def cause_failures(ciam: FakeCiam) -> dict[str, str]:
    """Cause a misconfiguration, an error of the project and an unanswered error.

    Return the name of each secret -> the secret.
    """
    secrets: dict[str, str] = {}
    for number, body in enumerate((oauth_body("invalid_client"), None)):
        browser = Browser(ciam)
        if body:
            ciam.plan("token", LeakyFailure(body=body), times=1)
        else:
            user_logged_in.connect(broken_receiver)
        # Without a server, all requests would share one scope of the SDK.
        with sentry_sdk.isolation_scope():
            authorize_url = browser.start_sign_in(f"/{secret_in('next')}/")
        callback = browser.sign_in_at_ciam(authorize_url, secret_in("username"))
        new_secrets = secrets_of(ciam, browser, callback)
        assert open_page(callback, browser).startswith("500")
        new_secrets |= secrets_of(ciam, browser, callback)
        secrets |= {f"{number} {name}": secret for name, secret in new_secrets.items()}
    user_logged_in.disconnect(broken_receiver)
    ciam.plan("api", LeakyFailure(body=ciam_body()), times=1)
    assert open_page("/unanswered/", Browser(ciam)).startswith("500")
    return secrets


def main() -> None:
    """Cause the failures and print the result."""
    setup_test_environment(debug=False)
    call_command("migrate", verbosity=0)
    with (
        FakeCiam() as ciam,
        override_settings(
            ROOT_URLCONF=__name__,
            AUTHLIB_OAUTH_CLIENTS={"ciam": ciam.client(mode)},
        ),
    ):
        secrets = cause_failures(ciam)
    sentry_sdk.flush()
    print(json.dumps({"sent": envelopes, "secrets": secrets}))  # noqa: T201


if __name__ == "__main__":
    main()
