"""Define the settings: each row has a default, the allowed values and one sentence.

The type, the check of ``manage.py check`` and ``docs/settings.md`` come from the row. A new setting
is a new row of ``Conf``.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, Generic, ParamSpec, Self, TypeVar, overload

from django.conf import settings
from django.utils.functional import Promise, empty

P = ParamSpec("P")
T = TypeVar("T")


@functools.cache
def rate_format() -> re.Pattern[str]:
    """Return the pattern of a rate, such as ``5/hour``, which the first rate compiles."""
    return re.compile(r"(\d{1,6})/(s|min|hour|day)")


# --- Allowed values ---------------------------------------------------------------------------


class Allowed(Generic[T]):
    """The values that a setting, or a part of a setting, may have.

    ``check`` is the key of ``checks.messages.CHECK_IDS`` for a value that is not allowed.
    ``checks/messages.py`` has a function for each subclass, which judges a value.
    """

    type_name: ClassVar[str]
    types: ClassVar[tuple[type, ...]]
    excluded_types: ClassVar[tuple[type, ...]] = ()

    # A plain class: a dataclass would add half a millisecond to each import of the entry points.
    def __init__(self, *, check: str = "type") -> None:
        self.check = check

    @property
    def words(self) -> str:
        """The allowed values in words."""
        return f"any {self.type_name}"

    def is_of_type(self, value: object) -> bool:
        """Return True if the value has the right type."""
        return isinstance(value, self.types) and not isinstance(value, self.excluded_types)


class Flag(Allowed[bool]):
    """``True`` or ``False``."""

    type_name = "bool"
    types = (bool,)

    @property
    def words(self) -> str:
        """The allowed values in words."""
        return "True or False"


class Integer(Allowed[int]):
    """A whole number in a range, both ends included."""

    type_name = "int"
    types = (int,)
    excluded_types = (bool,)

    def __init__(self, low: int, high: int, *, check: str = "range") -> None:
        super().__init__(check=check)
        self.low, self.high = low, high

    @property
    def words(self) -> str:
        """The allowed values in words."""
        return f"{self.low} to {self.high}"


class Number(Allowed[float]):
    """A number in a range, both ends included."""

    type_name = "float"
    types = (float, int)
    excluded_types = (bool,)

    def __init__(self, low: float, high: float, *, check: str = "range") -> None:
        super().__init__(check=check)
        self.low, self.high = low, high

    @property
    def words(self) -> str:
        """The allowed values in words."""
        return f"{self.low} to {self.high}"


class Text(Allowed[str]):
    """Any text."""

    type_name = "str"
    types = (str,)


class Choice(Text):
    """A name of a fixed list."""

    def __init__(self, names: tuple[str, ...], *, check: str) -> None:
        super().__init__(check=check)
        self.names = names

    @property
    def words(self) -> str:
        """The allowed values in words."""
        return f"one of: {', '.join(map(repr, self.names))}"


class Target(Text):
    """The target of a link: a URL, a path or the name of a URL pattern."""

    def __init__(self, *, check: str = "address") -> None:
        super().__init__(check=check)

    @property
    def words(self) -> str:
        """The allowed values in words."""
        return (
            "an http, https, mailto or tel URL, a path that begins with /, or the name of a URL "
            "pattern"
        )


class AbsoluteUrl(Text):
    """A URL with scheme and host, or the empty text."""

    def __init__(self, *, check: str = "address") -> None:
        super().__init__(check=check)

    @property
    def words(self) -> str:
        """The allowed values in words."""
        return "an absolute URL, such as 'https://example.com/ciam/callback/'"


class UserText(Allowed[Any]):
    """A text for users, which can be lazy, or a dict of language code -> text."""

    type_name = "str | dict"
    types = (str, Promise, Mapping)

    @property
    def words(self) -> str:
        """The allowed values in words."""
        return "a text, a lazy text, or texts by language code ({'zh-hans': '…'})"


class DottedPath(Text):
    """The dotted path of a function, or the empty text; only checked if ``app`` is installed."""

    def __init__(self, app: str = "ciam_django", *, check: str = "dotted path") -> None:
        super().__init__(check=check)
        self.app = app

    @property
    def words(self) -> str:
        """The allowed values in words."""
        return "the dotted path of a function, such as 'shop.ciam.function'"


class Template(Text):
    """The name of a template, or the empty text."""

    def __init__(self, *, check: str = "template") -> None:
        super().__init__(check=check)

    @property
    def words(self) -> str:
        """The allowed values in words."""
        return "the name of a template that has a block 'content'"


class PhoneRegion(Text):
    """A country code; ``checks/login.py`` has the list of the countries with phone numbers."""

    def __init__(self, *, check: str = "phone region") -> None:
        super().__init__(check=check)

    @property
    def words(self) -> str:
        """The allowed values in words."""
        return "a country of ISO 3166, such as 'CN'"


class Rate(Text):
    """A number of times per unit of time."""

    def __init__(self, *, check: str = "limit") -> None:
        super().__init__(check=check)

    @property
    def words(self) -> str:
        """The allowed values in words."""
        return "a rate, such as '10/s', '1/min', '5/hour' or '10/day'"


class ListOf(Allowed[Sequence[T]]):
    """A list or tuple of items."""

    type_name = "list"
    types = (Sequence,)
    excluded_types = (str, bytes)

    def __init__(self, items: Allowed[T], *, check: str = "type") -> None:
        super().__init__(check=check)
        self.items = items

    @property
    def words(self) -> str:
        """The allowed values in words."""
        return f"a list of items; an item: {self.items.words}"


class DictOf(Allowed[Mapping[str, T]]):
    """A dict of values by name."""

    type_name = "dict"
    types = (Mapping,)

    def __init__(
        self, values: Allowed[T], keys: Allowed[str] | None = None, *, check: str = "type"
    ) -> None:
        super().__init__(check=check)
        self.values, self.keys = values, keys or Text()

    @property
    def words(self) -> str:
        """The allowed values in words."""
        return f"a dict; a key: {self.keys.words}; a value: {self.values.words}"


class Fields(Allowed[Mapping[str, Any]]):
    """A dict whose content a table of another module judges.

    ``checks.settings.TABLE_CHECKS`` or ``checks.login.TABLE_CHECKS`` names the function.
    """

    type_name = "dict"
    types = (Mapping,)

    def __init__(self, content: str, *, check: str = "type") -> None:
        super().__init__(check=check)
        self.content = content

    @property
    def words(self) -> str:
        """The allowed values in words."""
        return f"a dict of {self.content}"


# --- Reading ----------------------------------------------------------------------------------

# Each read of an attribute of `settings` runs Python code of Django, and a missing attribute
# raises twice. Such a read is twenty times as slow as a read from the object that `settings` wraps.
# Plain assignment, `del` and `override_settings` all change this object or replace it.
_lazy_settings: Final[dict[str, Any]] = object.__getattribute__(settings, "__dict__")
_MISSING: Final = object()

_cache_clearers: list[Callable[[], None]] = []


class Setting(Generic[T]):
    """A row of the table of settings: reads the setting at each use, and has its default."""

    name: str

    def __init__(self, default: T, allowed: Allowed[T], description: str) -> None:
        self.default = default
        self.allowed = allowed
        self.description = description

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object, owner: type) -> Self | T:
        """Return the row from the class ``Conf``; return the value of the setting from ``conf``."""
        if instance is None:
            return self
        source = _lazy_settings["_wrapped"]
        # Django loads the settings when `settings` is read the first time.
        value: T = getattr(settings if source is empty else source, self.name, self.default)
        return value


def cached_until_settings_change(
    *names: str,
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Make a decorator that caches results until one of the named settings changes.

    ``names`` are all settings that the results depend on, including Django's settings. Each call
    compares the setting objects by identity. A change inside a dict or list is not noticed.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        def new_state(
            values: Sequence[object],
        ) -> tuple[Sequence[tuple[str, object]], Callable[P, T]]:
            cached = functools.lru_cache(maxsize=2048)(function)
            pairs = tuple(zip(names, values, strict=True))
            return pairs, cached  # type: ignore[return-value]  # typeshed's cache has no P

        # One tuple, so that a thread never sees new values with an old cache. The tuple refers to
        # the old values, so no new object has the identity of an old value.
        state = new_state([_MISSING] * len(names))

        @functools.wraps(function)
        def cached_function(*args: P.args, **kwargs: P.kwargs) -> T:
            nonlocal state
            pairs, cached = state
            source = _lazy_settings["_wrapped"]
            for name, value in pairs:
                if getattr(source, name, _MISSING) is not value:
                    state = new_state([getattr(source, name, _MISSING) for name in names])
                    _, cached = state
                    break
            return cached(*args, **kwargs)

        def clear() -> None:
            nonlocal state
            state = new_state([_MISSING] * len(names))

        _cache_clearers.append(clear)
        return cached_function

    return decorate


def is_set_by_project(name: str) -> bool:
    """Return True if the project sets one of Django's settings, and does not use the default."""
    # Django's settings have the method, and the plugin of mypy takes the name for a setting.
    return bool(settings.is_overridden(name))  # type: ignore[misc]  # see above


