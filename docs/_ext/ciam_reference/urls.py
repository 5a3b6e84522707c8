"""The URLs of the examples."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [path("ciam/", include("ciam_django.urls"))]
