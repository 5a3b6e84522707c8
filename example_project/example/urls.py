"""The URLs of the example."""

from __future__ import annotations

from django.urls import include, path

from example import views

urlpatterns = [
    path("", views.home, name="home"),
    path("gallery/", views.gallery, name="gallery"),
    path("raise/django/<str:code>/", views.raise_in_django, name="raise-django"),
    path("raise/drf/<str:code>/", views.raise_in_drf, name="raise-drf"),
    path("api/me/", views.me, name="me"),
    path("ciam/", include("ciam_django.urls")),
    path("i18n/", include("django.conf.urls.i18n")),
]
