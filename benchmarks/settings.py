"""The settings of all cases: those of ``startproject``, REST framework, our apps and the peers.

Our case and the case of a peer differ only in the timed code; the project is the same.
"""

from __future__ import annotations

import json
import os

SECRET_KEY = "for benchmarks only"  # noqa: S105  (the key protects nothing)
ALLOWED_HOSTS = ["testserver"]
ROOT_URLCONF = "ciam_django.urls"
USE_TZ = True
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文")]

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "rest_framework",
    "rest_framework.authtoken",
    "ciam_django",
    "ciam_django.accounts",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
# Without the setting, ``ciam_django`` looks for the page of Django's default at each login.
LOGIN_REDIRECT_URL = "/"
AUTHENTICATION_BACKENDS = ["ciam_django.accounts.backends.CiamBackend"]
REST_FRAMEWORK = {"DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema"}
CORS_ALLOWED_ORIGINS = ["https://example.com"]

# The client of the fake CIAM, which runs in a separate process.
AUTHLIB_OAUTH_CLIENTS = json.loads(os.environ.get("BENCHMARKS_CIAM", "{}"))

# Log records are made and discarded: the time of a file or a terminal is not measured.
_QUIET = {"handlers": ["nowhere"], "level": "INFO", "propagate": False}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"nowhere": {"class": "logging.NullHandler"}},
    "loggers": {"ciam_django": _QUIET, "django": _QUIET},
}
