"""``manage.py check``: each setting's type and range, and how the parts are put together."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, get_type_hints
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004  (Django's name)
from django.template import TemplateDoesNotExist, TemplateSyntaxError
from django.template.loader import get_template
from django.urls import LocalePrefixPattern, NoReverseMatch, URLResolver, get_resolver, reverse
from django.utils.module_loading import import_string

from ciam_django.codes import ALIASES, CODES
from ciam_django.conf import Conf, conf
from ciam_django.kinds import Action
from ciam_django.lookup import OVERRIDABLE_FIELDS
from ciam_django.signals import checking, checking_databases

# One id for one thing that can be wrong, whatever the number of ways.
CHECK_IDS: Final = {
    "name": "ciam_django.W001",
    "type": "ciam_django.E002",
    "range": "ciam_django.E003",
    "override key": "ciam_django.E004",
    "override field": "ciam_django.E005",
    "override value": "ciam_django.E006",
    "override uncollapsed": "ciam_django.W007",
    "action": "ciam_django.E008",
    "address": "ciam_django.E009",
    "dotted path": "ciam_django.E010",
    "template": "ciam_django.E011",
    "client": "ciam_django.E012",
    "insecure callback": "ciam_django.W013",
    "accounts": "ciam_django.E014",
    "backend": "ciam_django.E015",
    "language prefix": "ciam_django.E016",
    "middleware": "ciam_django.W017",
    "handler": "ciam_django.W018",
    "form action": "ciam_django.W019",
    "way in": "ciam_django.E020",
    "step": "ciam_django.E021",
    "phone region": "ciam_django.E022",
    "provider": "ciam_django.E023",
    "limit": "ciam_django.E024",
    "cache": "ciam_django.W025",
    "endpoint": "ciam_django.E026",
    "user field": "ciam_django.E027",
    "session store": "ciam_django.E028",
    "session middleware": "ciam_django.W029",
    "bearer": "ciam_django.E030",
    "bearer mode": "ciam_django.E031",
    "identities": "ciam_django.E032",
}

ERROR_MIDDLEWARE: Final = "ciam_django.middleware.CiamErrorMiddleware"
DRF_HANDLER: Final = "ciam_django.drf.exception_handler"
# drf-standardized-errors' handler, and the class of ours that it can be told to use.
STANDARDIZED_HANDLER: Final = "drf_standardized_errors.handler.exception_handler"
STANDARDIZED_HANDLER_CLASS: Final = "ciam_django.drf.standardized.CiamExceptionHandler"
CIAM_BACKEND: Final = "ciam_django.accounts.backends.CiamBackend"

_OVERRIDE_KEY: Final = re.compile(r"(\*\.)?[A-Za-z]\w*(\.\w+)*(\.\*)?")
# How alike a misspelt code is to the one that was meant; other codes are less so.
_MIN_SIMILARITY: Final = 0.92


def check_message(name: str, message: str, hint: str | None = None) -> CheckMessage:
    severity = Warning if ".W" in CHECK_IDS[name] else Error
    return severity(message, hint=hint, id=CHECK_IDS[name])


def hint_for(given: object, allowed: Iterable[str], *, cutoff: float = 0.6) -> str:
    """``Did you mean 'x'?``, or what is allowed, or nothing where that would be too long."""
    allowed = list(allowed)
    close = difflib.get_close_matches(str(given), allowed, n=1, cutoff=cutoff)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Allowed: {', '.join(allowed)}." if len(allowed) < 20 else ""


# --- Names, types and ranges ------------------------------------------------------------------


def check_setting_names(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Names that start like ours and are very like one of ours."""
    for name in dir(settings):
        if name.startswith("CIAM_") and name not in conf.setting_names():
            hint = hint_for(name, conf.setting_names(), cutoff=0.85)
            if hint.startswith("Did"):
                yield check_message("name", f"{name} is no setting of ciam_django.", hint)


_RANGES: Final[dict[str, tuple[float, float]]] = {
    "CIAM_UPSTREAM_STATUS": (500, 599),
    "CIAM_RETRY_AFTER": (0, 3600),
    "CIAM_TIMEOUT": (0.1, 120),
    "CIAM_STALE_LIMIT": (3600, 2592000),
    "CIAM_SESSION_CHECK": (0, 86400),
    "CIAM_BEARER_SECONDS": (0, 300),
}


def _setting_types() -> dict[str, Any]:
    return {name: hint for name, hint in get_type_hints(Conf).items() if name.startswith("CIAM_")}


