"""The questions that the site itself answers."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings
from django.core.cache import caches
from django.core.checks import ERROR, CheckMessage, run_checks
from django.core.exceptions import DisallowedHost
from django.db import DEFAULT_DB_ALIAS, connections, router
from django.utils.module_loading import import_string

from ciam_django.checks.caches import cache_fault
from ciam_django.checks.messages import CHECK_IDS
from ciam_django.client.cache import cache
from ciam_django.conf import conf
from ciam_django.doctor.examination import CLIENT_ADDRESS, Examination
from ciam_django.doctor.findings import Finding, Status
from ciam_django.network import is_loopback_url, remote_addr
from ciam_django.privacy import loggable_url

_SHARED_CACHES: Final = "Use Redis or Memcached for the default cache in CACHES."
# The checks whose subject is a question of its own.
_COOKIE_ID: Final = CHECK_IDS["cookie"]
_CACHE_ID: Final = CHECK_IDS["cache"]
_LIFETIME: Final = 60
# More than the calls to CIAM of all questions.
_CALLS: Final = 20


def _findings_of(messages: list[CheckMessage], asked: str) -> Iterator[Finding]:
    for message in messages:
        status = Status.ERROR if message.level >= ERROR else Status.WARNING
        found = f"{message.msg.rstrip('.')} ({message.id})"
        yield Finding(status, asked, found, str(message.hint or ""))


def _unsilenced(messages: list[CheckMessage]) -> list[CheckMessage]:
    """The messages of this package that count, the errors first. Django has no order."""
    ours = [each for each in messages if str(each.id).startswith("ciam_django.")]
    counting = [each for each in ours if not each.is_silenced()]
    return sorted(counting, key=lambda each: (-each.level, str(each.id), each.msg))


def examine_settings(examination: Examination) -> Iterator[Finding]:
    """Ask the checks of ``manage.py check``, and of ``--deploy`` if DEBUG is off."""
    command = "manage.py check" if settings.DEBUG else "manage.py check --deploy"
    found = run_checks(tags=["ciam_django"], include_deployment_checks=not settings.DEBUG)
    messages = [each for each in _unsilenced(found) if each.id not in (_COOKIE_ID, _CACHE_ID)]
    if messages:
        yield from _findings_of(messages, f"the settings, as {command} does")
    else:
        yield Finding(Status.OK, f"the settings, as {command} does", "no mistake")


def examine_identities(examination: Examination) -> Iterator[Finding]:
    """Ask the database if it has identities of another issuer."""
    asked = "the issuers of the identities in the database"
    model = apps.get_model("ciam_accounts", "CiamIdentity")
    database, table = router.db_for_write(model), model._meta.db_table
    # The check says nothing about a missing table, because it also runs before ``migrate``.
    if table not in connections[database].introspection.table_names():
        option = "" if database == DEFAULT_DB_ALIAS else f" --database {database}"
        yield Finding(
            Status.ERROR,
            asked,
            f"no table {table!r} in the database {database!r}",
            f"Run manage.py migrate{option}.",
        )
        return
    messages = _unsilenced(run_checks(tags=["database"], databases=[database]))
    if messages:
        yield from _findings_of(messages, asked)
    else:
        yield Finding(Status.OK, asked, "no identity of another issuer")


def examine_callback(examination: Examination) -> Iterator[Finding]:
    """Compute the redirect URI that a sign-in sends to CIAM."""
    url = examination.callback
    asked, found = "the redirect URI of a sign-in", loggable_url(url) or "no plain URL"
    is_local = is_loopback_url(url)
    if not loggable_url(url):
        yield Finding(
            Status.ERROR,
            asked,
            found,
            "CIAM_CALLBACK_URL must be like 'https://shop.example.com/ciam/callback/'.",
        )
    elif urlsplit(url).scheme != "https" and not settings.DEBUG and not is_local:
        yield Finding(
            Status.ERROR,
            asked,
            f"{found}, without https",
            f"Set CIAM_CALLBACK_URL = 'https://{urlsplit(url).netloc}{urlsplit(url).path}', and "
            "SECURE_PROXY_SSL_HEADER if a proxy ends https.",
        )
    elif not conf.CIAM_CALLBACK_URL and not settings.DEBUG:
        yield Finding(
            Status.WARNING,
            asked,
            f"{found}, from the host of each request",
            f"Set CIAM_CALLBACK_URL = '{found}', so that no other host is sent to CIAM.",
        )
    else:
        yield Finding(Status.OK, asked, found)


# --- Cache --------------------------------------------------------------------------------------


def examine_cache(examination: Examination) -> Iterator[Finding]:
    """Ask the cache for ``add``, ``get`` and ``incr`` over two connections."""
    backend = settings.CACHES.get("default", {}).get("BACKEND", "")
    asked = f"the default cache ({backend}): add, get and incr over two connections"
    answers: dict[str, Any] = {}
    key = f"ciam_django.doctor.{secrets.token_hex(8)}"

    def ask_first() -> None:
        answers["add"] = caches["default"].add(key, 1, timeout=_LIFETIME)

    def ask_second() -> None:
        # Another thread has another connection.
        default = caches["default"]
        answers["get"] = default.get(key)
        answers["second add"] = default.add(key, 7, timeout=_LIFETIME)
        answers["incr"] = default.incr(key) if answers["get"] is not None else None
        default.delete(key)

    for ask in (ask_first, ask_second):
        if failure := _failure_of(ask):
            yield Finding(
                Status.ERROR,
                asked,
                failure,
                "Check the address and the password in CACHES['default'], and that the server of "
                "the cache runs. Sign-ins go on, but limits and used callbacks are forgotten.",
            )
            return
    found = ", ".join(f"{name} gives {value!r}" for name, value in answers.items())
    fault = cache_fault("default")
    if answers != {"add": True, "get": 1, "second add": False, "incr": 2}:
        status = Status.WARNING if settings.DEBUG else Status.ERROR
        reason = fault or "a server that is away, with a backend that hides its failures"
        yield Finding(status, asked, f"{found}: {reason}", _SHARED_CACHES)
    elif fault and settings.DEBUG:
        yield Finding(Status.OK, asked, f"{found}; it is good enough with DEBUG and one process")
    elif fault:
        yield Finding(Status.WARNING, asked, f"{found}, but it is {fault}", _SHARED_CACHES)
    else:
        yield Finding(Status.OK, asked, found)


def _failure_of(ask: Callable[[], None]) -> str:
    """Call the function in a thread; return the failure, or an empty text.

    A backend may wait for a server without a limit of its own.
    """
    failures: list[str] = []

    def call() -> None:
        try:
            ask()
        except Exception as error:  # noqa: BLE001  (backends raise exceptions of their own)
            # The text of the exception may hold the address of the cache with its password.
            failures.append(f"the exception {type(error).__name__}")
        finally:
            caches.close_all()

    thread = threading.Thread(target=call, name="ciam_doctor", daemon=True)
    thread.start()
    thread.join(conf.CIAM_TIMEOUT)
    if thread.is_alive():
        # The calls to CIAM ask the cache, too, and would wait as long.
        cache.pause(_CALLS * conf.CIAM_TIMEOUT)
        return f"no answer within {conf.CIAM_TIMEOUT} seconds"
    return next(iter(failures), "")


# --- Proxy and cookies --------------------------------------------------------------------------


def examine_proxy(examination: Examination) -> Iterator[Finding]:
    """Compute what Django sees of a request that a proxy has received by https."""
    request, host = examination.forwarded_request, examination.host
    asked = (
        f"a request for https://{host}/ from {CLIENT_ADDRESS}, which a proxy forwards with "
        "X-Forwarded-Proto, X-Forwarded-Host and X-Forwarded-For"
    )
    function = import_string(conf.CIAM_CLIENT_IP) if conf.CIAM_CLIENT_IP else remote_addr
    try:
        seen_host = request.get_host()
    except DisallowedHost:
        yield Finding(
            Status.ERROR,
            asked,
            f"a refusal (status 400): ALLOWED_HOSTS is {list(settings.ALLOWED_HOSTS)!r}",
            f"Add {repr(host) if settings.ALLOWED_HOSTS else 'the host of your site'} to "
            "ALLOWED_HOSTS.",
        )
        return
    found = f"{request.scheme}://{seen_host}/ from {function(request) or 'an unknown address'}"
    advice = []
    if not request.is_secure():
        advice.append(
            "If a proxy ends https: SECURE_PROXY_SSL_HEADER = ('HTTP_X_FORWARDED_PROTO', 'https'), "
            "and let the proxy replace this header."
        )
    if function(request) != CLIENT_ADDRESS:
        advice.append(
            "If a proxy is in front of the site, all its clients share one limit. Set "
            "CIAM_CLIENT_IP = 'ciam_django.network.forwarded_for' and CIAM_TRUSTED_PROXIES; "
            "without a proxy: 'ciam_django.network.remote_addr'."
        )
    is_chosen = bool(conf.CIAM_CLIENT_IP) and len(advice) < 2
    if not advice or settings.DEBUG or (is_chosen and request.is_secure()):
        yield Finding(Status.OK, asked, found)
    else:
        yield Finding(Status.WARNING, asked, found, " ".join(advice))


def examine_cookies(examination: Examination) -> Iterator[Finding]:
    """Ask the cookie settings if a browser keeps a sign-in."""
    asked = "the cookies of a sign-in"
    names = f"{settings.SESSION_COOKIE_NAME} and {settings.CSRF_COOKIE_NAME}"
    messages = _unsilenced(run_checks(tags=["ciam_django"]))
    wrong = [each for each in messages if each.id == _COOKIE_ID]
    yield from _findings_of(wrong, asked)
    is_https = urlsplit(examination.callback).scheme == "https"
    missing = [
        name
        for name in ("SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE")
        if is_https and not getattr(settings, name)
    ]
    if missing:
        yield Finding(
            Status.WARNING,
            asked,
            f"{' and '.join(missing)} {'are' if len(missing) > 1 else 'is'} False under https",
            f"Set {' and '.join(f'{name} = True' for name in missing)}: over http, others on the "
            "network can read these cookies.",
        )
    elif not is_https and settings.SESSION_COOKIE_SECURE:
        yield Finding(
            Status.WARNING,
            asked,
            "SESSION_COOKIE_SECURE is True, and the redirect URI has no https",
            "Browsers send the cookie only with https: set SESSION_COOKIE_SECURE = False for "
            "development with http.",
        )
    elif not wrong:
        prefix = "host-bound (__Host-ciam_...)" if is_https else "ciam_..., not host-bound"
        yield Finding(
            Status.OK,
            asked,
            f"{names} with SameSite={settings.SESSION_COOKIE_SAMESITE}, and the cookies of this "
            f"package are {prefix}",
        )
