"""The settings of ``benchmarks.scale``: those of the cases, with the admin and PostgreSQL."""

from __future__ import annotations

import json
import os

from benchmarks import settings

# Django has no other way to extend a module of settings.
from benchmarks.settings import *  # noqa: F403

INSTALLED_APPS = ["django.contrib.admin", *settings.INSTALLED_APPS]
MIDDLEWARE = [*settings.MIDDLEWARE, "ciam_django.accounts.middleware.CiamSessionMiddleware"]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
DATABASES = {"default": json.loads(os.environ.get("BENCHMARKS_DATABASE", "{}"))}
ROOT_URLCONF = "benchmarks.scale_site"
# Below the number of threads, as the check demands. With the default, most of 64 threads would wait
# for a call, and some would be refused.
CIAM_MAX_CALLS = 63