def _is_of_type(value: object, hint: Any) -> bool:
    hint = getattr(hint, "__origin__", hint)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def check_setting_types(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Each setting's type, and the range of the numbers."""
    for name, hint in _setting_types().items():
        value = getattr(conf, name)
        if not _is_of_type(value, hint):
            wanted = getattr(hint, "__origin__", hint).__name__
            yield check_message(
                "type",
                f"{name} is {value!r}, a {type(value).__name__}.",
                f"It is to be a {wanted}.",
            )
        elif name in _RANGES:
            low, high = _RANGES[name]
            if not low <= value <= high:
                yield check_message("range", f"{name} is {value!r}.", f"Allowed: {low} to {high}.")


# --- CIAM_ERROR_OVERRIDES ---------------------------------------------------------------------


def check_error_overrides(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """The keys, fields and values of ``CIAM_ERROR_OVERRIDES``."""
    # As given, which need not be as declared.
    overrides: Any = conf.CIAM_ERROR_OVERRIDES
    if not isinstance(overrides, Mapping):
        return
    for key, value in overrides.items():
        yield from _check_override_key(key)
        fields = value if isinstance(value, Mapping) else {"message": value}
        for name, given in fields.items():
            place = f"CIAM_ERROR_OVERRIDES[{key!r}]"
            if name not in OVERRIDABLE_FIELDS:
                yield check_message(
                    "override field",
                    f"{place} has no field {name!r}.",
                    hint_for(name, OVERRIDABLE_FIELDS),
                )
            elif not OVERRIDABLE_FIELDS[name].is_allowed(given):
                yield check_message(
                    "override value",
                    f"{place}: the {name} is {given!r}.",
                    f"It is to be {OVERRIDABLE_FIELDS[name].allowed_text}.",
                )
        if "message" in fields and _is_collapsing_key(str(key)):
            yield check_message(
                "override uncollapsed",
                f"CIAM_ERROR_OVERRIDES[{key!r}] has a message, so that strangers will read it.",
                "It tells them that an account exists. Without a message the code is answered "
                "like a wrong password to everyone who has not signed in.",
            )


def _check_override_key(key: object) -> Iterator[CheckMessage]:
    if not isinstance(key, str) or not _OVERRIDE_KEY.fullmatch(key):
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
    # A code that we do not know is allowed; one that is nearly one of ours is a slip.
    # In a short one, one letter is much.
    alike = min(_MIN_SIMILARITY, (len(key) - 1) / len(key))
    close = difflib.get_close_matches(key.casefold(), known, n=1, cutoff=alike)
    if close:
        yield check_message(
            "override key",
            f"CIAM_ERROR_OVERRIDES has the key {key!r}, which fits no code of ours.",
            f"Did you mean {known[close[0]]!r}? If CIAM does send {key!r}, silence "
            f"{CHECK_IDS['override key']}.",
        )


def _families_of_codes(codes: Iterable[str]) -> Iterator[str]:
    """Every ``X.Y.*`` and ``*.Y.Z`` that a code is in."""
    for code in codes:
        parts = code.split(".")
        for length in range(1, len(parts)):
            yield ".".join([*parts[:length], "*"])
            yield ".".join(["*", *parts[length:]])


def _is_collapsing_key(key: str) -> bool:
    # The table's own word: what the settings make of it is what is being checked.
    rows = {name.casefold(): row for name, row in CODES.items()}
    aliases = {name.casefold(): rows[to.casefold()] for name, to in ALIASES.items()}
    row = {**rows, **aliases}.get(key.casefold())
    return "*" not in key and row is not None and row.collapse is not None


# --- Addresses, paths and templates -----------------------------------------------------------


def check_urls(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Where actions lead, and the callback's own address."""
    urls: Any = conf.CIAM_ACTION_URLS
    places: dict[str, Any] = {"CIAM_SUPPORT_URL": conf.CIAM_SUPPORT_URL}
    if isinstance(urls, Mapping):
        for action, url in urls.items():
            if action not in set(Action):
                yield check_message(
                    "action",
                    f"CIAM_ACTION_URLS has the key {action!r}, which is no action.",
                    hint_for(action, [str(action) for action in Action]),
                )
            places[f"CIAM_ACTION_URLS[{action!r}]"] = url
    for place, url in places.items():
        if not isinstance(url, str) or not _is_valid_target(url):
            yield check_message(
                "address",
                f"{place} is {url!r}.",
                "It is to be an https, mailto or tel address, a path that begins with /, or the "
                "name of a URL.",
            )
    callback = conf.CIAM_CALLBACK_URL
    if callback and isinstance(callback, str):
        scheme, host = _scheme_and_host(callback)
        if scheme not in ("http", "https") or not host:
            yield check_message(
                "address",
                f"CIAM_CALLBACK_URL is {callback!r}.",
                "It is to be absolute, such as 'https://example.com/ciam/callback/'.",
            )
        elif scheme == "http" and not settings.DEBUG:
            yield check_message(
                "insecure callback",
                f"CIAM_CALLBACK_URL is {callback!r}, and DEBUG is off.",
                "Over http, the code that signs a person in can be read on the way. Use https.",
            )


def _scheme_and_host(url: object) -> tuple[str, str]:
    """Scheme and host with port; empty ones where there are none."""
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
    except ValueError:
        # Brackets that hold no IPv6 address.
        return "", ""
    return parts.scheme, parts.netloc


def _is_valid_target(url: str) -> bool:
    if not url or url.startswith(("/", "https://", "http://", "mailto:", "tel:")):
        return True
    if not hasattr(settings, "ROOT_URLCONF"):
        return False
    try:
        reverse(url)
    except NoReverseMatch:
        return False
    return True


def check_dotted_paths(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """The dotted path and the template that settings name."""
    handler = conf.CIAM_DRF_FALLBACK_HANDLER
    if apps.is_installed("rest_framework") and isinstance(handler, str):
        if handler == DRF_HANDLER:
            yield check_message("dotted path", f"CIAM_DRF_FALLBACK_HANDLER is {handler!r} itself.")
        else:
            try:
                import_string(handler)
            except ImportError as error:
                yield check_message(
                    "dotted path", f"CIAM_DRF_FALLBACK_HANDLER is {handler!r}.", f"{error}."
                )
    template = conf.CIAM_BASE_TEMPLATE
    if template and isinstance(template, str):
        try:
            get_template(template)
        except (TemplateDoesNotExist, TemplateSyntaxError) as error:
            yield check_message(
                "template",
                f"CIAM_BASE_TEMPLATE is {template!r}: {type(error).__name__}: {error}.",
                "It is to be the name of a template that has a block 'content'.",
            )


# --- Bearer tokens ----------------------------------------------------------------------------


def check_bearer_settings(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Who proves bearer tokens, and for whom they may be."""
    # As given, which need not be as declared.
    given: Any = conf.CIAM_BEARER
    if isinstance(given, str) and given not in ("check", "jwt"):
        yield check_message(
            "bearer", f"CIAM_BEARER is {given!r}.", hint_for(given, ("check", "jwt"))
        )
    clients = getattr(settings, "AUTHLIB_OAUTH_CLIENTS", None)
    client = clients.get("ciam") if isinstance(clients, Mapping) else None
    is_oidc = isinstance(client, Mapping) and client.get("server_metadata_url")
    if given == "jwt" and not is_oidc:
        yield check_message(
            "bearer mode",
            "CIAM_BEARER is 'jwt', and AUTHLIB_OAUTH_CLIENTS[\"ciam\"] has no server_metadata_url.",
            "CIAM's own mode publishes no keys: use 'check', or OpenID Connect.",
        )
    audiences: Any = conf.CIAM_BEARER_AUDIENCES
    if isinstance(audiences, str):
        yield check_message(
            "type",
            f"CIAM_BEARER_AUDIENCES is {audiences!r}, a str.",
            f"It is to be a list: [{audiences!r}].",
        )


# --- How the parts are put together -----------------------------------------------------------


def check_login_urls(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """What ``ciam_django.urls`` needs, in projects that include it."""
    included = _url_inclusions()
    if not included:
        return
    if not apps.is_installed("ciam_django.accounts"):
        yield check_message(
            "accounts",
            "ciam_django.urls is included, and 'ciam_django.accounts' is not in INSTALLED_APPS.",
            "Add it: it holds who signed in.",
        )
    if not any(is_subclass_path(CIAM_BACKEND, path) for path in settings.AUTHENTICATION_BACKENDS):
        yield check_message(
            "backend",
            f"{CIAM_BACKEND!r} is not in AUTHENTICATION_BACKENDS.",
            "Add it, or whoever signs in is nobody on the next page.",
        )
    if any(included):
        yield check_message(
            "language prefix",
            "ciam_django.urls is included under i18n_patterns.",
            "Move it out: CIAM knows one address of the callback, not one for each language.",
        )
    yield from _check_oauth_client()
    found = checking.send(
        check_login_urls,
        is_well_typed=is_well_typed,
        is_in_policy=is_allowed_form_action,
        is_made_from=is_subclass_path,
    )
    for _, slips in found:
        yield from (check_message(*slip) for slip in slips or ())


def check_identities(
    app_configs: object, databases: Sequence[str] | None = None, **kwargs: Any
) -> Iterator[CheckMessage]:
    """Whether the people in the databases are still those whom the settings mean."""
    for _, slips in checking_databases.send(check_identities, databases=databases or ()):
        yield from (check_message(*slip) for slip in slips or ())


def is_well_typed(name: str) -> bool:
    return _is_of_type(getattr(conf, name), _setting_types()[name])


def _url_inclusions() -> Sequence[bool]:
    """For each inclusion of our URLs, whether it is below a language prefix."""
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


def _check_oauth_client() -> Iterator[CheckMessage]:
    clients = getattr(settings, "AUTHLIB_OAUTH_CLIENTS", None)
    client = clients.get("ciam") if isinstance(clients, Mapping) else None
    if not isinstance(client, Mapping):
        yield check_message(
            "client",
            'AUTHLIB_OAUTH_CLIENTS["ciam"] is missing.',
            "It is to be a dict with client_id, client_secret, and server_metadata_url or "
            "authorize_url and access_token_url.",
        )
        return
    if not client.get("client_id"):
        yield check_message("client", 'AUTHLIB_OAUTH_CLIENTS["ciam"] has no client_id.')
    own = [name for name in ("authorize_url", "access_token_url") if client.get(name)]
    if bool(client.get("server_metadata_url")) == bool(own) or len(own) == 1:
        yield check_message(
            "client",
            'AUTHLIB_OAUTH_CLIENTS["ciam"] does not choose one of the two modes.',
            "Give server_metadata_url (OpenID Connect), or authorize_url and access_token_url "
            "(CIAM's own), and not both.",
        )
    scheme, host = _scheme_and_host(
        client.get("authorize_url") or client.get("server_metadata_url")
    )
    if host and not is_allowed_form_action(f"{scheme}://{host}"):
        yield check_message(
            "form action",
            f"The form-action of SECURE_CSP lacks {scheme}://{host}.",
            "Add it: the form that begins a sign-in is redirected there.",
        )


def is_allowed_form_action(origin: str) -> bool:
    """Whether a form may lead there: browsers stop what a policy's form-action does not have."""
    policy = getattr(settings, "SECURE_CSP", None) or {}
    # Django leaves a directive out that is None or False, and takes one source for a list of one.
    given = policy.get("form-action")
    if given in (None, False):
        return True
    allowed = {given} if isinstance(given, str | bool) else set(given)
    return bool(allowed & {origin, f"{origin.partition(':')[0]}:", "*"})


def check_entry_points(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Whether the doors are in place."""
    if not any(is_subclass_path(ERROR_MIDDLEWARE, path) for path in settings.MIDDLEWARE):
        yield check_message(
            "middleware",
            f"{ERROR_MIDDLEWARE!r} is not in MIDDLEWARE.",
            "Add it as the last one, or a failure in a Django view is a 500.",
        )
    if apps.is_installed("rest_framework"):
        handler = (getattr(settings, "REST_FRAMEWORK", None) or {}).get("EXCEPTION_HANDLER", "")
        if not str(handler).startswith("ciam_django.") and not _is_standardized_handler(handler):
            yield check_message(
                "handler",
                f"REST_FRAMEWORK['EXCEPTION_HANDLER'] is {handler or 'not set'!r}.",
                f"Set it to {DRF_HANDLER!r}; name your own in CIAM_DRF_FALLBACK_HANDLER.",
            )


def _is_standardized_handler(handler: object) -> bool:
    """Whether it is drf-standardized-errors', which hands over to ours."""
    chosen = (getattr(settings, "DRF_STANDARDIZED_ERRORS", None) or {}).get(
        "EXCEPTION_HANDLER_CLASS", ""
    )
    return handler == STANDARDIZED_HANDLER and is_subclass_path(
        STANDARDIZED_HANDLER_CLASS, str(chosen)
    )


def is_subclass_path(ours: str, path: str) -> bool:
    """Whether the path is of a class of ours, or of one that inherits from it."""
    try:
        found = import_string(path)
    except ImportError:
        # Django's own error will tell.
        return False
    classes = getattr(found, "__mro__", ())
    return ours in [f"{line.__module__}.{line.__qualname__}" for line in classes]


CHECKS: Final = (
    check_setting_names,
    check_setting_types,
    check_error_overrides,
    check_urls,
    check_dotted_paths,
    check_bearer_settings,
    check_login_urls,
    check_entry_points,
)
