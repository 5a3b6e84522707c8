"""The views for ``path("ciam/", include("ciam_django.urls"))``."""

from __future__ import annotations

from django.apps import apps
from django.urls import URLPattern, path

app_name = "ciam"

urlpatterns: list[URLPattern] = []

# Without their models the views can't even be imported; ``manage.py check`` says what to do.
if apps.is_installed("ciam_django.accounts"):
    from ciam_django.login import views
    from ciam_django.login.private import private

    urlpatterns += [
        path("login/", private(views.login), name="login"),
        path("authorize/", private(views.authorize), name="authorize"),
        path("callback/", private(views.callback), name="callback"),
        path("logout/", private(views.logout), name="logout"),
    ]
