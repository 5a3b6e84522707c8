"""Define the URL patterns for ``path("ciam/", include("ciam_django.urls"))``."""

from __future__ import annotations

from collections.abc import Callable

from django.apps import apps
from django.http import HttpResponseBase
from django.urls import URLPattern, path

app_name = "ciam"

urlpatterns: list[URLPattern] = []

# Without the models of the accounts app, the import of the views fails. ``manage.py check`` then
# reports that the app is missing.
if apps.is_installed("ciam_django.accounts"):
    from ciam_django.client.circuit_breaker import sharing_one_deadline
    from ciam_django.login import (
        api,
        callback,
        captcha,
        health,
        hosted,
        link_views,
        logout,
        pages,
        popups,
        social,
    )
    from ciam_django.login.error_responses import answer_storage_failure
    from ciam_django.login.redirects import redirecting_htmx
    from ciam_django.privacy import hide_request_data

    def private_view(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
        """Decorate a view: hide its request's data, and answer a failure of the storage.

        All calls to CIAM of the view share one deadline. htmx opens its redirects as pages.
        """
        one_deadline_view = sharing_one_deadline(redirecting_htmx(view))
        return hide_request_data(one_deadline_view, answer_storage_failure)

    urlpatterns += [
        path("login/", private_view(pages.login), name="login"),
        path("step/<str:flow_id>/", private_view(pages.step_page), name="step"),
        path(
            "recover/",
            private_view(pages.first_step_page),
            {"name": "recover"},
            name="recover",
        ),
        path(
            "sign-up/",
            private_view(pages.first_step_page),
            {"name": "sign_up"},
            name="sign_up",
        ),
        path("done/", private_view(popups.popup_done), name="done"),
        path("captcha/", private_view(captcha.issue_captcha_image), name="captcha"),
        path("with/<str:name>/", private_view(social.redirect_to_provider), name="provider"),
        path(
            "with/<str:name>/callback/",
            private_view(social.provider_callback),
            name="provider_callback",
        ),
        path("api/", private_view(api.login_options), name="api"),
        path("api/captcha/", private_view(api.issue_captcha), name="api_captcha"),
        path("api/renew/", private_view(api.refresh_tokens), name="api_renew"),
        path("api/with/<str:name>/", private_view(api.submit_provider_code), name="api_provider"),
        # An unknown URL below the endpoints is answered with JSON, too.
        path("api/<path:name>/", private_view(api.submit_step), name="api_step"),
        path("authorize/", private_view(hosted.authorize), name="authorize"),
        path("callback/", private_view(callback.callback), name="callback"),
        path("unlink/", private_view(link_views.unlink), name="unlink"),
        path("health/", health.health, name="health"),
        path("logout/", private_view(logout.logout), name="logout"),
        path(
            "logout/back/",
            private_view(logout.back_channel_logout),
            name="back_channel_logout",
        ),
        path(
            "logout/front/",
            private_view(logout.front_channel_logout),
            name="front_channel_logout",
        ),
    ]
