"""Check the settings that depend on the tables of ``login`` and ``client``.

These checks are registered if ``ciam_django.accounts`` is installed. They skip the settings that a
row of ``conf.py`` refuses: ``checks/settings.py`` reports these settings.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Set
from typing import Any, Final

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage
from django.utils.functional import Promise

from ciam_django.accounts.users import fillable_fields
from ciam_django.answers import GENERIC_ERROR_STAGES
from ciam_django.checks.caches import CACHE_BACKENDS, cache_fault, is_subclass_path
from ciam_django.checks.client import is_placeholder
from ciam_django.checks.messages import check_message, hint_for, setting_messages
from ciam_django.checks.settings import are_urls_included, oauth_client, policies_without
from ciam_django.client.endpoints import ENDPOINTS, Credential, Endpoint, EndpointGroup
from ciam_django.client.private_key_jwt import PRIVATE_KEY_JWT, signing_key_of
from ciam_django.conf import Conf, conf
from ciam_django.errors import Stage
from ciam_django.login.providers import (
    OVERRIDABLE_FIELDS,
    PROVIDERS,
    REQUIRED_FIELDS,
    WECHAT,
    BrowserType,
    Provider,
    form_action_origins,
    provider_entries,
    provider_of_entry,
    registrations,
)
from ciam_django.login.redirects import is_origin_in
from ciam_django.login.steps.table import STEPS
from ciam_django.login.tenant_config import HOSTED, OWN_METHODS
from ciam_django.phone_numbers import phonenumbers

_SESSION_ENGINES: Final = "django.contrib.sessions.backends"
# The fields of an endpoint whose values are members of an enum.
_ENDPOINT_CHOICES: Final[Mapping[str, type[enum.StrEnum]]] = {
    "credential": Credential,
    "stage": Stage,
    "group": EndpointGroup,
}
_ENTRY_FIELDS: Final = (
    *REQUIRED_FIELDS,
    *sorted(OVERRIDABLE_FIELDS),
    "provider",
    "proofs",
    "native",
)


def is_allowed_by_row(name: str) -> bool:
    """Tell if the row of the setting allows the setting's value."""
    return not setting_messages(name)


# --- Values -----------------------------------------------------------------------------------


