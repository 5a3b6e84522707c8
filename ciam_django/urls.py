"""Define the URL patterns for ``path("ciam/", include("ciam_django.urls"))``."""

from __future__ import annotations

from django.apps import apps
from django.urls import URLPattern, path

app_name = "ciam"

urlpatterns: list[URLPattern] = []

# Without the models of the accounts app, the import of the views fails. ``manage.py check`` then
# reports that the app is missing.
if apps.is_installed("ciam_django.accounts"):
    from ciam_django.login import (
        api,
        callback,
        captcha,
        hosted,
        link_views,
        logout,
        pages,
        popups,
        social,
    )
    from ciam_django.privacy import hide_request_data

    urlpatterns += [
        path("login/", hide_request_data(pages.login), name="login"),
        path("step/<str:flow_id>/", hide_request_data(pages.step_page), name="step"),
        path(
            "recover/",
            hide_request_data(pages.first_step_page),
            {"name": "recover"},
            name="recover",
        ),
        path(
            "sign-up/",
            hide_request_data(pages.first_step_page),
            {"name": "sign_up"},
            name="sign_up",
        ),
        path("done/", hide_request_data(popups.popup_done), name="done"),
        path("captcha/", hide_request_data(captcha.issue_captcha_image), name="captcha"),
        path("with/<str:name>/", hide_request_data(social.redirect_to_provider), name="provider"),
        path(
            "with/<str:name>/callback/",
            hide_request_data(social.provider_callback),
            name="provider_callback",
        ),
        path("api/", hide_request_data(api.login_options), name="api"),
        path("api/captcha/", hide_request_data(api.issue_captcha), name="api_captcha"),
        path("api/renew/", hide_request_data(api.refresh_tokens), name="api_renew"),
        # An unknown URL below the endpoints is answered with JSON, too.
        path("api/<path:name>/", hide_request_data(api.submit_step), name="api_step"),
        path("authorize/", hide_request_data(hosted.authorize), name="authorize"),
        path("callback/", hide_request_data(callback.callback), name="callback"),
        path("unlink/", hide_request_data(link_views.unlink), name="unlink"),
        path("logout/", hide_request_data(logout.logout), name="logout"),
        path(
            "logout/back/",
            hide_request_data(logout.back_channel_logout),
            name="back_channel_logout",
        ),
        path(
            "logout/front/",
            hide_request_data(logout.front_channel_logout),
            name="front_channel_logout",
        ),
    ]
