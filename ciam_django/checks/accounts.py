"""What is wrong with the settings of accounts: ``manage.py check`` asks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any, Final

from django.conf import settings
from django.db import connections, router

from ciam_django.accounts.models import CiamIdentity
from ciam_django.client.oauth import CiamApp, ciam_app
from ciam_django.client.person import issuer_of
from ciam_django.conf import conf
from ciam_django.errors import CiamError

SESSION_MIDDLEWARE: Final = "ciam_django.accounts.middleware.CiamSessionMiddleware"
_AUTHENTICATION_MIDDLEWARE: Final = "django.contrib.auth.middleware.AuthenticationMiddleware"
_COOKIE_SESSION_ENGINE: Final = "django.contrib.sessions.backends.signed_cookies"

_CHANGED: Final = "The mode, the issuer or the client has changed, and they would all be strangers."

# An id of ``checks.IDS``, what was given, and what is allowed.
Problem = tuple[str, str, str]


def check_sessions(
    sender: object, *, is_made_from: Callable[[str, str], bool], **kwargs: Any
) -> Iterator[Problem]:
    """A receiver of ``signals.checking``."""
    if settings.SESSION_ENGINE == _COOKIE_SESSION_ENGINE and _is_server_session_needed():
        yield (
            "session store",
            f"SESSION_ENGINE is {settings.SESSION_ENGINE!r}: such a session can't be ended.",
            "CIAM signs people out, and sessions keep its tokens: use the database or a cache.",
        )
    names = list(settings.MIDDLEWARE)
    ours = [at for at, name in enumerate(names) if is_made_from(SESSION_MIDDLEWARE, name)]
    before = names.index(_AUTHENTICATION_MIDDLEWARE) if _AUTHENTICATION_MIDDLEWARE in names else -1
    if not ours or ours[0] < before:
        yield (
            "session middleware",
            (
                f"{SESSION_MIDDLEWARE!r} is not in MIDDLEWARE, after Django's "
                "AuthenticationMiddleware."
            ),
            "Put it there, or sessions outlive what CIAM says, and their tokens are not renewed.",
        )


def _is_server_session_needed() -> bool:
    """Whether anything of ours needs a session that the server holds."""
    if conf.CIAM_KEEP_TOKENS:
        return True
    try:
        return ciam_app().is_oidc
    except CiamError:
        # Another check tells.
        return False


def check_identities(
    sender: object, *, databases: Collection[str], **kwargs: Any
) -> Iterator[Problem]:
    """A receiver of ``signals.checking_databases``: people whom nobody will be again."""
    alias = router.db_for_read(CiamIdentity)
    if alias not in databases:
        return
    # Before the first migration there is nothing to ask.
    if CiamIdentity._meta.db_table not in connections[alias].introspection.table_names():
        return
    try:
        app = ciam_app()
    except CiamError:
        # Another check tells.
        return
    issuers = set(CiamIdentity.objects.values_list("issuer", flat=True).distinct())
    unknown_issuers = issuers - {issuer_of(app)}
    if unknown_issuers and (unknown_issuers := unknown_issuers - {_metadata_issuer(app)}):
        unknown_issuer, current_issuer = min(unknown_issuers), issuer_of(app)
        yield (
            "identities",
            (
                f"There are people of {unknown_issuer!r}, and AUTHLIB_OAUTH_CLIENTS['ciam'] makes "
                f"it {current_issuer!r}."
            ),
            (
                f"{_CHANGED} Change it back, or rename them: "
                f"manage.py ciam_rekey --from {unknown_issuer}"
            ),
        )


def _metadata_issuer(app: CiamApp) -> str:
    """The issuer as the metadata has it, should it not be below it."""
    try:
        return str(app.load_server_metadata().get("issuer", ""))
    except CiamError:
        return ""
