"""The URLs of a project whose paths have the prefix of a language, except the default language."""

from __future__ import annotations

from django.conf.urls.i18n import i18n_patterns
from django.urls import include, path

urlpatterns = i18n_patterns(
    path("ciam/", include("ciam_django.urls")), prefix_default_language=False
)
