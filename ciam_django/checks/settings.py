"""Check the settings.

This module does not import Authlib or the models of accounts. Some checks import the classes and
the URLconf that the settings name.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage
from django.urls import LocalePrefixPattern, URLResolver, get_resolver

from ciam_django.checks.caches import is_subclass_path
from ciam_django.checks.messages import (
    CHECK_IDS,
    check_message,
    close_name,
    hint_for,
    import_problem,
    scheme_and_host,
    setting_messages,
)
from ciam_django.codes import ALIASES, CODES
from ciam_django.conf import SETTINGS, conf
from ciam_django.languages import similar_language_with_texts
from ciam_django.lookup import OVERRIDABLE_FIELDS, matched_row
from ciam_django.metrics.adapters import ADAPTERS, adapter_names, start_problems

_CLIENTS: Final = "AUTHLIB_OAUTH_CLIENTS"
ERROR_MIDDLEWARE: Final = "ciam_django.middleware.CiamErrorMiddleware"
AUTHENTICATION_MIDDLEWARE: Final = "django.contrib.auth.middleware.AuthenticationMiddleware"
SESSION_MIDDLEWARE: Final = "ciam_django.accounts.middleware.CiamSessionMiddleware"
DRF_HANDLER: Final = "ciam_django.drf.exception_handler"
# The handler of drf-standardized-errors, and the class of this package for the handler.
STANDARDIZED_HANDLER: Final = "drf_standardized_errors.handler.exception_handler"
STANDARDIZED_HANDLER_CLASS: Final = "ciam_django.drf.standardized.CiamExceptionHandler"
CIAM_BACKEND: Final = "ciam_django.accounts.backends.CiamBackend"

_OVERRIDE_KEY: Final = re.compile(r"(\*\.)?[A-Za-z]\w*(\.\w+)*(\.\*)?")
# The similarity of a misspelt code and the intended code. Two different codes are less similar.
_MIN_SIMILARITY: Final = 0.92
# A source of a content security policy that names a host: `host-source` of CSP Level 3, 2.3.1.
_HOST_SOURCE: Final = re.compile(
    r"((?P<scheme>[a-z][a-z0-9+.-]*)://)?(?P<host>\*|(\*\.)?[a-z0-9.-]+)(:(?P<port>\d+|\*))?(/.*)?"
)


# --- Names and values -------------------------------------------------------------------------


def check_setting_names(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Find names that begin with ``CIAM_`` and look like a misspelt setting."""
    for name in dir(settings):
        if name.startswith("CIAM_") and name not in SETTINGS:
            hint = hint_for(name, SETTINGS, cutoff=0.85)
            if hint.startswith("Did"):
                yield check_message("name", f"{name} is no setting of ciam_django.", hint)


