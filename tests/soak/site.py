"""The site of the soak, which gunicorn and uvicorn serve.

The variable ``SITE_SETTINGS`` has overrides of the tests' settings, as JSON.
"""

from __future__ import annotations

import json
import os

from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import include, path

from tests.deployed import set_up_django

set_up_django(json.loads(os.environ["SITE_SETTINGS"]) | {"ROOT_URLCONF": __name__})

from ciam_django.accounts.models import CiamIdentity  # noqa: E402  (after the setup)
from ciam_django.client import AsyncCiamClient  # noqa: E402  (after the setup)
from ciam_django.tokens import aaccess_token_of  # noqa: E402  (imports models)


async def show_person(request: HttpRequest) -> JsonResponse:
    """Show the id of the person of the session; empty for an anonymous user."""
    user = await request.auser()
    identity = await CiamIdentity.objects.filter(user=user.pk or 0).afirst()
    return JsonResponse({"subject": identity.subject if identity else ""})


async def show_token_holder(request: HttpRequest) -> JsonResponse:
    """Ask CIAM for the person of the access token of the session."""
    profile = await AsyncCiamClient().user_info(await aaccess_token_of(request))
    return JsonResponse({"subject": profile.user_id})


urlpatterns = [
    path("person/", show_person),
    path("token/", show_token_holder),
    path("ciam/", include("ciam_django.urls")),
]

application = get_wsgi_application()
asgi_application = get_asgi_application()
