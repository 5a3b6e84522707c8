"""The URLs whose names the settings of the documentation use."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import include, path


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


urlpatterns = [
    path("admin/", admin.site.urls),
    path("ciam/", include("ciam_django.urls")),
    path("", page, name="home"),
    path("accounts/", include(([path("reset/", page, name="reset")], "accounts"))),
]
