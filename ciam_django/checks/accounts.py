"""Check the sessions and identities of projects with ``ciam_django.accounts``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage
from django.db import connections, router

from ciam_django.accounts.issuers import commands_for
from ciam_django.accounts.models import CiamIdentity
from ciam_django.accounts.users import (
    CONTACT_CLAIMS,
    has_own_save,
    random_username,
    required_fields,
    unrequested_claims,
)
from ciam_django.checks.caches import is_subclass_path
from ciam_django.checks.messages import check_message
from ciam_django.checks.settings import (
    AUTHENTICATION_MIDDLEWARE,
    SESSION_MIDDLEWARE,
    are_urls_included,
    oauth_client,
)
from ciam_django.client.app import ciam_app
from ciam_django.client.person import issuer_of, load_issuer
from ciam_django.conf import conf
from ciam_django.errors import CiamError

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
            "CIAM must be able to end sessions, and sessions keep CIAM's tokens. Use the database "
            "or a cache. The line: SESSION_ENGINE = 'django.contrib.sessions.backends.db'.",
        )
    names = list(settings.MIDDLEWARE)
    indexes = [i for i, name in enumerate(names) if is_subclass_path(SESSION_MIDDLEWARE, name)]
    first = names.index(AUTHENTICATION_MIDDLEWARE) if AUTHENTICATION_MIDDLEWARE in names else -1
    if not indexes or indexes[0] < first:
        yield check_message(
            "session middleware",
            (
                f"{SESSION_MIDDLEWARE!r} is not in MIDDLEWARE, after Django's "
                "AuthenticationMiddleware."
            ),
            (
                f"In MIDDLEWARE, add {SESSION_MIDDLEWARE!r} after {AUTHENTICATION_MIDDLEWARE!r}. "
                "Without this middleware, CIAM can't end sessions, and tokens are not refreshed."
            ),
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
    """Check that all identities have exactly the issuer that a sign-in gives its persons."""
    alias = router.db_for_write(CiamIdentity)
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
    if not issuers:
        return
    try:
        current_issuer = load_issuer(app)
    except CiamError as error:
        current_issuer = issuer_of(app)
        # Without the metadata, only the slash at the end of the issuer is unknown.
        issuers = {issuer for issuer in issuers if issuer.rstrip("/") != current_issuer.rstrip("/")}
        yield check_message(
            "issuer",
            f"The metadata of AUTHLIB_OAUTH_CLIENTS['ciam'] can't be loaded: code {error}.",
            "The issuer of the identities is not fully checked. Before you change identities, run "
            "manage.py ciam_doctor --only metadata, correct what it names, and repeat this check.",
        )
    if unknown_issuers := issuers - {current_issuer}:
        unknown_issuer = min(unknown_issuers)
        yield check_message(
            "identities",
            (
                f"There are identities of {unknown_issuer!r}, and AUTHLIB_OAUTH_CLIENTS['ciam'] "
                f"means {current_issuer!r}."
            ),
            (
                f"{_CHANGED} {commands_for(unknown_issuer)} Or change "
                "AUTHLIB_OAUTH_CLIENTS['ciam'] back."
            ),
        )


def check_databases(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check that the router puts the users and the identities into one database."""
    users, identities = router.db_for_write(get_user_model()), router.db_for_write(CiamIdentity)
    if users != identities:
        yield check_message(
            "databases",
            f"The router writes users to {users!r}, and identities to {identities!r}.",
            "An identity refers to its user, so that both must be in one database. In the router "
            f"of DATABASE_ROUTERS, route the app 'ciam_accounts' to the database {users!r}.",
        )


def check_user_model(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check that a first sign-in can give the user model each value that the model needs.

    A model with a ``save`` of its own may fill its fields itself.
    """
    model, claim_names = get_user_model(), conf.CIAM_USER_FIELDS
    if conf.CIAM_NEW_USER or has_own_save(model) or not isinstance(claim_names, Mapping):
        return
    for field in required_fields(model):
        is_random = field.name == model.USERNAME_FIELD and random_username(model) is not None
        names = set(claim_names.get(field.name) or ())
        if not is_random and names and names <= _unverified_claims():
            claim = min(names)
            yield check_message(
                "user model",
                f"{model.__name__} needs a value for {field.name!r}, and CIAM_USER_FIELDS takes it "
                f"from {claim!r}. In CIAM's own mode, nothing says that {claim!r} is verified.",
                f"Nobody could sign in. If your tenant verifies it: CIAM_VERIFIED_CLAIMS = "
                f"[{claim!r}]. Otherwise use OpenID Connect, or create the users with "
                "CIAM_NEW_USER.",
            )
        if not (is_random or names):
            yield check_message(
                "user model",
                f"{model.__name__} needs a value for {field.name!r}, and no claim has the value.",
                (
                    f"Add {field.name!r} to CIAM_USER_FIELDS, give the field a default, or create "
                    "the users with CIAM_NEW_USER."
                ),
            )


def check_scopes(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check that the scope of the client asks for each claim that the user model needs."""
    if not (oauth_client() or {}).get("server_metadata_url"):
        # The scopes of CIAM's own mode have no claims.
        return
    model, scopes = get_user_model(), _scopes()
    for name, claim, missing in unrequested_claims(model, scopes):
        scope = " ".join(dict.fromkeys(["openid", *scopes, missing]))
        yield check_message(
            "user model",
            f"{model.__name__} needs a value for {name!r}, and CIAM_USER_FIELDS takes it from "
            f"{claim!r}. The scope of the client lacks {missing!r}.",
            "The fake CIAM sends the claim all the same. A tenant may not send it, and then nobody "
            f'can sign in. The line of the client: "client_kwargs": {{"scope": "{scope}"}}.',
        )


def _unverified_claims() -> frozenset[str]:
    """The claims that a sign-in can't use, because CIAM never says that they are verified."""
    client = oauth_client() or {}
    is_own_mode = bool(client.get("authorize_url") and client.get("access_token_url"))
    return CONTACT_CLAIMS - set(conf.CIAM_VERIFIED_CLAIMS) if is_own_mode else frozenset()


def _scopes() -> list[str]:
    """The scopes of the client; another check reports a scope of a wrong type."""
    options = (oauth_client() or {}).get("client_kwargs")
    scope = options.get("scope") if isinstance(options, Mapping) else ""
    scopes = scope.split() if isinstance(scope, str) else scope
    return list(map(str, scopes)) if isinstance(scopes, list | tuple | set | frozenset) else []


CHECKS: Final = (check_sessions, check_databases, check_user_model, check_scopes)
DATABASE_CHECKS: Final = (check_identities,)