def check_setting_values(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check the values of all settings with the rows of ``conf.py``."""
    for name in SETTINGS:
        yield from setting_messages(name)


def check_drf_fallback_handler(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check that ``CIAM_DRF_FALLBACK_HANDLER`` is not the handler that calls it."""
    if conf.CIAM_DRF_FALLBACK_HANDLER == DRF_HANDLER and apps.is_installed("rest_framework"):
        yield check_message(
            "dotted path",
            f"CIAM_DRF_FALLBACK_HANDLER is {DRF_HANDLER!r}, which calls itself.",
            "It must be the handler of REST framework or of your project. The line: "
            "CIAM_DRF_FALLBACK_HANDLER = 'rest_framework.views.exception_handler'.",
        )


def check_callback_scheme(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check that the callback uses https outside of development."""
    url = conf.CIAM_CALLBACK_URL
    scheme, host = scheme_and_host(url)
    if scheme == "http" and host and not settings.DEBUG:
        yield check_message(
            "insecure callback",
            f"CIAM_CALLBACK_URL is {url!r}, and DEBUG is off.",
            "Over http, others on the network can read the code that signs a user in. The line: "
            f"CIAM_CALLBACK_URL = {url.replace('http://', 'https://', 1)!r}.",
        )


def check_bearer_jwt(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check that ``CIAM_BEARER = "jwt"`` is used with OpenID Connect only."""
    if conf.CIAM_BEARER == "jwt" and not (oauth_client() or {}).get("server_metadata_url"):
        yield check_message(
            "bearer mode",
            "CIAM_BEARER is 'jwt', and AUTHLIB_OAUTH_CLIENTS[\"ciam\"] has no server_metadata_url.",
            "CIAM's own mode publishes no keys. The line: CIAM_BEARER = 'check'. Or use OpenID "
            "Connect, with server_metadata_url in place of authorize_url and access_token_url.",
        )


def check_metrics_packages(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check that the packages of ``CIAM_METRICS`` are installed, and that they can start."""
    for name in adapter_names():
        if problem := import_problem(ADAPTERS[name]):
            yield check_message(
                "metrics package",
                f"CIAM_METRICS has {name!r}, whose package can't be imported: {problem}",
                f'Install the extra: pip install "ciam_django[{name}]".',
            )
        elif problem := start_problems.get(name, ""):
            yield check_message(
                "metrics package",
                f"CIAM_METRICS has {name!r}, which can't start: {problem}",
                "Nothing is counted. If PROMETHEUS_MULTIPROC_DIR is set, it must name a folder "
                "that exists. No other instrument may have the name of an instrument of this "
                "package.",
            )


# --- CIAM_ERROR_OVERRIDES ---------------------------------------------------------------------


def check_error_overrides(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check the keys, fields and values of ``CIAM_ERROR_OVERRIDES``."""
    # The value of the project may have another type than the declared type.
    overrides: Any = conf.CIAM_ERROR_OVERRIDES
    if not isinstance(overrides, Mapping):
        return
    for key, value in overrides.items():
        key_messages = list(_check_override_key(key))
        yield from key_messages
        fields = value if isinstance(value, Mapping) else {"message": value}
        for name, field in fields.items():
            place = f"CIAM_ERROR_OVERRIDES[{key!r}]"
            if name not in OVERRIDABLE_FIELDS:
                yield check_message(
                    "override field",
                    f"{place} has no field {name!r}.",
                    hint_for(name, OVERRIDABLE_FIELDS),
                )
            elif not OVERRIDABLE_FIELDS[name].is_allowed(field):
                yield check_message(
                    "override value",
                    f"{place}: the {name} is {field!r}.",
                    f"It must be {OVERRIDABLE_FIELDS[name].allowed_text}.",
                )
        is_code = not key_messages and "*" not in key
        if is_code and "message" in fields and _is_message_uncollapsed(key):
            yield check_message(
                "override uncollapsed",
                f"CIAM_ERROR_OVERRIDES[{key!r}] has a message, and anonymous users will read it.",
                "The message tells them that an account exists. Remove the message, so that they "
                "get the same answer as for a wrong password. If they may know that the account "
                f"exists, add 'collapse': None to CIAM_ERROR_OVERRIDES[{key!r}].",
            )


def check_override_languages(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check that this package has texts in each language of ``CIAM_ERROR_OVERRIDES``."""
    # The value of the project may have another type than the declared type.
    overrides: Any = conf.CIAM_ERROR_OVERRIDES
    rows = overrides.values() if isinstance(overrides, Mapping) else ()
    messages = [row.get("message") for row in rows if isinstance(row, Mapping)]
    languages = {
        language
        for message in messages
        if isinstance(message, Mapping) and OVERRIDABLE_FIELDS["message"].is_allowed(message)
        for language in message
    }
    try:
        missing = sorted(each for each in languages if not similar_language_with_texts(each))
    except OSError:
        # Django has no catalogue of LANGUAGE_CODE, and cannot translate any text.
        return
    if missing:
        yield check_message(
            "override language",
            "CIAM_ERROR_OVERRIDES has messages in languages that ciam_django has no other texts "
            f"in: {', '.join(missing)}.",
            "The title and the button beside such a message are in another language. Copy "
            "ciam_django/locale/zh_Hans/LC_MESSAGES/django.po to a folder of LOCALE_PATHS, and "
            "translate all texts, also the text with the context 'ciam language code'.",
        )


def _check_override_key(key: object) -> Iterator[CheckMessage]:
    if not isinstance(key, str) or not (_OVERRIDE_KEY.fullmatch(key) or key in ALIASES):
        yield check_message(
            "override key",
            f"CIAM_ERROR_OVERRIDES has the key {key!r}.",
            "A key is a code ('invalid_grant') or a family ('Params.Blank.*').",
        )
        return
    names = (*CODES, *ALIASES)
    known = {name.casefold(): name for name in (*names, *_families_of_codes(names))}
    if key.casefold() in known:
        return
    # A code without a row is allowed. A code that is similar to the code of a row is a mistake. One
    # wrong letter lowers the similarity of short codes more.
    cutoff = min(_MIN_SIMILARITY, (len(key) - 1) / len(key))
    close = difflib.get_close_matches(key.casefold(), known, n=1, cutoff=cutoff)
    if close:
        yield check_message(
            "override key",
            f"CIAM_ERROR_OVERRIDES has the key {key!r}, which fits no code of ours.",
            f"Did you mean {known[close[0]]!r}? If CIAM does send {key!r}, silence "
            f"{CHECK_IDS['override key']}.",
        )


def _families_of_codes(codes: Iterable[str]) -> Iterator[str]:
    """All families ``X.Y.*`` and ``*.Y.Z`` of the codes."""
    for code in codes:
        parts = code.split(".")
        for length in range(1, len(parts)):
            yield ".".join([*parts[:length], "*"])
            yield ".".join(["*", *parts[length:]])


def _is_message_uncollapsed(code: str) -> bool:
    """Return True if the row of the code collapses, and the project's message is shown instead."""
    row = matched_row(code)
    return row.has_project_message and row.meaning.collapse is not None


# --- Apps, URLs, client and entry points ------------------------------------------------------


def check_login_setup(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check the apps, backends and URLs of a project with ``ciam_django.urls``."""
    inclusions = url_inclusions()
    if not inclusions:
        return
    if not apps.is_installed("ciam_django.accounts"):
        yield check_message(
            "accounts",
            "ciam_django.urls is included, and 'ciam_django.accounts' is not in INSTALLED_APPS.",
            "Add 'ciam_django.accounts' to INSTALLED_APPS, and run manage.py migrate. This app has "
            "the models of the identities and the sessions.",
        )
    if not any(is_subclass_path(CIAM_BACKEND, path) for path in settings.AUTHENTICATION_BACKENDS):
        yield check_message(
            "backend",
            f"{CIAM_BACKEND!r} is not in AUTHENTICATION_BACKENDS.",
            f"Add {CIAM_BACKEND!r} as the last entry of AUTHENTICATION_BACKENDS. Without this "
            "backend, a user who has signed in is anonymous on the next page.",
        )
    if any(inclusions):
        yield check_message(
            "language prefix",
            "ciam_django.urls is included under i18n_patterns.",
            "Move the include out of i18n_patterns, because CIAM knows one URL of the callback, "
            "and not one for each language. The line: "
            'urlpatterns = [path("ciam/", include("ciam_django.urls")), *i18n_patterns(...)].',
        )


def check_oauth_client(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check the OAuth client of a project with ``ciam_django.urls``, and ``form-action`` for it."""
    if not are_urls_included():
        return
    client = oauth_client()
    if client is None:
        yield check_message(
            "client",
            f'AUTHLIB_OAUTH_CLIENTS["ciam"] is missing.{_misspelt_client()}',
            "It must be a dict with client_id, client_secret, and server_metadata_url or "
            'authorize_url and access_token_url. The line: AUTHLIB_OAUTH_CLIENTS = {"ciam": '
            '{"client_id": "...", "client_secret": "...", "server_metadata_url": "https://..."}}.',
        )
        return
    if not client.get("client_id"):
        yield check_message(
            "client",
            'AUTHLIB_OAUTH_CLIENTS["ciam"] has no client_id.',
            "It must be the id of your application, which CIAM's console shows. The line: "
            '"client_id": "...".',
        )
    urls = [name for name in ("authorize_url", "access_token_url") if client.get(name)]
    if bool(client.get("server_metadata_url")) == bool(urls) or len(urls) == 1:
        yield check_message(
            "client",
            'AUTHLIB_OAUTH_CLIENTS["ciam"] does not choose one of the two modes. It has '
            f"{' and '.join(_mode_keys(client)) or 'none of the addresses'}.",
            "Give server_metadata_url (OpenID Connect), or authorize_url and access_token_url "
            "(CIAM's own), and not both.",
        )
    scheme, host = scheme_and_host(client.get("authorize_url") or client.get("server_metadata_url"))
    for place in policies_without(f"{scheme}://{host}") if host else ():
        yield check_message(
            "form action",
            f"The form-action of {place} lacks {scheme}://{host}.",
            f'Add the origin, for example ["\'self\'", "{scheme}://{host}"]: the form that starts '
            "a sign-in is redirected to this origin.",
        )


def _mode_keys(client: Mapping[str, Any]) -> list[str]:
    """The keys of the client that choose a mode."""
    names = ("server_metadata_url", "authorize_url", "access_token_url")
    return [name for name in names if client.get(name)]


def _misspelt_client() -> str:
    """A sentence about the setting or the key that probably should be the client."""
    for name in dir(settings):
        # Other names, such as AUTHLIB_OAUTH2_PROVIDER, are settings of Authlib's servers.
        if name != _CLIENTS and close_name(name, [_CLIENTS], cutoff=0.9):
            return f" The settings have {name}: did you mean {_CLIENTS}?"
    clients = getattr(settings, _CLIENTS, None)
    if clients and not isinstance(clients, Mapping):
        return f" {_CLIENTS} has the type {type(clients).__name__}, and must be a dict."
    for key, value in (clients or {}).items():
        if key == "ciam":
            return f" The value has the type {type(value).__name__}."
        if close_name(str(key).casefold(), ["ciam"], cutoff=0.7):
            return f" {_CLIENTS} has the key {key!r}: did you mean 'ciam'?"
    return ""


def check_error_handlers(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check that the settings name the middleware and the exception handler of this package."""
    if not any(is_subclass_path(ERROR_MIDDLEWARE, path) for path in settings.MIDDLEWARE):
        yield check_message(
            "middleware",
            f"{ERROR_MIDDLEWARE!r} is not in MIDDLEWARE.",
            f"Add {ERROR_MIDDLEWARE!r} as the last entry of MIDDLEWARE. Without this middleware, "
            "Django answers a failure in a view with its error page and the status 500.",
        )
    if apps.is_installed("rest_framework") and not is_drf_handler_set():
        yield check_message(
            "handler",
            f"REST_FRAMEWORK['EXCEPTION_HANDLER'] is {_shown_handler()}.",
            f"The line: REST_FRAMEWORK = {{'EXCEPTION_HANDLER': {DRF_HANDLER!r}}}. If your project "
            "has a handler of its own, set CIAM_DRF_FALLBACK_HANDLER to this handler.",
        )


def _shown_handler() -> str:
    handler = drf_handler()
    return repr(handler) if handler else "not set"


def drf_handler() -> object:
    """The exception handler of the settings of REST framework; empty if it is not set."""
    return (getattr(settings, "REST_FRAMEWORK", None) or {}).get("EXCEPTION_HANDLER", "")


def is_drf_handler_set() -> bool:
    """Return True if the settings name an exception handler of this package."""
    handler = drf_handler()
    # checks/project.py reports a misspelt path of this package.
    return str(handler).startswith("ciam_django.") or _is_standardized_handler(handler)


def _is_standardized_handler(handler: object) -> bool:
    """Return True for the handler of drf-standardized-errors with the class of this package."""
    handler_class = (getattr(settings, "DRF_STANDARDIZED_ERRORS", None) or {}).get(
        "EXCEPTION_HANDLER_CLASS", ""
    )
    return handler == STANDARDIZED_HANDLER and is_subclass_path(
        STANDARDIZED_HANDLER_CLASS, str(handler_class)
    )


# --- Functions for the other check modules ----------------------------------------------------


def are_urls_included() -> bool:
    """Return True if the project includes ``ciam_django.urls``."""
    return bool(url_inclusions())


def url_inclusions() -> Sequence[bool]:
    """Return a bool for each ``include()`` of ``ciam_django.urls``: True in ``i18n_patterns``."""
    if not getattr(settings, "ROOT_URLCONF", None):
        return []

    def walk(resolver: URLResolver, is_prefixed: bool) -> Iterator[bool]:
        for entry in resolver.url_patterns:
            if isinstance(entry, URLResolver):
                below = is_prefixed or isinstance(entry.pattern, LocalePrefixPattern)
                if entry.app_name == "ciam":
                    yield below
                else:
                    yield from walk(entry, below)

    return list(walk(get_resolver(), False))


def oauth_client() -> Mapping[str, Any] | None:
    """The OAuth client of the settings; None if the client is missing or is no dict."""
    clients = getattr(settings, "AUTHLIB_OAUTH_CLIENTS", None)
    client = clients.get("ciam") if isinstance(clients, Mapping) else None
    return client if isinstance(client, Mapping) else None


def policies_without(origin: str, *directives: str) -> Iterator[str]:
    """Yield the settings of content security policies that refuse an origin.

    The first of ``directives`` that a policy has counts; the default is ``form-action``. The
    settings are Django's, and those of django-csp from 4.0 on and before 4.0. A source is compared
    as Content Security Policy Level 3, section 6.7.2, says: its host may begin with ``*.``, its
    scheme and port may be missing, and its path does not count after a redirect.
    """
    directives = directives or ("form-action",)
    for place, policy in _policies(directives).items():
        # Django omits a directive that is None or False, and also accepts one source without a
        # list.
        given = (policy.get(name) for name in directives)
        sources = next((each for each in given if each is not None and each is not False), None)
        if sources is None:
            continue
        # A text may have several sources, as in the header.
        allowed = str(sources).split() if isinstance(sources, str | bool) else sources
        if not any(_matches_source(str(source).lower(), origin.lower()) for source in allowed):
            yield place


def _policies(directives: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
    """The setting of each policy, and its directives."""
    policy = getattr(settings, "CONTENT_SECURITY_POLICY", None)
    of_policy = policy.get("DIRECTIVES") if isinstance(policy, Mapping) else None
    names = {name: f"CSP_{name.upper().replace('-', '_')}" for name in directives}
    return {
        "SECURE_CSP": getattr(settings, "SECURE_CSP", None) or {},
        "CONTENT_SECURITY_POLICY['DIRECTIVES']": (
            of_policy if isinstance(of_policy, Mapping) else {}
        ),
        names[directives[0]]: {
            directive: getattr(settings, name, None) for directive, name in names.items()
        },
    }


def _matches_source(source: str, origin: str) -> bool:
    scheme, _, host_and_port = origin.partition("://")
    if source in (f"{scheme}:", "*"):
        return True
    match = _HOST_SOURCE.fullmatch(source)
    if match is None or match["scheme"] not in (scheme, None):
        return False
    host, _, port = host_and_port.partition(":")
    default_port = {"https": "443", "http": "80"}.get(scheme, "")
    is_same_port = match["port"] in ("*", port or default_port) or (
        match["port"] is None and port in ("", default_port)
    )
    pattern = match["host"]
    is_same_host = host.endswith(pattern[1:]) if pattern.startswith("*") else host == pattern
    return is_same_port and is_same_host


# Settings with `Fields` in their row -> the check of the fields. checks/login.py has more rows.
TABLE_CHECKS: Final = {"CIAM_ERROR_OVERRIDES": check_error_overrides}

CHECKS: Final = (
    check_setting_names,
    check_setting_values,
    check_error_overrides,
    check_override_languages,
    check_drf_fallback_handler,
    check_metrics_packages,
    check_callback_scheme,
    check_bearer_jwt,
    check_login_setup,
    check_oauth_client,
    check_error_handlers,
)
