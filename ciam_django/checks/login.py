"""What is wrong with the settings of signing in: ``manage.py check`` asks, where the views are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final, NamedTuple

import phonenumbers
from django.conf import settings
from django.contrib.auth import get_user_model
from django.utils.module_loading import import_string

from ciam_django.accounts.rate_limits import SCOPES, is_rate
from ciam_django.accounts.users import fields_of
from ciam_django.client.endpoints import ENDPOINTS, Credential, Endpoint
from ciam_django.conf import Conf, conf
from ciam_django.login.providers import (
    OVERRIDABLE,
    PROVIDERS,
    REQUIRED,
    WECHAT,
    origins,
    row_of,
    rows_of,
)
from ciam_django.login.steps.results import FLOW_TYPES
from ciam_django.login.steps.table import STEPS
from ciam_django.login.tenant_config import HOSTED, WAYS

# Caches that no other process sees.
_OF_ONE_PROCESS: Final = ("LocMemCache", "DummyCache")


SlipsOf = Callable[[Any], Iterator["Slip"]]


class Slip(NamedTuple):
    """An id of ``checks.IDS``, what was given, and what is allowed."""

    what: str
    text: str
    hint: str


def _slips_of_methods(value: Any) -> Iterator[Slip]:
    for name in value:
        if name not in (HOSTED, *WAYS):
            yield Slip("way in", f"CIAM_LOGIN_METHODS has {name!r}.", _meant(name, (HOSTED, *WAYS)))
    backend = settings.CACHES["default"]["BACKEND"]
    sends = any(STEPS[name].sends for name in WAYS if name in value)
    if sends and backend.endswith(_OF_ONE_PROCESS) and not settings.DEBUG:
        yield Slip(
            "cache",
            f"The default cache is {backend!r}, which each process has for itself.",
            "Each would count the codes of CIAM_SEND_LIMITS anew: use Redis or Memcached.",
        )


def _slips_of_api_sign_in(value: Any) -> Iterator[Slip]:
    if value not in ("session", "token"):
        yield Slip("way in", f"CIAM_API_SIGN_IN is {value!r}.", "It is to be 'session' or 'token'.")


def _slips_of_flow_types(value: Any) -> Iterator[Slip]:
    for flow_type, name in value.items():
        if name not in FLOW_TYPES.values():
            text = f"CIAM_FLOW_TYPES[{flow_type!r}] is {name!r}."
            yield Slip("step", text, _meant(name, FLOW_TYPES.values()))


def _slips_of_phone_region(value: Any) -> Iterator[Slip]:
    if value not in phonenumbers.SUPPORTED_REGIONS:
        text = f"CIAM_PHONE_REGION is {value!r}."
        yield Slip("phone region", text, "It is to be a country of ISO 3166, such as 'CN'.")


def _slips_of_providers(value: Any) -> Iterator[Slip]:
    if not _has_rows(value.get(WECHAT, {})):
        yield Slip(
            "provider",
            "CIAM_SOCIAL_PROVIDERS: 'wechat' is no dict of its registrations.",
            "It is to have a dict for 'website', 'in_app' or 'mini_program', or for each.",
        )
    for name, given in rows_of(value).items():
        place = f"CIAM_SOCIAL_PROVIDERS: {name!r}"
        row = row_of(name, given)
        if row is None:
            kind = given.get("provider", name)
            yield Slip("provider", f"{place} is no provider.", _meant(kind, PROVIDERS))
            continue
        allowed = [*REQUIRED, *sorted(OVERRIDABLE), "provider"]
        for field in given:
            if field not in allowed:
                yield Slip("provider", f"{place} has no field {field!r}.", _meant(field, allowed))
        needed = [*REQUIRED, *([] if row.authorize_url or not row.has_page else ["authorize_url"])]
        for field in needed:
            if not given.get(field):
                yield Slip(
                    "provider",
                    f"{place} has no {field}, so that it is not offered.",
                    "'app_id' is of the provider's, 'source' is CIAM's authentication source.",
                )


def _slips_of_limits(value: Any) -> Iterator[Slip]:
    for scope, rates in value.items():
        if scope not in SCOPES:
            yield Slip("limit", f"There is a limit for {scope!r}.", _meant(scope, SCOPES))
        for rate in rates:
            if not is_rate(rate):
                text = f"The limit for {scope!r} is {rate!r}."
                yield Slip("limit", text, "It is to be like '1/min', '5/hour' or '10/day'.")


def _slips_of_path(name: str) -> SlipsOf:
    def slips_of_path(value: Any) -> Iterator[Slip]:
        try:
            if value:
                import_string(value)
        except ImportError as error:
            yield Slip("dotted path", f"{name} is {value!r}.", f"{error}.")

    return slips_of_path


def _slips_of_user_fields(value: Any) -> Iterator[Slip]:
    fields = fields_of(get_user_model())
    for name in value:
        # Those of the default need not be there.
        if name not in fields and name not in Conf.CIAM_USER_FIELDS:
            text = (
                f"CIAM_USER_FIELDS has {name!r}, which is no field of {get_user_model().__name__}."
            )
            yield Slip("user field", text, _meant(name, fields))


def _slips_of_endpoints(value: Any) -> Iterator[Slip]:
    fields = Endpoint.__dataclass_fields__
    for name, given in value.items():
        place = f"CIAM_ENDPOINTS[{name!r}]"
        if name not in ENDPOINTS:
            yield Slip("endpoint", f"{place} is no call of CIAM's.", _meant(name, ENDPOINTS))
        for field, each in given.items():
            if field not in fields:
                yield Slip("endpoint", f"{place} has no field {field!r}.", _meant(field, fields))
            elif field == "credential" and each not in list(Credential):
                allowed = f"Allowed: {', '.join(Credential)}."
                yield Slip("endpoint", f"{place}: the credential is {each!r}.", allowed)


# --- All of them ------------------------------------------------------------------------------


def _has_rows(value: Any) -> bool:
    return all(isinstance(each, Mapping) for each in value.values())


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _has_lists(value: Any) -> bool:
    return all(_is_list(each) for each in value.values())


def _is_right(value: Any) -> bool:
    return True


# Setting -> whether it can be read at all, what it is to be, and its slips.
_SETTINGS: Final[Mapping[str, tuple[Callable[[Any], bool], str, SlipsOf]]] = {
    "CIAM_LOGIN_METHODS": (_is_list, "a list of names", _slips_of_methods),
    "CIAM_API_SIGN_IN": (_is_right, "", _slips_of_api_sign_in),
    "CIAM_FLOW_TYPES": (_is_right, "", _slips_of_flow_types),
    "CIAM_PHONE_REGION": (_is_right, "", _slips_of_phone_region),
    "CIAM_SOCIAL_PROVIDERS": (
        _has_rows,
        "a dict with a dict for each provider",
        _slips_of_providers,
    ),
    "CIAM_SEND_LIMITS": (_has_lists, "a dict with a list for each scope", _slips_of_limits),
    "CIAM_TRY_LIMITS": (_has_lists, "a dict with a list for each scope", _slips_of_limits),
    "CIAM_CLIENT_IP": (_is_right, "", _slips_of_path("CIAM_CLIENT_IP")),
    "CIAM_NEW_USER": (_is_right, "", _slips_of_path("CIAM_NEW_USER")),
    "CIAM_USER_FIELDS": (_has_lists, "a dict with a list for each field", _slips_of_user_fields),
    "CIAM_ENDPOINTS": (_has_rows, "a dict with a dict for each call", _slips_of_endpoints),
}


def slips(
    sender: object,
    is_well_typed: Callable[[str], bool],
    is_in_policy: Callable[[str], bool],
    **kwargs: Any,
) -> Iterator[Slip]:
    """Everything that is wrong in the settings that are of their type."""
    for name, (can_be_read, wanted, slips_of) in _SETTINGS.items():
        value = getattr(conf, name)
        if not is_well_typed(name):
            continue
        if can_be_read(value):
            yield from slips_of(value)
        else:
            yield Slip("type", f"{name} is {value!r}.", f"It is to be {wanted}.")
    if all(map(is_well_typed, ("CIAM_LOGIN_METHODS", "CIAM_SOCIAL_PROVIDERS"))):
        yield from _slips_of_client()
        for origin in sorted(origins()):
            if not is_in_policy(origin):
                yield Slip(
                    "form action",
                    f"The form-action of SECURE_CSP lacks {origin}.",
                    "Add it: the form of a social provider is redirected there.",
                )


def _slips_of_client() -> Iterator[Slip]:
    """What the ways in need of the OAuth client, whose own check tells of any other slip."""
    clients = getattr(settings, "AUTHLIB_OAUTH_CLIENTS", None)
    client = clients.get("ciam") if isinstance(clients, Mapping) else None
    needs_api = set(conf.CIAM_LOGIN_METHODS) - {HOSTED} or conf.CIAM_SOCIAL_PROVIDERS
    if needs_api and isinstance(client, Mapping) and not client.get("api_base_url"):
        yield Slip(
            "client",
            'AUTHLIB_OAUTH_CLIENTS["ciam"] has no api_base_url.',
            "CIAM_LOGIN_METHODS or CIAM_SOCIAL_PROVIDERS have what CIAM's API does.",
        )


def _meant(given: object, allowed: Iterable[str] | Mapping[str, object]) -> str:
    names = list(allowed)
    close = get_close_matches(str(given), names, n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Allowed: {', '.join(names)}."