def clear_settings_caches() -> None:
    """Delete the cached results of all functions with ``cached_until_settings_change``."""
    for clear in _cache_clearers:
        clear()


# --- The settings -----------------------------------------------------------------------------


class Conf:
    """All settings of the package; ``conf.CIAM_…`` is the value of a setting."""

    __slots__ = ()

    CIAM_ERROR_OVERRIDES = Setting(
        {},
        Fields("texts, or dicts of the row's fields, by code or family"),
        "Replaces the text or other fields of a code or a family of codes.",
    )
    CIAM_GENERIC_ERRORS = Setting(
        True,
        Flag(),
        "Gives users who sign in generic answers, which do not tell if an account exists.",
    )
    CIAM_UPSTREAM_STATUS = Setting(
        503,
        Integer(500, 599),
        "The HTTP status of the answer if CIAM fails; a proxy may replace the body of a 502 or "
        "504.",
    )
    CIAM_ACTION_URLS = Setting(
        {},
        DictOf(
            Target(),
            Choice(
                (
                    "none",
                    "retry",
                    "wait",
                    "login",
                    "restart",
                    "resend_code",
                    "change_input",
                    "reset_password",
                    "use_another_method",
                    "complete_profile",
                    "bind_account",
                    "give_consent",
                    "solve_captcha",
                    "contact_support",
                ),
                check="action",
            ),
        ),
        "The link of each action: a URL, a path or the name of a URL pattern.",
    )
    CIAM_SUPPORT_URL = Setting(
        "",
        Target(),
        "The link of the action `contact_support`: a URL, a path or the name of a URL pattern.",
    )
    CIAM_HOME_URL = Setting(
        "/",
        Target(),
        "The link to the home page on the pages of failures: a URL, a path or the name of a URL "
        "pattern.",
    )
    CIAM_RETRY_AFTER = Setting(
        60,
        Integer(0, 3600),
        "The seconds to wait after a rate limit if CIAM sends no time; 0 means no time.",
    )
    CIAM_TIMEOUT = Setting(
        10.0,
        Number(0.1, 120),
        "The time limit in seconds of a call to CIAM, and of all calls of one sign-in request.",
    )
    CIAM_MAX_CALLS = Setting(
        6,
        Integer(1, 1000),
        "The largest number of calls to CIAM that one process makes at the same time, which must "
        "be below the number of its threads; a further call waits for at most a second, and then "
        "fails.",
    )
    CIAM_HEALTH = Setting(
        False,
        Flag(),
        "Serves `ciam:health`, which tells load balancers if a process can serve sign-ins.",
    )
    CIAM_ENDPOINTS = Setting(
        {},
        DictOf(Fields("fields of an `Endpoint`")),
        "Replaces fields of a row of `client/endpoints.py`, such as `path` or `method`.",
    )
    CIAM_STALE_LIMIT = Setting(
        86400,
        Integer(3600, 2592000),
        "The seconds for which cached metadata and keys are used while CIAM is down.",
    )
    CIAM_HANDLE_AUTHLIB_ERRORS = Setting(
        True,
        Flag(),
        "Answers the errors of Authlib's client that your own views raise.",
    )
    CIAM_DRF_FALLBACK_HANDLER = Setting(
        "rest_framework.views.exception_handler",
        DottedPath(app="rest_framework"),
        "The REST framework exception handler for all other exceptions.",
    )
    CIAM_LOGIN_METHODS = Setting(
        ("hosted",),
        ListOf(
            Choice(
                ("hosted", "password", "sms", "email", "recover", "sign_up"), check="login method"
            )
        ),
        "The login methods on the login page, in this order; `hosted` is CIAM's own page, and an "
        "empty list takes the methods from CIAM's login page configuration.",
    )
    CIAM_SOCIAL_PROVIDERS = Setting(
        {},
        DictOf(Fields("fields of the registration")),
        "The social providers on the login page, by name; `login/providers.py` lists the names, "
        "and each provider needs your `app_id` at the provider and CIAM's `source`.",
    )
    CIAM_WECHAT_QR = Setting(
        False,
        Flag(),
        "Shows WeChat's QR code inside the login page on desktops; the page then loads WeChat's "
        "script, and your content security policy must allow the script and its frame.",
    )
    CIAM_CONSENT_BEFORE = Setting(
        ("social", "hosted"),
        ListOf(Choice(("social", "hosted", "mini_program"), check="login method")),
        "The ways to sign in that need the user's consent to the required terms: social providers, "
        "CIAM's own page (`hosted`) if the login page also offers another way, and the mini "
        "program's steps that send a phone number or user info; forms always need the consent, and "
        "an empty list is for a front end that asks the user itself.",
    )
    CIAM_API_SIGN_IN = Setting(
        "session",
        Choice(("session", "token"), check="login method"),
        "The result of a sign-in through the JSON endpoints: a Django session or CIAM's tokens.",
    )
    CIAM_BEARER = Setting(
        "check",
        Choice(("check", "jwt"), check="bearer"),
        "The method that verifies a bearer token: a call to CIAM (`check`) or the signature "
        "(`jwt`).",
    )
    CIAM_BEARER_SECONDS = Setting(
        30,
        Integer(0, 300),
        "The seconds for which a valid bearer token is not verified again; 0 verifies the token "
        "in each request.",
    )
    CIAM_BEARER_AUDIENCES = Setting(
        (),
        ListOf(Text()),
        "The audiences that a bearer token may have besides your client id; `*` accepts any "
        "audience, and tokens without an audience.",
    )
    CIAM_FLOW_TYPES = Setting(
        {},
        DictOf(
            Choice(("second_factor", "new_password", "consent", "profile", "link"), check="step")
        ),
        "The step for each `flowType` of your tenant.",
    )
    CIAM_PROFILE_OPTIONS = Setting(
        {},
        DictOf(
            ListOf(Text()),
            Choice(("gender", "country", "province", "city", "region"), check="type"),
        ),
        "The values that users can select for a missing detail, by CIAM's name of the detail; the "
        "default is the list that CIAM sends, and `female` and `male` for `gender`.",
    )
    CIAM_USER_FIELDS = Setting(
        {
            "first_name": ("given_name", "name", "displayName"),
            "last_name": ("family_name",),
            "email": ("email",),
        },
        DictOf(ListOf(Text())),
        "The claims for each field of a new user; the field takes the first claim that has a "
        "value.",
    )
    CIAM_VERIFIED_CLAIMS = Setting(
        (),
        ListOf(Choice(("email", "phone_number", "phoneNumber"), check="verified claim")),
        "The claims that your tenant verifies although CIAM does not say so; without "
        "`email_verified: true`, a new user has no email address.",
    )
    CIAM_NEW_USER = Setting(
        "",
        DottedPath(),
        "The dotted path of your function `(person) -> user`, which creates and saves a new user.",
    )
    CIAM_KEEP_TOKENS = Setting(
        True,
        Flag(),
        "Stores CIAM's tokens on the server and refreshes the session with the tokens.",
    )
    CIAM_SESSION_CHECK = Setting(
        300,
        Integer(0, 86400),
        "The seconds between two checks of a session's token at CIAM; 0 disables the checks.",
    )
    CIAM_PHONE_REGION = Setting(
        "CN",
        PhoneRegion(),
        "The country of a phone number without a country code, as two letters of ISO 3166.",
    )
    CIAM_PHONE_REGIONS = Setting(
        (),
        ListOf(PhoneRegion()),
        "The countries whose phone numbers get text messages, as two letters of ISO 3166; an empty "
        "list allows all countries, but no numbers without a country, such as satellite phones.",
    )
    CIAM_SEND_LIMITS = Setting(
        {
            "receiver": ("1/min", "5/hour", "10/day"),
            "visitor": ("10/hour", "20/day"),
            "address": ("60/hour", "300/day"),
        },
        DictOf(ListOf(Rate()), Choice(("receiver", "visitor", "address", "site"), check="limit")),
        "The rate limits of sent codes, per recipient (`receiver`), browser (`visitor`), client "
        "address (`address`), and for all clients together (`site`).",
    )
    CIAM_TRY_LIMITS = Setting(
        {
            "receiver": ("10/min", "30/hour"),
            "visitor": ("20/min", "100/hour"),
            "address": ("60/min", "600/hour"),
        },
        DictOf(ListOf(Rate()), Choice(("receiver", "visitor", "address", "site"), check="limit")),
        "The rate limits of wrong passwords, codes, callbacks and bearer tokens, per account "
        "(`receiver`), browser (`visitor`), client address (`address`), and for all clients "
        "together (`site`).",
    )
    CIAM_PASSWORD_HINT = Setting[Any](
        "",
        UserText(),
        "The rule that CIAM has for new passwords; users read the rule before they choose a "
        "password, and CIAM checks the password.",
    )
    CIAM_CAPTCHA_AFTER = Setting(
        3,
        Integer(0, 100),
        "The number of failed passwords of a name in a day, after which the name needs a CAPTCHA,"
        " even if there is no such account; at most CIAM's own number, or 0 for no CAPTCHA"
        " of ours; while CIAM gives no CAPTCHA, no name needs one.",
    )
    CIAM_CLIENT_IP = Setting(
        "",
        DottedPath(),
        "The dotted path of a function `(request) -> str`, which returns the client's address: "
        "`ciam_django.network.forwarded_for` behind proxies, `ciam_django.network.remote_addr` "
        "without a proxy, or your own; the default is `REMOTE_ADDR`.",
    )
    CIAM_TRUSTED_PROXIES = Setting(
        1,
        Integer(1, 10),
        "The number of your proxies that append an address to `X-Forwarded-For`, for "
        "`ciam_django.network.forwarded_for`.",
    )
    CIAM_CALLBACK_URL = Setting(
        "",
        AbsoluteUrl(),
        "The absolute URL of `ciam:callback`, as it is registered at CIAM; the default takes the "
        "host of the request.",
    )
    CIAM_REMEMBER_FAILURES = Setting(
        True,
        Flag(),
        "Remembers the failures of the last day in a cache that the processes share, without "
        "personal data, for `manage.py ciam_errors explain` and for the admin.",
    )
    CIAM_PROBLEM_TYPE_URL = Setting(
        "",
        Text(),
        "The JSON member `type`: a URL in which `{kind}` and `{code}` are replaced, and `any` "
        "replaces the `*` of a family; the default is `about:blank`.",
    )
    CIAM_BASE_TEMPLATE = Setting(
        "",
        Template(),
        "Your base template for the pages, with a block `content`; the default is our own.",
    )
    CIAM_HTMX_ERROR_TARGET = Setting(
        "",
        Text(),
        "The CSS selector of the element that gets the answers to failed requests of htmx, such as "
        "`#messages`; the default is the target of the request.",
    )
    CIAM_METRICS = Setting[Sequence[str]](
        (),
        ListOf(Choice(("otel", "prometheus"), check="metrics")),
        "The packages that get the metrics: `otel` for OpenTelemetry, which also gets the spans of "
        "the calls to CIAM, and `prometheus` for Prometheus' client; each name is the name of the "
        "extra, too, such as `ciam_django[otel]`.",
    )


SETTINGS: Final[Mapping[str, Setting[Any]]] = {
    name: row for name, row in vars(Conf).items() if isinstance(row, Setting)
}

conf: Final = Conf()
