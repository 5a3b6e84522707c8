"""The settings: each with its type, its default and what it does."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from django.conf import settings
from django.core.signals import setting_changed

P = ParamSpec("P")
T = TypeVar("T")

_cache_clearers: list[Callable[[], None]] = []


def cached_until_settings_change(function: Callable[P, T]) -> Callable[P, T]:
    """``functools.cache`` until a setting changes: for what is worked out from settings."""
    cached = functools.lru_cache(maxsize=2048)(function)
    _cache_clearers.append(cached.cache_clear)
    return cast("Callable[P, T]", cached)


class Conf:
    """Django's settings with our defaults, read at use and remembered until one changes."""

    CIAM_ERROR_OVERRIDES: Mapping[str, str | Mapping[str, Any]] = {}
    """Your words for a code or a family: a text, or the row's fields to replace."""

    CIAM_GENERIC_ERRORS: bool = True
    """Whether anonymous people are kept from learning which accounts exist."""

    CIAM_UPSTREAM_STATUS: int = 503
    """The status when CIAM itself fails; edges tend to replace the bodies of 502 and 504."""

    CIAM_ACTION_URLS: Mapping[str, str] = {}
    """Where an action leads: action -> URL, path or URL name."""

    CIAM_SUPPORT_URL: str = ""
    """Where ``contact_support`` leads: an https or mailto URL, a path or a URL name."""

    CIAM_RETRY_AFTER: int = 60
    """Seconds to wait after a rate limit for which CIAM gives no time; 0 for none."""

    CIAM_TIMEOUT: float = 10.0
    """Seconds that a call to CIAM may take, from connecting to the last byte."""

    CIAM_ENDPOINTS: Mapping[str, Mapping[str, Any]] = {}
    """Fields of ``client/endpoints.py`` to replace: name -> ``path``, ``method``, ..."""

    CIAM_STALE_LIMIT: int = 86400
    """Seconds for which CIAM's metadata and keys serve while it can't be reached."""

    CIAM_HANDLE_AUTHLIB_ERRORS: bool = True
    """Whether the doors answer errors of Authlib's client from your own views, too."""

    CIAM_DRF_FALLBACK_HANDLER: str = "rest_framework.views.exception_handler"
    """The REST framework handler of every other exception, as a dotted path."""

    CIAM_LOGIN_METHODS: Sequence[str] = ("hosted",)
    """What the login page offers: ``hosted`` (CIAM's own page), ``password``, ``sms``, ``email``,
    ``recover`` and ``sign_up``, in your order; empty: what CIAM's configuration says."""

    CIAM_SOCIAL_PROVIDERS: Mapping[str, Mapping[str, Any]] = {}
    """Name of ``login/providers.py`` -> your ``app_id`` there and CIAM's ``source`` for it."""

    CIAM_API_SIGN_IN: str = "session"
    """What signing in as JSON gives: a Django ``session``, or CIAM's ``token``."""

    CIAM_BEARER: str = "check"
    """Who proves a bearer token: CIAM, which is asked (``check``), or its signature (``jwt``)."""

    CIAM_BEARER_SECONDS: int = 30
    """Seconds for which it is remembered that a bearer token was good; 0: not at all."""

    CIAM_BEARER_AUDIENCES: Sequence[str] = ()
    """Whose bearer tokens are let in besides those for your own client id; ``*``: anybody's."""

    CIAM_FLOW_TYPES: Mapping[str, str] = {}
    """Your tenant's name of a step that follows -> ``second_factor``, ``new_password``, ..."""

    CIAM_USER_FIELDS: Mapping[str, Sequence[str]] = {
        "first_name": ("given_name", "name", "displayName"),
        "last_name": ("family_name",),
        "email": ("email",),
    }
    """Field of a new user -> the claims that it is taken from, the first that CIAM tells."""

    CIAM_NEW_USER: str = ""
    """Your function ``(person) -> user``, as a dotted path, which makes and saves new users."""

    CIAM_KEEP_TOKENS: bool = True
    """Whether a session keeps CIAM's tokens, and is renewed with them."""

    CIAM_SESSION_CHECK: int = 300
    """Seconds after which a session asks CIAM whether the person may still be here; 0: never."""

    CIAM_PHONE_REGION: str = "CN"
    """Of which country a mobile number is that does not say so: two letters of ISO 3166."""

    CIAM_SEND_LIMITS: Mapping[str, Sequence[str]] = {
        "receiver": ("1/min", "5/hour", "10/day"),
        "visitor": ("10/hour", "20/day"),
        "address": ("60/hour", "300/day"),
    }
    """How many codes are sent to a ``receiver``, for a ``visitor`` and for a client ``address``."""

    CIAM_TRY_LIMITS: Mapping[str, Sequence[str]] = {
        "receiver": ("10/min", "30/hour"),
        "visitor": ("20/min", "100/hour"),
        "address": ("60/min", "600/hour"),
    }
    """How many passwords and codes can be tried; a right one counts for nothing."""

    CIAM_CLIENT_IP: str = ""
    """Your function ``(request) -> str``, as a dotted path; empty: ``REMOTE_ADDR``."""

    CIAM_CALLBACK_URL: str = ""
    """The absolute URL of ``ciam:callback`` as registered with CIAM; empty: the request's."""

    CIAM_PROBLEM_TYPE_URL: str = ""
    """The JSON body's ``type``, with ``{kind}`` filled in; empty: ``about:blank``."""

    CIAM_BASE_TEMPLATE: str = ""
    """Your own base template, with a block ``content``, for our pages; empty: they stand alone."""

    if not TYPE_CHECKING:  # pragma: no branch

        def __getattribute__(self, name: str) -> Any:
            return (
                _setting_value(name) if name.startswith("CIAM_") else super().__getattribute__(name)
            )

    def setting_names(self) -> Sequence[str]:
        """The names of all settings."""
        return [name for name in vars(Conf) if name.startswith("CIAM_")]


@cached_until_settings_change
def _setting_value(name: str) -> Any:
    return getattr(settings, name, getattr(Conf, name))


conf = Conf()


def clear_settings_caches(**kwargs: object) -> None:
    """Read the settings anew, and what was worked out from them."""
    for clear in _cache_clearers:
        clear()


setting_changed.connect(clear_settings_caches, dispatch_uid="ciam_django.conf")
