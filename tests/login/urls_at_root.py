"""The URLs of a project that includes ``ciam_django.urls`` at its root."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [path("", include("ciam_django.urls"))]
