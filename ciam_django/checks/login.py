"""What is wrong with the settings of signing in: ``manage.py check`` asks, where the views are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final, NamedTuple

import phonenumbers
from django.conf import settings
from django.contrib.auth import get_user_model
from django.utils.module_loading import import_string

from ciam_django.accounts.rate_limits import LIMIT_KEYS, is_rate
from ciam_django.accounts.users import fillable_fields
from ciam_django.client.endpoints import ENDPOINTS, Credential, Endpoint
from ciam_django.conf import Conf, conf
from ciam_django.login.providers import (
    OVERRIDABLE_FIELDS,
    PROVIDERS,
    REQUIRED_FIELDS,
    WECHAT,
    form_action_origins,
    provider_entries,
    provider_of_entry,
)
from ciam_django.login.steps.results import FLOW_TYPES
from ciam_django.login.steps.table import STEPS
from ciam_django.login.tenant_config import HOSTED, OWN_METHODS

# Caches that no other process sees.
_PER_PROCESS_CACHES: Final = ("LocMemCache", "DummyCache")


ProblemsOf = Callable[[Any], Iterator["Problem"]]


class Problem(NamedTuple):
    """An id of ``checks.IDS``, what was given, and what is allowed."""

    check_name: str
    message: str
    hint: str


def _method_problems(value: Any) -> Iterator[Problem]:
    for name in value:
        if name not in (HOSTED, *OWN_METHODS):
            yield Problem(
                "way in",
                f"CIAM_LOGIN_METHODS has {name!r}.",
                hint_for(name, (HOSTED, *OWN_METHODS)),
            )
    backend = settings.CACHES["default"]["BACKEND"]
    sends = any(STEPS[name].sends_code for name in OWN_METHODS if name in value)
    if sends and backend.endswith(_PER_PROCESS_CACHES) and not settings.DEBUG:
        yield Problem(
            "cache",
            f"The default cache is {backend!r}, which each process has for itself.",
            "Each would count the codes of CIAM_SEND_LIMITS anew: use Redis or Memcached.",
        )


def _api_sign_in_problems(value: Any) -> Iterator[Problem]:
    if value not in ("session", "token"):
        yield Problem(
            "way in", f"CIAM_API_SIGN_IN is {value!r}.", "It is to be 'session' or 'token'."
        )


def _flow_type_problems(value: Any) -> Iterator[Problem]:
    for flow_type, name in value.items():
        if name not in FLOW_TYPES.values():
            text = f"CIAM_FLOW_TYPES[{flow_type!r}] is {name!r}."
            yield Problem("step", text, hint_for(name, FLOW_TYPES.values()))


def _phone_region_problems(value: Any) -> Iterator[Problem]:
    if value not in phonenumbers.SUPPORTED_REGIONS:
        text = f"CIAM_PHONE_REGION is {value!r}."
        yield Problem("phone region", text, "It is to be a country of ISO 3166, such as 'CN'.")


def _provider_problems(value: Any) -> Iterator[Problem]:
    if not _is_dict_of_dicts(value.get(WECHAT, {})):
        yield Problem(
            "provider",
            "CIAM_SOCIAL_PROVIDERS: 'wechat' is no dict of its registrations.",
            "It is to have a dict for 'website', 'in_app' or 'mini_program', or for each.",
        )
    for name, given in provider_entries(value).items():
        place = f"CIAM_SOCIAL_PROVIDERS: {name!r}"
        row = provider_of_entry(name, given)
        if row is None:
            kind = given.get("provider", name)
            yield Problem("provider", f"{place} is no provider.", hint_for(kind, PROVIDERS))
            continue
        allowed = [*REQUIRED_FIELDS, *sorted(OVERRIDABLE_FIELDS), "provider"]
        for field in given:
            if field not in allowed:
                yield Problem(
                    "provider", f"{place} has no field {field!r}.", hint_for(field, allowed)
                )
        needed = [
            *REQUIRED_FIELDS,
            *([] if row.authorize_url or not row.has_page else ["authorize_url"]),
        ]
        for field in needed:
            if not given.get(field):
                yield Problem(
                    "provider",
                    f"{place} has no {field}, so that it is not offered.",
                    "'app_id' is of the provider's, 'source' is CIAM's authentication source.",
                )


def _limit_problems(value: Any) -> Iterator[Problem]:
    for scope, rates in value.items():
        if scope not in LIMIT_KEYS:
            yield Problem("limit", f"There is a limit for {scope!r}.", hint_for(scope, LIMIT_KEYS))
        for rate in rates:
            if not is_rate(rate):
                text = f"The limit for {scope!r} is {rate!r}."
                yield Problem("limit", text, "It is to be like '1/min', '5/hour' or '10/day'.")


def _path_problems(name: str) -> ProblemsOf:
    def slips_of_path(value: Any) -> Iterator[Problem]:
        try:
            if value:
                import_string(value)
        except ImportError as error:
            yield Problem("dotted path", f"{name} is {value!r}.", f"{error}.")

    return slips_of_path


def _user_field_problems(value: Any) -> Iterator[Problem]:
    fields = fillable_fields(get_user_model())
    for name in value:
        # Those of the default need not be there.
        if name not in fields and name not in Conf.CIAM_USER_FIELDS:
            text = (
                f"CIAM_USER_FIELDS has {name!r}, which is no field of {get_user_model().__name__}."
            )
            yield Problem("user field", text, hint_for(name, fields))


def _endpoint_problems(value: Any) -> Iterator[Problem]:
    fields = Endpoint.__dataclass_fields__
    for name, given in value.items():
        place = f"CIAM_ENDPOINTS[{name!r}]"
        if name not in ENDPOINTS:
            yield Problem("endpoint", f"{place} is no call of CIAM's.", hint_for(name, ENDPOINTS))
        for field, each in given.items():
            if field not in fields:
                yield Problem(
                    "endpoint", f"{place} has no field {field!r}.", hint_for(field, fields)
                )
            elif field == "credential" and each not in list(Credential):
                allowed = f"Allowed: {', '.join(Credential)}."
                yield Problem("endpoint", f"{place}: the credential is {each!r}.", allowed)


# --- All of them ------------------------------------------------------------------------------


def _is_dict_of_dicts(value: Any) -> bool:
    return all(isinstance(each, Mapping) for each in value.values())


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _is_dict_of_lists(value: Any) -> bool:
    return all(_is_list(each) for each in value.values())


def _is_any_value(value: Any) -> bool:
    return True


# Setting -> whether it can be read at all, what it is to be, and its slips.
_SETTINGS: Final[Mapping[str, tuple[Callable[[Any], bool], str, ProblemsOf]]] = {
    "CIAM_LOGIN_METHODS": (_is_list, "a list of names", _method_problems),
    "CIAM_API_SIGN_IN": (_is_any_value, "", _api_sign_in_problems),
    "CIAM_FLOW_TYPES": (_is_any_value, "", _flow_type_problems),
    "CIAM_PHONE_REGION": (_is_any_value, "", _phone_region_problems),
    "CIAM_SOCIAL_PROVIDERS": (
        _is_dict_of_dicts,
        "a dict with a dict for each provider",
        _provider_problems,
    ),
    "CIAM_SEND_LIMITS": (_is_dict_of_lists, "a dict with a list for each scope", _limit_problems),
    "CIAM_TRY_LIMITS": (_is_dict_of_lists, "a dict with a list for each scope", _limit_problems),
    "CIAM_CLIENT_IP": (_is_any_value, "", _path_problems("CIAM_CLIENT_IP")),
    "CIAM_NEW_USER": (_is_any_value, "", _path_problems("CIAM_NEW_USER")),
    "CIAM_USER_FIELDS": (
        _is_dict_of_lists,
        "a dict with a list for each field",
        _user_field_problems,
    ),
    "CIAM_ENDPOINTS": (_is_dict_of_dicts, "a dict with a dict for each call", _endpoint_problems),
}


def check_login_settings(
    sender: object,
    is_well_typed: Callable[[str], bool],
    is_in_policy: Callable[[str], bool],
    **kwargs: Any,
) -> Iterator[Problem]:
    """Everything that is wrong in the settings that are of their type."""
    for name, (is_readable, wanted, problems_of) in _SETTINGS.items():
        value = getattr(conf, name)
        if not is_well_typed(name):
            continue
        if is_readable(value):
            yield from problems_of(value)
        else:
            yield Problem("type", f"{name} is {value!r}.", f"It is to be {wanted}.")
    if all(map(is_well_typed, ("CIAM_LOGIN_METHODS", "CIAM_SOCIAL_PROVIDERS"))):
        yield from _client_problems()
        for origin in sorted(form_action_origins()):
            if not is_in_policy(origin):
                yield Problem(
                    "form action",
                    f"The form-action of SECURE_CSP lacks {origin}.",
                    "Add it: the form of a social provider is redirected there.",
                )


def _client_problems() -> Iterator[Problem]:
    """What the ways in need of the OAuth client, whose own check tells of any other slip."""
    clients = getattr(settings, "AUTHLIB_OAUTH_CLIENTS", None)
    client = clients.get("ciam") if isinstance(clients, Mapping) else None
    needs_api = set(conf.CIAM_LOGIN_METHODS) - {HOSTED} or conf.CIAM_SOCIAL_PROVIDERS
    if needs_api and isinstance(client, Mapping) and not client.get("api_base_url"):
        yield Problem(
            "client",
            'AUTHLIB_OAUTH_CLIENTS["ciam"] has no api_base_url.',
            "CIAM_LOGIN_METHODS or CIAM_SOCIAL_PROVIDERS have what CIAM's API does.",
        )


def hint_for(given: object, allowed: Iterable[str] | Mapping[str, object]) -> str:
    names = list(allowed)
    close = get_close_matches(str(given), names, n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Allowed: {', '.join(names)}."
