"""The views for ``path("ciam/", include("ciam_django.urls"))``."""

from __future__ import annotations

from django.apps import apps
from django.urls import URLPattern, path

from ciam_django.signals import checking

app_name = "ciam"

urlpatterns: list[URLPattern] = []

# Without their models the views can't even be imported; ``manage.py check`` says what to do.
if apps.is_installed("ciam_django.accounts"):
    from ciam_django.checks import login
    from ciam_django.login import api, captcha, hosted, link_views, logout, pages, popups, social
    from ciam_django.privacy import private

    # What `manage.py check` says of the views' settings comes with the views.
    checking.connect(login.slips, dispatch_uid=__name__)
    urlpatterns += [
        path("login/", private(pages.login), name="login"),
        path("step/<str:flow_id>/", private(pages.step), name="step"),
        path("recover/", private(pages.begin), {"name": "recover"}, name="recover"),
        path("sign-up/", private(pages.begin), {"name": "sign_up"}, name="sign_up"),
        path("done/", private(popups.done), name="done"),
        path("captcha/", private(captcha.picture), name="captcha"),
        path("with/<str:name>/", private(social.leave), name="provider"),
        path("with/<str:name>/callback/", private(social.callback), name="provider_callback"),
        path("api/", private(api.offered), name="api"),
        path("api/captcha/", private(api.captcha), name="api_captcha"),
        path("api/renew/", private(api.renew), name="api_renew"),
        path("api/<str:name>/", private(api.step), name="api_step"),
        path("authorize/", private(hosted.authorize), name="authorize"),
        path("callback/", private(hosted.callback), name="callback"),
        path("unlink/", private(link_views.take_away), name="unlink"),
        path("logout/", private(logout.logout), name="logout"),
        path("logout/back/", private(logout.back_channel), name="back_channel_logout"),
        path("logout/front/", private(logout.front_channel), name="front_channel_logout"),
    ]
