"""Check the sessions and identities of projects with ``ciam_django.accounts``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage
from django.db import connections, router

from ciam_django.accounts.models import CiamIdentity
from ciam_django.checks.messages import check_message
from ciam_django.checks.settings import are_urls_included, is_subclass_path
from ciam_django.client.oauth import CiamApp, ciam_app
from ciam_django.client.person import issuer_of
from ciam_django.conf import conf
from ciam_django.errors import CiamError

SESSION_MIDDLEWARE: Final = "ciam_django.accounts.middleware.CiamSessionMiddleware"
_AUTHENTICATION_MIDDLEWARE: Final = "django.contrib.auth.middleware.AuthenticationMiddleware"
_COOKIE_SESSION_ENGINE: Final = "django.contrib.sessions.backends.signed_cookies"

_CHANGED: Final = "With another mode, issuer or client, CIAM's users would get new accounts here."


def check_sessions(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check the session store and the middleware of a project with ``ciam_django.urls``."""
    if not are_urls_included():
        return
    if settings.SESSION_ENGINE == _COOKIE_SESSION_ENGINE and _is_server_session_needed():
        yield check_message(
            "session store",
            f"SESSION_ENGINE is {settings.SESSION_ENGINE!r}: the server can't end such a session.",
            "CIAM signs users out, and sessions keep CIAM's tokens: use the database or a cache.",
        )
    names = list(settings.MIDDLEWARE)
    indexes = [i for i, name in enumerate(names) if is_subclass_path(SESSION_MIDDLEWARE, name)]
    first = names.index(_AUTHENTICATION_MIDDLEWARE) if _AUTHENTICATION_MIDDLEWARE in names else -1
    if not indexes or indexes[0] < first:
        yield check_message(
            "session middleware",
            (
                f"{SESSION_MIDDLEWARE!r} is not in MIDDLEWARE, after Django's "
                "AuthenticationMiddleware."
            ),
            "Put it there: without it, CIAM can't end sessions, and tokens are not refreshed.",
        )


def _is_server_session_needed() -> bool:
    """Tell if the settings need sessions that the server stores."""
    if conf.CIAM_KEEP_TOKENS:
        return True
    try:
        return ciam_app().is_oidc
    except CiamError:
        # The check of the OAuth client has a message for this.
        return False


def check_identities(
    app_configs: object, databases: Sequence[str] | None = None, **kwargs: Any
) -> Iterator[CheckMessage]:
    """Check that all identities belong to the issuer of the settings."""
    alias = router.db_for_read(CiamIdentity)
    if alias not in (databases or ()):
        return
    # The table is missing before the first migration.
    if CiamIdentity._meta.db_table not in connections[alias].introspection.table_names():
        return
    try:
        app = ciam_app()
    except CiamError:
        # The check of the OAuth client has a message for this.
        return
    issuers = set(CiamIdentity.objects.values_list("issuer", flat=True).distinct())
    unknown_issuers = issuers - {issuer_of(app)}
    if unknown_issuers and (unknown_issuers := unknown_issuers - {_metadata_issuer(app)}):
        unknown_issuer, current_issuer = min(unknown_issuers), issuer_of(app)
        yield check_message(
            "identities",
            (
                f"There are identities of {unknown_issuer!r}, and AUTHLIB_OAUTH_CLIENTS['ciam'] "
                f"means {current_issuer!r}."
            ),
            (
                f"{_CHANGED} Change the settings back, or rename the identities: "
                f"manage.py ciam_rekey --from {unknown_issuer}"
            ),
        )


def _metadata_issuer(app: CiamApp) -> str:
    """The issuer in the metadata; the metadata's URL may begin with another issuer."""
    try:
        return str(app.load_server_metadata().get("issuer", ""))
    except CiamError:
        return ""


CHECKS: Final = (check_sessions,)
DATABASE_CHECKS: Final = (check_identities,)
