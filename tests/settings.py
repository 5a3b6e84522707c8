"""Settings of a project with the apps and middleware of ``startproject`` and of the package."""

from __future__ import annotations

SECRET_KEY = "for tests only"
ROOT_URLCONF = "tests.urls"
STATIC_URL = "static/"
USE_TZ = True

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "axes",
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
    "ciam_django.accounts.middleware.CiamSessionMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "ciam_django.middleware.CiamErrorMiddleware",
    "tests.login.strict.StrictCspMiddleware",
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
            ],
        },
    },
]

DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}

AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "ciam_django.accounts.backends.CiamBackend",
]
# Django's default hasher is slow on purpose.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文"), ("zh-hant", "繁體中文")]

# No server answers under .invalid (RFC 6761). A test that forgets the fake CIAM fails, and sends no
# request over the network.
AUTHLIB_OAUTH_CLIENTS = {
    "ciam": {
        "client_id": "tests",
        "client_secret": "not-a-secret",
        "authorize_url": "https://ciam.invalid/oauth/authorize",
        "access_token_url": "https://ciam.invalid/oauth/token",
        "api_base_url": "https://ciam.invalid/",
    },
}

REST_FRAMEWORK = {
    "EXCEPTION_HANDLER": "ciam_django.drf.exception_handler",
    "DEFAULT_SCHEMA_CLASS": "ciam_django.drf.schema.CiamAutoSchema",
}

# The tests of django-axes switch it on.
AXES_ENABLED = False
