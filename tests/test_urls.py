"""Test the fixed names of the URL patterns."""

from __future__ import annotations

import importlib

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from ciam_django import urls


@pytest.mark.parametrize("name", ["login", "authorize", "callback", "logout"])
def test_each_name_has_its_url(name: str) -> None:
    assert reverse(f"ciam:{name}") == f"/ciam/{name}/"


def test_a_project_without_the_accounts_app_has_no_views(settings: Settings) -> None:
    settings.INSTALLED_APPS = [a for a in settings.INSTALLED_APPS if a != "ciam_django.accounts"]
    assert importlib.reload(urls).urlpatterns == []

    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "ciam_django.accounts"]
    assert len(importlib.reload(urls).urlpatterns) == 20


def test_no_view_needs_a_login() -> None:
    views = {pattern.name: pattern.callback for pattern in urls.urlpatterns}

    # Django's LoginRequiredMiddleware reads this attribute of a view.
    assert [name for name, view in views.items() if getattr(view, "login_required", True)] == []


@pytest.mark.django_db
def test_the_login_view_works_as_login_url_without_a_login(settings: Settings) -> None:
    settings.LOGIN_URL = "ciam:login"
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ]

    assert Client().get("/ciam/login/").status_code == 200
    assert Client().get("/ciam/callback/").status_code == 400


# Name -> the methods that the view allows.
METHODS = {
    "login": "GET, HEAD, POST",
    "step": "GET, HEAD, POST",
    "recover": "GET, HEAD, POST",
    "sign_up": "GET, HEAD, POST",
    "done": "GET, HEAD",
    "captcha": "GET, HEAD",
    "provider": "POST",
    "provider_callback": "GET, POST",
    "api": "GET, HEAD",
    "api_captcha": "GET, HEAD",
    "api_renew": "POST",
    "api_provider": "POST",
    "api_step": "POST",
    "authorize": "POST",
    "callback": "GET",
    "health": "GET, HEAD",
    "unlink": "POST",
    "logout": "POST",
    "back_channel_logout": "POST",
    "front_channel_logout": "GET",
}


@pytest.mark.django_db
def test_each_view_allows_only_its_methods() -> None:
    allowed = {}
    for pattern in urls.urlpatterns:
        arguments = dict.fromkeys(pattern.pattern.converters, "x")
        response = Client().put(reverse(f"ciam:{pattern.name}", kwargs=arguments))
        assert response.status_code == 405
        allowed[pattern.name] = response["Allow"]

    assert allowed == METHODS


def views_with(attribute: str) -> set[str | None]:
    """Return the names of the views for which a decorator of Django has set an attribute."""
    return {each.name for each in urls.urlpatterns if getattr(each.callback, attribute, False)}


def test_only_the_decorated_views_are_exempt_from_rules_of_django() -> None:
    callbacks = {"callback", "provider_callback"}

    assert views_with("_non_atomic_requests") == {*callbacks, "health"}
    # The other views with POST check the CSRF token themselves, and answer with our error.
    posts = {name for name, methods in METHODS.items() if "POST" in methods}
    assert views_with("csrf_exempt") == {*callbacks, *posts, "api", "api_captcha"}