def check_phone_region(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check that the countries of the settings have phone numbers, and do not contradict."""
    if not (is_allowed_by_row("CIAM_PHONE_REGION") and is_allowed_by_row("CIAM_PHONE_REGIONS")):
        return
    home, regions = conf.CIAM_PHONE_REGION, conf.CIAM_PHONE_REGIONS
    hint = f"It must be {Conf.CIAM_PHONE_REGION.allowed.words}."
    places = {f"CIAM_PHONE_REGIONS[{index}]": region for index, region in enumerate(regions)}
    for place, region in {"CIAM_PHONE_REGION": home, **places}.items():
        if region not in phonenumbers.SUPPORTED_REGIONS:
            yield check_message("phone region", f"{place} is {region!r}.", hint)
    if regions and home not in regions:
        yield check_message(
            "home region",
            f"CIAM_PHONE_REGION is {home!r}, which is not in CIAM_PHONE_REGIONS.",
            "Numbers without a country code would get no text messages. Add "
            f"{home!r} to CIAM_PHONE_REGIONS, or change CIAM_PHONE_REGION.",
        )


def check_user_fields(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check that the keys of ``CIAM_USER_FIELDS`` are fields of the user model."""
    if not is_allowed_by_row("CIAM_USER_FIELDS"):
        return
    model = get_user_model()
    fields = fillable_fields(model)
    for name in conf.CIAM_USER_FIELDS:
        # A user model may lack fields of the setting's default.
        if name not in fields and name not in Conf.CIAM_USER_FIELDS.default:
            yield check_message(
                "user field",
                f"CIAM_USER_FIELDS has {name!r}, which is no field of {model.__name__}.",
                hint_for(name, fields, long_list=f"Allowed: {', '.join(sorted(fields))}."),
            )


def check_endpoints(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check the names and fields of ``CIAM_ENDPOINTS``."""
    if not is_allowed_by_row("CIAM_ENDPOINTS"):
        return
    fields = Endpoint._fields
    for name, overrides in conf.CIAM_ENDPOINTS.items():
        place = f"CIAM_ENDPOINTS[{name!r}]"
        if name not in ENDPOINTS:
            yield check_message(
                "endpoint",
                f"{place} is no call of CIAM's API.",
                hint_for(name, ENDPOINTS, long_list=f"Allowed: {', '.join(ENDPOINTS)}."),
            )
        for field, value in overrides.items():
            if field not in fields:
                yield check_message(
                    "endpoint", f"{place} has no field {field!r}.", hint_for(field, fields)
                )
            elif field in _ENDPOINT_CHOICES and value not in list(_ENDPOINT_CHOICES[field]):
                yield check_message(
                    "endpoint",
                    f"{place}: the {field} is {value!r}.",
                    hint_for(value, _ENDPOINT_CHOICES[field]),
                )
            elif field == "stage" and name in ENDPOINTS and _is_opened(name, value):
                yield check_message(
                    "open stage",
                    f"{place}: at the stage {value!r}, users learn which accounts exist.",
                    f"At the stage {str(ENDPOINTS[name].stage)!r}, the errors are generic. If "
                    f"users must not learn this, remove 'stage' from {place}.",
                )


def _is_opened(name: str, stage: str) -> bool:
    """Return True if the errors of the call are generic in the table, and not at this stage."""
    return ENDPOINTS[name].stage in GENERIC_ERROR_STAGES and stage not in GENERIC_ERROR_STAGES


def check_social_providers(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check the names and fields of ``CIAM_SOCIAL_PROVIDERS``."""
    if not is_allowed_by_row("CIAM_SOCIAL_PROVIDERS"):
        return
    setting = conf.CIAM_SOCIAL_PROVIDERS
    if not all(isinstance(each, Mapping) for each in setting.get(WECHAT, {}).values()):
        yield check_message(
            "provider",
            "CIAM_SOCIAL_PROVIDERS: 'wechat' is no dict of its registrations.",
            "It must have one or more of the keys 'website', 'in_app', 'mini_program' and 'app', "
            "each with a dict, for example {'website': {'app_id': '...', 'source': '...'}}.",
        )
    for name, entry in provider_entries(setting).items():
        yield from _entry_messages(name, entry)


def _entry_messages(name: str, entry: Mapping[str, Any]) -> Iterator[CheckMessage]:
    place = f"CIAM_SOCIAL_PROVIDERS: {name!r}"
    provider_name = entry.get("provider", name)
    if not isinstance(provider_name, str) or provider_name not in PROVIDERS:
        yield check_message(
            "provider", f"{place} is no provider.", hint_for(provider_name, PROVIDERS)
        )
        return
    for field, value in entry.items():
        if field not in _ENTRY_FIELDS:
            yield check_message(
                "provider", f"{place} has no field {field!r}.", hint_for(field, _ENTRY_FIELDS)
            )
        elif field == "proofs":
            yield from _proof_messages(place, value, PROVIDERS[provider_name].proofs)
        elif field == "native":
            yield from _native_messages(place, value, PROVIDERS[provider_name])
        elif field == "browser_types":
            yield from _browser_type_messages(place, value)
        elif not isinstance(value, Mapping if field == "more" else str | Promise):
            type_name = "a dict" if field == "more" else "a str"
            yield check_message(
                "provider", f"{place}: the {field} is {value!r}.", f"It must be {type_name}."
            )
    yield from _placeholder_messages(place, entry)
    row = provider_of_entry(name, entry)
    needs_url = row is not None and row.has_page and not row.authorize_url
    for field in (*REQUIRED_FIELDS, *(["authorize_url"] if needs_url else [])):
        if not entry.get(field):
            yield check_message(
                "provider",
                f"{place} has no {field}, and is not offered.",
                "'app_id' is your id at the provider, 'source' is the id of CIAM's authentication "
                "source, and 'authorize_url' is the address of the provider's own login page. The "
                f"line in this entry: {field!r}: '...'.",
            )


def _placeholder_messages(place: str, entry: Mapping[str, Any]) -> Iterator[CheckMessage]:
    for field in REQUIRED_FIELDS:
        if is_placeholder(entry.get(field)):
            yield check_message(
                "placeholder",
                f"{place}: the {field} is {entry[field]!r}, which stands for a value in "
                "documentation.",
                "'app_id' must be your id at the provider, 'source' the id of CIAM's "
                "authentication source. Both consoles show them.",
            )


def _proof_messages(place: str, value: object, allowed: Set[str]) -> Iterator[CheckMessage]:
    names_of_list = value if isinstance(value, list | tuple | set | frozenset) else [value, None]
    if not all(isinstance(name, str) and name in allowed for name in names_of_list):
        names = ", ".join(map(repr, sorted(allowed)))
        hint = f"It must be a list of: {names}." if allowed else "The provider takes no proof."
        yield check_message("provider", f"{place}: the proofs are {value!r}.", hint)


def _native_messages(place: str, value: object, row: Provider) -> Iterator[CheckMessage]:
    if not isinstance(value, bool):
        yield check_message(
            "provider", f"{place}: the native is {value!r}.", "It must be True or False."
        )
    elif value and not row.has_native_codes:
        yield check_message(
            "provider",
            f"{place}: the provider gives no code to a native app.",
            "The SDK gives an access token, which must not sign a user in, or there is no SDK. "
            "Remove 'native' from the entry, and let the app open the login page in a browser.",
        )


# --- The OAuth client and the cache of a project with sign-in URLs ----------------------------


def check_login_methods(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check the client that the login methods of ``ciam_django.urls`` need."""
    if not are_urls_included() or not is_allowed_by_row("CIAM_LOGIN_METHODS"):
        return
    methods = set(conf.CIAM_LOGIN_METHODS)
    client = oauth_client()
    needs_api = methods - {HOSTED} or conf.CIAM_SOCIAL_PROVIDERS
    # The check of the OAuth client reports a missing client.
    if needs_api and client is not None and not client.get("api_base_url"):
        yield check_message(
            "client",
            'AUTHLIB_OAUTH_CLIENTS["ciam"] has no api_base_url.',
            "CIAM_LOGIN_METHODS or CIAM_SOCIAL_PROVIDERS need CIAM's API. The line: "
            '"api_base_url": "https://...", the open API domain name of your instance.',
        )


def check_front_ends(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check that Django's CSRF check accepts the origins that django-cors-headers allows.

    With ``CIAM_API_SIGN_IN = "token"``, the JSON endpoints check no CSRF token.
    """
    is_needed = are_urls_included() and apps.is_installed("corsheaders")
    if not is_needed or conf.CIAM_API_SIGN_IN == "token":
        return
    for origin in getattr(settings, "CORS_ALLOWED_ORIGINS", ()):
        if not is_origin_in(str(origin), settings.CSRF_TRUSTED_ORIGINS):
            yield check_message(
                "front end",
                f"CORS_ALLOWED_ORIGINS has {origin!r}, but CSRF_TRUSTED_ORIGINS lacks it.",
                f"If this front end signs users in, add {origin!r} to CSRF_TRUSTED_ORIGINS. "
                "Otherwise, its requests to the JSON endpoints of ciam_django.urls are refused.",
            )


def check_caches(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check the caches of limits, used states, used logout tokens and sessions."""
    if not are_urls_included() or settings.DEBUG:
        return
    if fault := cache_fault("default"):
        yield check_message(
            "cache",
            f"The default cache is {fault}.",
            "A rate limit may then start again too early, and a used callback or logout token may "
            "be accepted again. Use Redis or Memcached. For example: CACHES = {'default': "
            "{'BACKEND': 'django.core.cache.backends.redis.RedisCache', 'LOCATION': 'redis://...'}}.",
        )
    alias = settings.SESSION_CACHE_ALIAS
    if (fault := cache_fault(alias)) and _is_needed_by_sessions(alias):
        yield check_message(
            "cache",
            f"The cache of the sessions, {alias!r}, is {fault}.",
            "Users may then be signed out too early, or stay signed in after CIAM has signed them "
            f"out. Use Redis or Memcached for CACHES[{alias!r}].",
        )


def _is_needed_by_sessions(alias: str) -> bool:
    """Return True if sessions are lost with the cache, or differ in the caches of processes."""
    if f"{_SESSION_ENGINES}.cache" == settings.SESSION_ENGINE:
        return True
    # The database has these sessions, too. But a process that has a copy does not look there.
    is_copied = f"{_SESSION_ENGINES}.cached_db" == settings.SESSION_ENGINE
    backend = settings.CACHES[alias]["BACKEND"]
    return is_copied and is_subclass_path(f"{CACHE_BACKENDS}.locmem.LocMemCache", backend)


def check_private_key(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check that a client that authenticates by ``private_key_jwt`` has a private key."""
    client = oauth_client() or {}
    options = client.get("client_kwargs")
    method = options.get("token_endpoint_auth_method") if isinstance(options, Mapping) else None
    if method == PRIVATE_KEY_JWT and signing_key_of(client.get("client_secret")) is None:
        # The message does not show the value, which can be a secret.
        yield check_message(
            "private key",
            'The client_secret of AUTHLIB_OAUTH_CLIENTS["ciam"] is no private key.',
            "private_key_jwt signs with the client_secret. It must be an RSA or EC key, as PEM or "
            'JWK. For example: "client_secret": Path("ciam.pem").read_text().',
        )


def check_provider_form_actions(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check that the content security policy allows redirects of forms to the social providers."""
    if not are_urls_included() or not is_allowed_by_row("CIAM_SOCIAL_PROVIDERS"):
        return
    if any(check_social_providers(None)):
        return
    for origin in sorted(form_action_origins()):
        for place in policies_without(origin):
            yield check_message(
                "form action",
                f"The form-action of {place} lacks {origin}.",
                f'Add the origin, for example ["\'self\'", "{origin}"]: the form of a social '
                "provider is redirected to this origin.",
            )


def check_qr_sources(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check that the content security policy allows WeChat's script and frame for the QR code."""
    is_needed = are_urls_included() and is_allowed_by_row("CIAM_WECHAT_QR") and conf.CIAM_WECHAT_QR
    if not is_needed or any(check_social_providers(None)):
        return
    for registration in registrations().values():
        row = registration.provider
        for directive, url in (("script-src", row.qr_script), ("frame-src", row.qr_frame)):
            origin = "/".join(url.split("/", 3)[:3])
            for place in policies_without(origin, directive, "default-src") if url else ():
                yield check_message(
                    "form action",
                    f"The {directive} of {place} lacks {origin}.",
                    f'Add the origin, for example ["\'self\'", "{origin}"]: with CIAM_WECHAT_QR, '
                    "the login page shows WeChat's QR code.",
                )


def _browser_type_messages(place: str, value: object) -> Iterator[CheckMessage]:
    names = [str(browser_type) for browser_type in BrowserType]
    if not isinstance(value, list | tuple | set | frozenset) or not set(value) <= set(names):
        yield check_message(
            "provider",
            f"{place}: the browser_types are {value!r}.",
            f"They must be a list of {', '.join(map(repr, names))}.",
        )


# --- The limits, for `manage.py check --deploy` -----------------------------------------------


def check_client_address(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check that the project says where the client's address comes from."""
    setting_names = ("CIAM_SEND_LIMITS", "CIAM_TRY_LIMITS")
    is_counted = any(
        is_allowed_by_row(name) and getattr(conf, name).get("address") for name in setting_names
    )
    if is_counted and not conf.CIAM_CLIENT_IP:
        yield check_message(
            "client address",
            "CIAM_CLIENT_IP is not set. Behind a proxy, all customers would have one address, and "
            "share the limits of one address.",
            "Behind a proxy: 'ciam_django.network.forwarded_for', with the number of your proxies "
            "in CIAM_TRUSTED_PROXIES. Without a proxy: 'ciam_django.network.remote_addr'.",
        )


def check_costs_of_codes(app_configs: object, **kwargs: Any) -> Iterator[CheckMessage]:
    """Check that the settings limit the costs of codes, if a login method sends codes."""
    if not are_urls_included() or not is_allowed_by_row("CIAM_LOGIN_METHODS"):
        return
    # An empty list takes the methods from CIAM, and may have all methods.
    methods = set(conf.CIAM_LOGIN_METHODS or OWN_METHODS)
    senders = {name for name in methods.intersection(OWN_METHODS) if STEPS[name].sends_code}
    if not senders:
        return
    if is_allowed_by_row("CIAM_SEND_LIMITS") and not conf.CIAM_SEND_LIMITS.get("site"):
        yield check_message(
            "site budget",
            "CIAM_SEND_LIMITS has no limit for the whole site.",
            "An attacker with many addresses and numbers can send codes at your expense. Add a "
            "budget, for example three times the codes of your busiest day: "
            "'site': ['500/hour', '2000/day'].",
        )
    if senders != {"email"} and not conf.CIAM_PHONE_REGIONS:
        yield check_message(
            "phone regions",
            "CIAM_PHONE_REGIONS is empty: text messages are sent to all countries.",
            "List the countries of your customers, for example "
            f"[{conf.CIAM_PHONE_REGION!r}]. Text messages to other countries cost more, and "
            "fraudsters earn money with them.",
        )


# The settings with `Fields` in their row -> the check of the fields.
TABLE_CHECKS: Final = {
    "CIAM_ENDPOINTS": check_endpoints,
    "CIAM_SOCIAL_PROVIDERS": check_social_providers,
}

CHECKS: Final = (
    check_phone_region,
    check_user_fields,
    check_endpoints,
    check_social_providers,
    check_login_methods,
    check_caches,
    check_private_key,
    check_provider_form_actions,
    check_qr_sources,
    check_front_ends,
)
DEPLOY_CHECKS: Final = (check_client_address, check_costs_of_codes)
