"""A project that includes our views at its root."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [path("", include("ciam_django.urls"))]
