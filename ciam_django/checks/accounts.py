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

MIDDLEWARE: Final = "ciam_django.accounts.middleware.CiamSessionMiddleware"
_AUTHENTICATION: Final = "django.contrib.auth.middleware.AuthenticationMiddleware"
_IN_COOKIES: Final = "django.contrib.sessions.backends.signed_cookies"

_CHANGED: Final = "The mode, the issuer or the client has changed, and they would all be strangers."

# An id of ``checks.IDS``, what was given, and what is allowed.
Slip = tuple[str, str, str]


def slips(
    sender: object, *, is_made_from: Callable[[str, str], bool], **kwargs: Any
) -> Iterator[Slip]:
    """A receiver of ``signals.checking``."""
    if settings.SESSION_ENGINE == _IN_COOKIES and _ends_sessions():
        yield (
            "session store",
            f"SESSION_ENGINE is {settings.SESSION_ENGINE!r}: such a session can't be ended.",
            "CIAM signs people out, and sessions keep its tokens: use the database or a cache.",
        )
    names = list(settings.MIDDLEWARE)
    ours = [at for at, name in enumerate(names) if is_made_from(MIDDLEWARE, name)]
    before = names.index(_AUTHENTICATION) if _AUTHENTICATION in names else -1
    if not ours or ours[0] < before:
        yield (
            "session middleware",
            f"{MIDDLEWARE!r} is not in MIDDLEWARE, after Django's AuthenticationMiddleware.",
            "Put it there, or sessions outlive what CIAM says, and their tokens are not renewed.",
        )


def _ends_sessions() -> bool:
    """Whether anything of ours needs a session that the server holds."""
    if conf.CIAM_KEEP_TOKENS:
        return True
    try:
        return ciam_app().is_oidc
    except CiamError:
        # Another check tells.
        return False


def slips_of_identities(
    sender: object, *, databases: Collection[str], **kwargs: Any
) -> Iterator[Slip]:
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
    strangers = issuers - {issuer_of(app)}
    if strangers and (strangers := strangers - {_named_by_itself(app)}):
        first, now = min(strangers), issuer_of(app)
        yield (
            "identities",
            f"There are people of {first!r}, and AUTHLIB_OAUTH_CLIENTS['ciam'] makes it {now!r}.",
            f"{_CHANGED} Change it back, or rename them: manage.py ciam_rekey --from {first}",
        )


def _named_by_itself(app: CiamApp) -> str:
    """The issuer as the metadata has it, should it not be below it."""
    try:
        return str(app.load_server_metadata().get("issuer", ""))
    except CiamError:
        return ""
