"""A site that gunicorn or uvicorn serves: ``gunicorn tests.deployed_site:application``.

The variable ``SITE_SETTINGS`` has overrides of the tests' settings, as JSON.
"""

from __future__ import annotations

import json
import os

from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from tests.deployed import set_up_django

set_up_django(json.loads(os.environ["SITE_SETTINGS"]) | {"ROOT_URLCONF": __name__})


def show_username(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.user.get_username())


urlpatterns = [path("", show_username), path("ciam/", include("ciam_django.urls"))]

application = get_wsgi_application()
asgi_application = get_asgi_application()
