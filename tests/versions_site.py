"""A site that runs with two versions of the package: ``gunicorn tests.versions_site:application``.

The module uses only documented names of ``ciam_django``, which both versions have.
"""

from __future__ import annotations

import json
import os
from typing import Any

from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import include, path

from tests.deployed import set_up_django

set_up_django(json.loads(os.environ["SITE_SETTINGS"]) | {"ROOT_URLCONF": __name__})

import ciam_django  # noqa: E402  (after the setup)
from ciam_django.ninja import user_and_bearer  # noqa: E402  (imports models)
from ciam_django.tokens import access_token_of  # noqa: E402  (imports models)


def show_facts(request: HttpRequest) -> JsonResponse:
    """Show the folder of the package, and the user of the session."""
    return JsonResponse({"package": ciam_django.__path__[0], "user": request.user.get_username()})


def show_token(request: HttpRequest) -> JsonResponse:
    """Show the access token of the session."""
    return JsonResponse({"token": access_token_of(request)})


def show_token_holder(request: HttpRequest) -> JsonResponse:
    """Show the user of the bearer token."""
    found: Any = user_and_bearer(request)
    return JsonResponse({"user": found[0].get_username() if found else ""})


urlpatterns = [
    path("", show_facts),
    path("token/", show_token),
    path("bearer/", show_token_holder),
    path("ciam/", include("ciam_django.urls")),
]

application = get_wsgi_application()
