"""Sign in with each user model of ``MODELS``, in a process of its own; print the results as JSON.

The program is run by ``test_user_models``. Its argument is the setting ``DATABASES`` by model.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import django
import django.core.management.commands.migrate
import django.core.management.sql
import django.db.migrations.executor
import django.test.client
import phonenumbers
from django.conf import settings

from ciam_django.client import CiamClient

# A child process inherits these modules, which are slow to import.
_SHARED = (django, phonenumbers, CiamClient)
# Model -> settings of the project, beside AUTH_USER_MODEL.
MODELS: dict[str, dict[str, Any]] = {
    "EmailUser": {},
    "MobileUser": {"CIAM_USER_FIELDS": {"mobile": ["phone_number"]}},
    "DefaultsUser": {},
    "NumberedUser": {},
    "SavedUser": {},
    "IntegerUser": {},
    "UuidUser": {},
    "BirthdayUser": {"CIAM_USER_FIELDS": {"birthdate": ["birthdate"], "gender": ["gender"]}},
    "StrictUser": {},
    "TenantUser": {},
    "CleanUser": {"CIAM_USER_FIELDS": {}},
    "ForgetfulUser": {},
}
CLAIMS = {
    "email": "li@example.com",
    "email_verified": True,
    "phone_number": "+86 138 0000 0000",
    "phone_number_verified": True,
    "birthdate": "0000-05-01",
    "gender": "male",
}


def main() -> None:
    databases = json.loads(sys.argv[1])
    for name, overrides in MODELS.items():
        # The imports above are shared; the models and the settings are not.
        if os.fork() == 0:
            result = result_of(name, databases[name], overrides)
            sys.stdout.write(f"{json.dumps({name: result})}\n")
            sys.stdout.flush()
            os._exit(0)
        os.wait()


def result_of(name: str, database: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """Sign the same person in twice and another person once."""
    settings.configure(
        SECRET_KEY="x",
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        DATABASES={"default": database},
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "ciam_django",
            "ciam_django.accounts",
            "tests.accounts.shop",
        ],
        AUTH_USER_MODEL=f"shop.{name}",
        AUTHENTICATION_BACKENDS=["ciam_django.accounts.backends.CiamBackend"],
        # All tables are created from the models, which is faster.
        MIGRATION_MODULES=dict.fromkeys(
            ("auth", "contenttypes", "sessions", "ciam_accounts", "shop")
        ),
        SILENCED_SYSTEM_CHECKS=["auth.W004"],
        AUTHLIB_OAUTH_CLIENTS={
            "ciam": {
                "client_id": "tests",
                "client_secret": "not-a-secret",
                "server_metadata_url": "https://ciam.invalid/.well-known/openid-configuration",
                "client_kwargs": {"scope": "openid email phone profile"},
            }
        },
        LOGGING_CONFIG=None,
        **overrides,
    )
    django.setup()
    from django.core.checks import run_checks  # noqa: PLC0415  (after django.setup)
    from django.core.management import call_command  # noqa: PLC0415  (after django.setup)

    from ciam_django.errors import CiamError  # noqa: PLC0415  (after django.setup)

    call_command("migrate", run_syncdb=True, verbosity=0)
    messages = [str(message.id) for message in run_checks(tags=["ciam_django"])]
    try:
        first, again = signed_in_user("u-1"), signed_in_user("u-1")
        other = signed_in_user("u-2", email="wang@example.com", phone_number="+8613900000000")
    except CiamError as error:
        return {"checks": messages, "error": error.code, "text": error.upstream_text}
    return {
        "checks": messages,
        "is_same": first == again,
        "is_other": first != other,
        "values": first.values(),
    }


def signed_in_user(subject: str, **claims: str) -> Any:
    """Sign the person in, and return the user of the next request."""
    from django.contrib.auth import get_user  # noqa: PLC0415  (after django.setup)
    from django.contrib.sessions.backends.db import SessionStore  # noqa: PLC0415  (after django.setup)
    from django.test import RequestFactory  # noqa: PLC0415  (after django.setup)

    from ciam_django.accounts.login import sign_in_or_link  # noqa: PLC0415  (after django.setup)
    from ciam_django.client.person import Person  # noqa: PLC0415  (after django.setup)

    request = RequestFactory().get("/")
    request.session = SessionStore()
    person = Person("https://ciam.example", subject, {**CLAIMS, **claims})
    sign_in_or_link(request, person, {"access_token": "t-1"}, "")
    request.session.save()
    next_request = RequestFactory().get("/")
    next_request.session = SessionStore(str(request.session.session_key))
    return get_user(next_request)


if __name__ == "__main__":
    main()
