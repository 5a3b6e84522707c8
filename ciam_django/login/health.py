"""``ciam:health``, the state of the sign-in for load balancers, which never asks CIAM."""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeGuard
from urllib.parse import urlsplit

from django.contrib.auth.decorators import login_not_required
from django.db import connections, router, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from ciam_django.accounts.models import CiamSession
from ciam_django.client.app import ciam_app
from ciam_django.client.cache import try_cache
from ciam_django.client.circuit_breaker import State, circuit_states
from ciam_django.conf import conf
from ciam_django.errors import CiamError

# Seconds for which a process answers without asking the cache and the database again.
_LIFETIME: Final = 1.0
# Seconds after which a database or a cache that does not answer is away.
_PATIENCE: Final = 5.0


@dataclass(slots=True)
class _Health:
    """The findings of a process, and the time of its first question (``time.monotonic``).

    While a thread is asking, a database or a cache without an answer is away, and the circuits are
    those of the last health.
    """

    asked_at: float
    circuits: Mapping[str, str] = field(default_factory=dict)
    has_database: bool = False
    has_cache: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the members of the JSON body: only facts that an anonymous client may know."""
        is_good = self.has_cache and set(self.circuits.values()) <= {State.CLOSED}
        status = "ok" if is_good else "degraded"
        return {
            "status": status if self.has_database else "unavailable",
            "circuits": dict(self.circuits),
            "cache": _word_for(self.has_cache),
            "database": _word_for(self.has_database),
        }


def _word_for(is_reachable: bool) -> str:
    return "ok" if is_reachable else "unavailable"


# The last health, which is complete, and the health that a thread is finding out.
_last: _Health | None = None
_running = _Health(math.inf)
_asking = threading.Lock()


def forget_health() -> None:
    """Forget what this process has found out."""
    # After a fork, a lock that another thread of the parent has held would stay locked for ever.
    global _last, _running, _asking
    _last, _running, _asking = None, _Health(math.inf), threading.Lock()


os.register_at_fork(after_in_child=forget_health)


# With ATOMIC_REQUESTS, Django would open a transaction first, and fail without the database.
@transaction.non_atomic_requests
@login_not_required
@require_safe
def health(request: HttpRequest) -> HttpResponse:
    """Tell a load balancer if this process can serve sign-ins; 404 unless ``CIAM_HEALTH`` is True.

    The status is 503 if the database is away, and otherwise 200. While CIAM is silent, the status
    stays 200: the site itself works, users who are signed in go on, and each other process would
    give the same answer, so that a load balancer would take the whole site down. The same is true
    of the cache, without which sign-ins go on.

    The view reads no session and no cookie. A process asks the database and the cache at most once
    a second, and in one thread at a time. A database or a cache that does not answer for
    ``_PATIENCE`` is away.
    """
    if not conf.CIAM_HEALTH:
        return HttpResponse(status=404)
    found = _current_health()
    response = JsonResponse(found.as_dict(), status=200 if found.has_database else 503)
    response["Cache-Control"] = "no-store"
    return response


def _current_health() -> _Health:
    """Return the health, at most ``_LIFETIME`` old unless another thread is asking."""
    last = _last
    if _is_fresh(last):
        return last
    # A database that does not answer must not hold a thread for each request. Without a last
    # health, a request waits for the first answer.
    if not _asking.acquire(timeout=0 if last or _is_overdue(_running) else _PATIENCE):
        return _running if last is None or _is_overdue(_running) else last
    try:
        return _last if _is_fresh(_last) else _new_health()
    finally:
        _asking.release()


def _is_fresh(health: _Health | None) -> TypeGuard[_Health]:
    return health is not None and time.monotonic() - health.asked_at < _LIFETIME


def _is_overdue(health: _Health) -> bool:
    return time.monotonic() - health.asked_at >= _PATIENCE


def _new_health() -> _Health:
    """Ask the database, the cache and the circuits, and return the health."""
    global _last, _running  # noqa: PLW0603  (the requests of a process share the health)
    found = _running = _Health(time.monotonic(), _last.circuits if _last else {})
    found.has_database = _has_database()
    found.has_cache = try_cache()
    found.circuits = _circuits()
    _last = found
    return found


def _circuits() -> Mapping[str, str]:
    """Return group of endpoints -> state, at the hosts of the client's setting."""
    return {str(group): str(state) for group, state in circuit_states(_urls()).items()}


def _urls() -> list[str]:
    """Return the URLs of the client's setting; none if the setting is wrong."""
    # ``ValueError``: a URL can't be split.
    with contextlib.suppress(CiamError, ValueError):
        app = ciam_app()
        urls = app.login_page_url, app.access_token_url, app.api_base_url
        return [str(url) for url in urls if url and urlsplit(str(url)).netloc]
    return []


def _has_database() -> bool:
    """Ask the database of the sessions at CIAM for a constant."""
    try:
        with connections[router.db_for_write(CiamSession)].cursor() as cursor:
            cursor.execute("SELECT 1")
    except Exception:  # noqa: BLE001  (also an exception of the driver or of a wrong setting)
        return False
    return True
