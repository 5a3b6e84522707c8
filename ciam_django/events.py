"""Record the events of the package: each event is one log line with fields, and calls observers.

``EVENTS`` is the table of the events, and ``FACTS`` is the table of their facts. The log line of an
event has each fact of the event as an attribute of its ``logging.LogRecord``: the fact ``code`` is
the attribute ``ciam_code``. A formatter for JSON writes these attributes. The metrics are observers
of the events.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import re
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Final, NamedTuple

from django.http import HttpRequest

Fact = str | int | float | bool | None
Observer = Callable[[str, Mapping[str, Fact], HttpRequest | None], object]
"""Takes the name of the event, its facts, and the request, or None without a request."""

logger: Final = logging.getLogger("ciam_django")

PREFIX: Final = "ciam_"
"""The prefix of the attributes of a ``LogRecord``, so that no fact replaces another attribute."""

NO_LINE: Final = logging.NOTSET
"""The level of an event without a log line. The observers still get the event."""

# Replaces a missing fact in the text of a line.
_MISSING: Final = "-"


@functools.cache
def traceparent() -> re.Pattern[str]:
    """Return the pattern of the header of W3C Trace Context, section 3.2.

    A version after 00 may have further parts. The first header compiles the pattern, and not each
    start of a process.
    """
    return re.compile(
        r"(?:00-(?!0{32})(?P<id>[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
        r"|(?!00|ff)[0-9a-f]{2}-(?!0{32})(?P<later_id>[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
        r"(?:-[!-~]*)?)"
    )


class FactType(NamedTuple):
    """A row of ``FACTS``: the type of a fact that is not None, and its meaning."""

    type: type[str | int | float]
    meaning: str


# A fact never has the name of a user, a number, an address, a subject or a token. What CIAM or a
# browser has written is no fact, except for a code that is a row or a key of the settings, a
# request id that matches ``errors.REQUEST_ID``, and a trace id that matches ``traceparent()``. The
# ``text_facts`` of an event are in its text only, after their redaction.
FACTS: Final[Mapping[str, FactType]] = {
    "act": FactType(str, "The limited act: `send`, `try`, `picture` or `token`."),
    "base_template": FactType(str, "The value of `CIAM_BASE_TEMPLATE`."),
    "began_at_ns": FactType(int, "The start of the call, in nanoseconds since the epoch."),
    "code": FactType(
        str, "The true code, if it is a row or a key of `CIAM_ERROR_OVERRIDES`, otherwise `row`."
    ),
    "counter": FactType(str, "The full counter: `receiver`, `visitor`, `address` or `site`."),
    "elsewhere": FactType(bool, "True if another process has opened or closed the circuit."),
    "endpoint": FactType(str, "The name of CIAM's endpoint, or `other`."),
    "error": FactType(str, "The class of the exception."),
    "error_text": FactType(str, "The text of an error of Django's template engine."),
    "frames": FactType(str, "The frames of the exception, without variables."),
    "group": FactType(str, "The group of endpoints that share a circuit, or `all` for a host."),
    "host": FactType(str, "CIAM's host, as the settings or the metadata name it."),
    "http_method": FactType(str, "The method of the HTTP request."),
    "http_status": FactType(int, "The HTTP status of the response, if there was a response."),
    "kind": FactType(str, "The kind of the row."),
    "method": FactType(
        str,
        "The login method: `hosted`, `password`, `sms`, `email`, `sign_up`, `recover`, or the "
        "name of a provider.",
    ),
    "ms": FactType(
        int, "The time that the calls of the request to CIAM have taken, in milliseconds."
    ),
    "next_step": FactType(str, "The name of the step that follows."),
    "observer": FactType(str, "The name of the function that has failed."),
    "provider": FactType(str, "The name of the social provider, or `ciam`."),
    "rate": FactType(str, "The limit, such as `5 per hour`."),
    "reason": FactType(str, "The reason for developers, from the row."),
    "request_id": FactType(
        str, "The id that the answer has, too. It begins with `local-` if it is not CIAM's."
    ),
    "row": FactType(str, "The row of the table that matches: a code, a family or `unknown_error`."),
    "seconds": FactType(float, "A duration in seconds."),
    "sent_code": FactType(
        str, "The true code, as CIAM, OAuth 2.0, Authlib or the project has sent it."
    ),
    "sent_type_code": FactType(str, "The `type_code`, as CIAM has sent it."),
    "server_address": FactType(str, "The host of the called server."),
    "server_port": FactType(int, "The port of the called server."),
    "session": FactType(
        str, "`django`, or `token` if an app stores the tokens of the session itself."
    ),
    "sessions": FactType(int, "The number of ended sessions."),
    "setting": FactType(str, "The name of the setting that has the limit."),
    "shown": FactType(
        str, "The code that the user gets. It differs from `row` if the answer is generic."
    ),
    "sign_in": FactType(
        str, "A random id that all events of one sign-in share, from its start to its last step."
    ),
    "sign_out_reason": FactType(str, "The `reason` of the signal `signed_out`."),
    "stage": FactType(str, "The part of the sign-in that has failed."),
    "status": FactType(int, "The HTTP status of the answer."),
    "step": FactType(
        str, "The step that has found the row: `exact`, `family`, `type_code`, `status`, `unknown`."
    ),
    "template": FactType(str, "The name of the template."),
    "trace_id": FactType(
        str, "The trace id of the header `traceparent` (W3C Trace Context). A client can choose it."
    ),
    "type_code": FactType(
        str, "CIAM's `code`, where CIAM's `message` has the more exact code, if it is a known code."
    ),
    "upstream_request_id": FactType(
        str, "CIAM's request id, if the answer has a local id. Quote it to CIAM."
    ),
    "upstream_status": FactType(int, "The HTTP status of CIAM's response."),
    "upstream_text": FactType(str, "The text of CIAM for developers, redacted."),
    "url": FactType(str, "The URL of Django's default, without a query."),
    "user": FactType(str, "The primary key of the user."),
}


COMMON_FACTS: Final = ("sign_in", "method", "ms", "trace_id")
"""The facts that each event has beside the facts of its row."""

# Fact -> the attribute of the ``LogRecord``.
_ATTRIBUTES: Final = {name: f"{PREFIX}{name}" for name in FACTS}


class Event:
    """A row of ``EVENTS``.

    ``levels`` are the possible levels of the line, and the first level is the default; without
    levels, the event has no line. ``text`` is the template of the line, in Python's ``%`` format.
    ``optional`` maps a fact to the template of a part of the line that is left out if the fact is
    None: ``%(_reason)s`` is the place of the part of the fact ``reason``. ``text_facts`` are the
    facts that only the text has, and neither a field nor an observer. ``meaning`` is for the
    documentation. ``observers`` are the functions of ``add_observer``.
    """

    # A dataclass would take a quarter of the time in which this module is imported.
    __slots__ = (
        "facts", "levels", "meaning", "name", "observers", "optional", "text", "text_facts",
    )  # fmt: skip

    def __init__(  # noqa: PLR0917  (a row of a table)
        self,
        name: str,
        levels: tuple[int, ...],
        text: str,
        facts: tuple[str, ...],
        meaning: str = "",
        optional: Mapping[str, str] | None = None,
        text_facts: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.levels = levels
        self.text = text
        self.facts = facts
        self.meaning = meaning
        self.optional: Mapping[str, str] = optional or {}
        self.text_facts = text_facts
        self.observers: list[Observer] = []


# --- Signing in and out -----------------------------------------------------------------------

SIGN_IN_STARTED: Final = Event(
    "sign_in_started",
    (logging.DEBUG,),
    "Sign-in started: method=%(method)s",
    (),
    "The browser leaves for CIAM's own page, or for the page of a provider.",
)
STEP_ASKED: Final = Event(
    "step_asked",
    (logging.DEBUG,),
    "Next step: step=%(next_step)s",
    ("next_step",),
    "A form was submitted, and the sign-in needs a further step, such as the entry of a code.",
)
SIGNED_IN: Final = Event(
    "signed_in",
    (logging.INFO,),
    "Sign-in: user=%(user)s provider=%(provider)s session=%(session)s",
    ("user", "provider", "session"),
    "A sign-in has succeeded. The user is the primary key; the session is `django` or `token`.",
)
SIGNED_OUT: Final = Event(
    "signed_out",
    (logging.INFO,),
    "Sign-out: user=%(user)s reason=%(sign_out_reason)s",
    ("user", "sign_out_reason"),
    "A session has ended.",
)
BACK_CHANNEL_LOGOUT: Final = Event(
    "back_channel_logout",
    (logging.INFO,),
    "Back-channel logout: sessions=%(sessions)s",
    ("sessions",),
    "CIAM has sent a valid logout token. Each ended session also has a line of its own.",
)
LINKED: Final = Event(
    "linked",
    (logging.INFO,),
    "Link: user=%(user)s provider=%(provider)s",
    ("user", "provider"),
    "A user who was signed in has added an identity.",
)
UNLINKED: Final = Event(
    "unlinked",
    (logging.INFO,),
    "Unlink: user=%(user)s provider=%(provider)s",
    ("user", "provider"),
    "A user has removed an identity.",
)
TOKENS_REFRESHED: Final = Event(
    "tokens_refreshed",
    (),
    "",
    ("user",),
    "CIAM has given new tokens for a session.",
)
REFRESH_FAILED: Final = Event(
    "refresh_failed",
    (logging.INFO,),
    "Refresh failure: user=%(user)s code=%(code)s row=%(row)s kind=%(kind)s",
    ("user", "code", "row", "kind"),
    "CIAM has given no new tokens for a session or an app. If the error is reported, a line of "
    "`failed` follows. If CIAM refuses the refresh token, the session ends. If CIAM has failed, "
    "the session goes on until its access token expires.",
)
FAILED: Final = Event(
    "failed",
    (logging.INFO, logging.WARNING, logging.ERROR),
    "Sign-in failure: code=%(sent_code)s type_code=%(sent_type_code)s row=%(row)s step=%(step)s "
    "kind=%(kind)s stage=%(stage)s status=%(status)s shown=%(shown)s "
    "upstream_status=%(upstream_status)s request_id=%(request_id)s%(_upstream_request_id)s "
    "upstream_text=%(upstream_text)r%(_reason)s",
    (
        "code", "type_code", "row", "step", "kind", "stage", "status", "shown", "upstream_status",
        "request_id", "upstream_request_id", "reason",
    ),
    "A sign-in, or another call to CIAM, has failed.",
    {"upstream_request_id": " upstream_request_id=%s", "reason": " reason=%r"},
    ("sent_code", "sent_type_code", "upstream_text"),
)  # fmt: skip

# --- Calls to CIAM ----------------------------------------------------------------------------

CALL_FINISHED: Final = Event(
    "call_finished",
    (),
    "",
    (
        "endpoint", "http_method", "server_address", "server_port", "http_status", "seconds",
        "began_at_ns", "row", "kind",
    ),
    "A call to CIAM has ended. `row` and `kind` are None if the call has succeeded.",
)  # fmt: skip
CIRCUIT_OPENED: Final = Event(
    "circuit_opened",
    (logging.WARNING, logging.INFO),
    "Circuit open: host=%(host)s group=%(group)s",
    ("host", "group", "elsewhere"),
    "A call has got no connection (group `all`), or no answer in time. Calls of the group fail at "
    "once for 10 seconds. The level is INFO if the circuit was open before.",
)
CIRCUIT_HALF_OPEN: Final = Event(
    "circuit_half_open",
    (logging.INFO,),
    "Circuit half-open: host=%(host)s group=%(group)s",
    ("host", "group"),
    "The pause is over, and one call tries again.",
)
CIRCUIT_CLOSED: Final = Event(
    "circuit_closed",
    (logging.INFO,),
    "Circuit closed: host=%(host)s group=%(group)s",
    ("host", "group", "elsewhere"),
    "CIAM was silent, and answers again.",
)
CALLS_FULL: Final = Event(
    "calls_full",
    (logging.WARNING,),
    "A call was refused: CIAM_MAX_CALLS calls run already (group=%(group)s).",
    ("group",),
    "CIAM is slow, or `CIAM_MAX_CALLS` is too low. The line is written once in a minute.",
)
OLD_COPY_USED: Final = Event(
    "old_copy_used",
    (logging.WARNING,),
    "CIAM gives no new copy: code=%(sent_code)s. The copy of %(seconds)d seconds ago is used.",
    ("seconds",),
    "The metadata, the keys or the application token can't be fetched. Sign-ins go on until "
    "the copy reaches `CIAM_STALE_LIMIT`.",
    text_facts=("sent_code",),
)

# --- Limits and the cache ---------------------------------------------------------------------

LIMIT_REACHED: Final = Event(
    "limit_reached",
    (logging.WARNING,),
    "%(setting)s: the counter %(counter)r is full (%(rate)s). All clients are refused.",
    ("setting", "act", "counter", "rate"),
    "Only the counter `site` writes the line, once in ten minutes: the whole site has reached the "
    "limit `site` of `CIAM_SEND_LIMITS` or `CIAM_TRY_LIMITS`. Look for an attack, or raise the "
    "limit.",
)
ADDRESS_LIMIT_SHARED: Final = Event(
    "address_limit_shared",
    (logging.WARNING,),
    "An address has reached its limit, and CIAM_CLIENT_IP is not set. Behind a proxy, all clients "
    "would have this address: see manage.py check --deploy.",
    (),
)
NO_CLIENT_ADDRESS: Final = Event(
    "no_client_address",
    (logging.WARNING,),
    "The address of the client is empty: all such clients share the limits of an address. Set "
    "CIAM_CLIENT_IP: see manage.py check --deploy.",
    (),
)
CACHE_FAILED: Final = Event(
    "cache_failed",
    (logging.WARNING, logging.INFO),
    "Django's cache is down (<class '%(error)s'>). Processes can't share data.",
    ("error",),
    "The cache fails. Sign-ins go on; rate limits and used states are those of one process. The "
    "line is written once in a minute.",
)

# --- The project ------------------------------------------------------------------------------

PAGE_FAILED: Final = Event(
    "page_failed",
    (logging.ERROR,),
    "The project's templates can't render %(template)r (CIAM_BASE_TEMPLATE is %(base_template)r): "
    "%(error)s%(_error_text)s\n%(frames)s",
    ("template", "base_template", "error"),
    "The package shows its own page instead. Correct your template.",
    {"error_text": ": %s"},
    ("error_text", "frames"),
)
REDIRECT_PAGE_MISSING: Final = Event(
    "redirect_page_missing",
    (logging.WARNING,),
    "LOGIN_REDIRECT_URL is not set, and Django's default, %(url)s, is no page of this project: "
    "users read 'Not Found' after a sign-in. Set LOGIN_REDIRECT_URL to a path, or to the name of a "
    "URL pattern, such as 'home'.",
    ("url",),
)
OBSERVER_FAILED: Final = Event(
    "observer_failed",
    (logging.ERROR,),
    "The observer %(observer)s has failed (%(error)s). Its metrics lack events.",
    ("observer", "error"),
    "An observer of events, such as the metrics, has raised an exception. The line is written once "
    "for each observer of a process. The sign-in goes on.",
)

EVENTS: Final[Mapping[str, Event]] = {
    event.name: event for event in list(globals().values()) if isinstance(event, Event)
}
"""Name -> event."""


# --- The observers ----------------------------------------------------------------------------


def add_observer(observer: Observer, *observed: Event) -> None:
    """Call the observer for each of these events, or for all events, in this process.

    The observer runs in the thread of the event, so it must be fast. If the observer raises an
    exception, the exception is logged, and nothing else changes.
    """
    for event in observed or EVENTS.values():
        if observer not in event.observers:
            event.observers.append(observer)


def remove_observer(observer: Observer) -> None:
    """Call the observer for no event."""
    for event in EVENTS.values():
        if observer in event.observers:
            event.observers.remove(observer)


# The observers that have failed in this process.
# An observer need not be hashable, so the set has its ``id``.
_failed_observers: set[int] = set()


def _call_observers(event: Event, facts: Mapping[str, Fact], request: HttpRequest | None) -> None:
    # A copy, because an observer may be added or removed in the meantime.
    for observer in tuple(event.observers):
        try:
            observer(event.name, facts, request)
        except Exception as error:  # noqa: BLE001  (a failing metric must not stop a sign-in)
            if id(observer) not in _failed_observers:
                _failed_observers.add(id(observer))
                name = getattr(observer, "__qualname__", type(observer).__qualname__)
                common_facts = {common: facts[common] for common in COMMON_FACTS}
                # Only the type is logged: the text may have the facts.
                _write_line(
                    OBSERVER_FAILED,
                    logging.ERROR,
                    {"observer": name, "error": type(error).__name__, **common_facts},
                    {},
                )


# --- The common facts -------------------------------------------------------------------------

new_sign_in_id: Final = functools.partial(secrets.token_hex, 8)
"""Return a new value of the fact ``sign_in``."""


class RequestScope:
    """The request of a view of this package or of ``scope_of``, and the facts of its events.

    ``sign_in`` and ``method`` are the facts of the sign-in, once the view knows the sign-in.
    ``seconds_at_ciam`` is the time that the calls to CIAM have taken.
    """

    request: HttpRequest | None = None
    sign_in: str | None = None
    method: str | None = None
    seconds_at_ciam: float = 0.0


request_scope: Final[ContextVar[RequestScope | None]] = ContextVar(
    "ciam_django_request_scope", default=None
)
"""The scope of the current request; None outside of a view of this package and of ``scope_of``."""


@contextlib.contextmanager
def scope_of(request: HttpRequest) -> Iterator[None]:
    """Let the events in the ``with`` block have the facts of the request.

    The middleware and the functions for views of a project use the scope. The scope of a view of
    this package stays.
    """
    if request_scope.get():
        yield
        return
    scope = RequestScope()
    scope.request = request
    token = request_scope.set(scope)
    try:
        yield
    finally:
        request_scope.reset(token)


def trace_id_of(request: HttpRequest) -> str | None:
    """Return the trace id of the header ``traceparent``; None if the header is not valid."""
    header = request.META.get("HTTP_TRACEPARENT", "")
    match = traceparent().fullmatch(header) if header else None
    return (match["id"] or match["later_id"]) if match else None


def _common_facts(request: HttpRequest | None, scope: RequestScope | None) -> dict[str, Fact]:
    request = request or (scope.request if scope else None)
    return {
        "sign_in": scope.sign_in if scope else None,
        "method": scope.method if scope else None,
        "ms": round(scope.seconds_at_ciam * 1000) if scope else None,
        "trace_id": trace_id_of(request) if request else None,
    }


# --- Recording --------------------------------------------------------------------------------


def record(
    event: Event,
    request: HttpRequest | None = None,
    # Python compares the name of each fact with the name of each parameter before this line.
    /,
    *,
    level: int | None = None,
    scope: RequestScope | None = None,
    **facts: object,
) -> None:
    """Write the log line of the event, and call the observers.

    ``level`` is one of the row's levels or ``NO_LINE``; None is the first level of the row.
    ``scope`` is the scope of an event that is recorded later, after a commit; None is the current
    scope.
    ``facts`` are facts of the row; a fact that is left out is None. The function builds nothing if
    the logger is off and the event has no observer.
    """
    if level is None:
        level = event.levels[0] if event.levels else NO_LINE
    has_line = level != NO_LINE and logger.isEnabledFor(level)
    if not (has_line or event.observers):
        return
    typed_facts = _typed_facts(event.facts, facts)
    typed_facts |= _common_facts(request, scope or request_scope.get())
    if has_line:
        _write_line(event, level, typed_facts, _typed_facts(event.text_facts, facts))
    if event.observers:
        _call_observers(event, typed_facts, request)


def _typed_facts(names: Sequence[str], facts: Mapping[str, object]) -> dict[str, Fact]:
    """Return the named facts with the types of ``FACTS``; a missing fact is None."""
    typed: dict[str, Fact] = {}
    for name in names:
        value: Any = facts.get(name)
        if value is not None and type(value) is not (fact_type := FACTS[name].type):
            # A subclass, such as an enum, is converted, too: a formatter may refuse a subclass.
            value = fact_type(value)
        typed[name] = value
    return typed


def _write_line(
    event: Event, level: int, facts: Mapping[str, Fact], text_facts: Mapping[str, Fact]
) -> None:
    values = {**facts, **text_facts}
    for name, template in event.optional.items():
        values[f"_{name}"] = "" if values[name] is None else template % (values[name],)
    for name, value in values.items():
        if value is None:
            values[name] = _MISSING
    # The line names the function that has recorded the event. ``logger.log`` takes longer to find
    # this function, and to look for each field among the attributes of the record.
    frame = sys._getframe(2)
    code = frame.f_code
    attributes: dict[str, Fact] = {_ATTRIBUTES[name]: value for name, value in facts.items()}
    attributes[f"{PREFIX}event"] = event.name
    # The class of the project's loggers can read the fields. Python's own class would look for each
    # field among the attributes of the record, which takes time.
    extra = None if type(logger).makeRecord is logging.Logger.makeRecord else attributes
    line = logger.makeRecord(
        logger.name,
        level,
        code.co_filename,
        frame.f_lineno,
        event.text,
        (values,),
        None,
        code.co_name,
        extra,
    )
    vars(line).update(attributes)
    logger.handle(line)
