"""Starts new processes as copies of a process that has imported the large packages."""

from __future__ import annotations

import multiprocessing
from typing import Final

# The imports take most of the time of a new process. A plugin of pytest is not here: pytest must
# import it. The package is not here: a process sets Django up first.
_PRELOADED: Final = (
    "asyncio",
    "authlib.integrations.django_client",
    "authlib.integrations.requests_client",
    "cryptography.fernet",
    "cryptography.x509",
    "django.contrib.admin.options",
    "django.db.backends.postgresql.psycopg_any",
    "django.db.backends.sqlite3.base",
    "django.test",
    "joserfc.jwt",
    "phonenumbers",
    "pytest",
    "redis",
    "rest_framework",
    "werkzeug.serving",
)
# multiprocessing ignores a package that is not installed.
forking_context: Final = multiprocessing.get_context("forkserver")
forking_context.set_forkserver_preload(list(_PRELOADED))
