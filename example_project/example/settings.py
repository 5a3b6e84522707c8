"""The settings that ``startproject`` writes, and the settings that ``ciam_django`` needs."""

from __future__ import annotations

import os
from pathlib import Path

from example import tenant

BASE_DIR = Path(__file__).resolve().parent.parent

# --- Settings of startproject -----------------------------------------------------------------

SECRET_KEY = "example-only-" + "x" * 50  # never use this key in a real project
DEBUG = True
ROOT_URLCONF = "example.urls"
INSTALLED_APPS = [
    "example",
    "ciam_django",
    "ciam_django.accounts",
    "rest_framework",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "ciam_django.accounts.middleware.CiamSessionMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "ciam_django.middleware.CiamErrorMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "example.tries.sample_inputs",
            ]
        },
    }
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("EXAMPLE_DATABASE", BASE_DIR / tenant.DATABASE),
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "static/"
USE_TZ = True
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文"), ("zh-hant", "繁體中文")]
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"ciam_django": {"handlers": ["console"], "level": "INFO"}},
}

# --- Settings for ciam_django -----------------------------------------------------------------

AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "ciam_django.accounts.backends.CiamBackend",
]
LOGIN_URL = "ciam:login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "home"
REST_FRAMEWORK = {
    "EXCEPTION_HANDLER": "ciam_django.drf.exception_handler",
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "ciam_django.drf.authentication.CiamBearerAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_RENDERER_CLASSES": [
        "rest_framework.renderers.JSONRenderer",
        "ciam_django.drf.renderers.ProblemJSONRenderer",
    ],
}
CIAM_LOGIN_METHODS = ["password", "sms", "email", "hosted", "recover", "sign_up"]
CIAM_SOCIAL_PROVIDERS = tenant.social_providers()
# With Django's default, "same-origin", a sign-in pop-up loses the page that opened it.
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin-allow-popups"
CIAM_BASE_TEMPLATE = "example/base.html"
CIAM_SUPPORT_URL = "mailto:support@example.com"
CIAM_CALLBACK_URL = os.environ.get("CIAM_CALLBACK_URL", "")

AUTHLIB_OAUTH_CLIENTS = {"ciam": tenant.client()}
