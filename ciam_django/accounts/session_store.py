"""``CiamSession`` rows: created at sign-in, read with a request, and ended from here or outside."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import time
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

from django.conf import settings
from django.contrib.sessions.backends.base import UpdateError
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from ciam_django.accounts.models import CiamIdentity, CiamSession, CiamSessions, identity_key
from ciam_django.accounts.signals import signed_out, told
from ciam_django.accounts.tokens import Tokens, sealed, unsealed, with_answer
from ciam_django.client.oauth import ciam_app
from ciam_django.client.person import Person, is_subject
from ciam_django.conf import conf
from ciam_django.errors import CiamError
from ciam_django.privacy import leaving_no_values

# In Django's session: the row's id, the digest of the session's key, and when to look again.
_KEPT: Final = "ciam_session"
# Seconds: until the next look where CIAM could not be asked.
_BETWEEN_ATTEMPTS: Final = 60
# The scope without which CIAM's API takes no token of a person's.
_USER_API: Final = "USER_API"


@leaving_no_values
def keep(
    request: HttpRequest, identity: CiamIdentity, person: Person, token: Mapping[str, Any]
) -> None:
    """Keep what the signed-in session needs to be renewed, and to be ended by CIAM."""
    app = ciam_app()
    if not request.session.session_key:
        # Django has emptied a session that was another user's.
        request.session.cycle_key()
    scopes = str(token.get("scope") or app.client_kwargs["scope"]).split()
    tokens = Tokens(
        str(request.session.session_key),
        may_check=bool(app.api_base_url) and _USER_API in scopes,
    )
    if conf.CIAM_KEEP_TOKENS:
        # What CIAM's own mode calls an id_token proves nothing, and is good for nothing.
        tokens = with_answer(tokens, token if app.is_oidc else {**token, "id_token": None})
    sid = person.claims.get("sid")
    kept = identity.sessions.create(
        sid_key=identity_key(person.issuer, str(sid)) if is_subject(sid) else "",
        sealed=sealed(tokens),
        ends_at=request.session.get_expiry_date(),
    )
    request.session[_KEPT] = _noted(request, kept, tokens)


def look_again(request: HttpRequest, kept: CiamSession, tokens: Tokens) -> None:
    """Note in the session when its tokens are to be looked at.

    A ``CiamError``, ``session_ended``, where another request or CIAM has ended it meanwhile.
    """
    noted = _noted(request, kept, tokens)
    # At once and alone: with all the rest at the request's end, it would undo what other requests
    # of the session do in the meantime.
    stored = type(request.session)(request.session.session_key)
    if _KEPT in stored:
        stored[_KEPT] = noted
        with contextlib.suppress(UpdateError):
            # Otherwise somebody has just signed out.
            stored.save()
    # Whoever ends a session deletes it last: what some stores' save, which looks first and writes
    # then, has brought back is deleted here or there.
    if not CiamSession.objects.living().filter(pk=kept.pk).exists():
        stored.delete()
        raise CiamError("session_ended", stage="refresh")
    is_modified = request.session.modified
    request.session[_KEPT] = noted
    request.session.modified = is_modified


def _noted(request: HttpRequest, kept: CiamSession, tokens: Tokens) -> dict[str, Any]:
    now = time.time()
    # Django may have the session last longer with each request.
    times = [now + request.session.get_expiry_age() / 2]
    if conf.CIAM_SESSION_CHECK:
        times.append(now + conf.CIAM_SESSION_CHECK)
    if tokens.refresh_token and tokens.renewed_from:
        times.append(max(tokens.renewed_from, now + _BETWEEN_ATTEMPTS * tokens.is_due))
    return {
        "id": kept.pk,
        "key": _digest(str(request.session.session_key)),
        "look_at": min(times),
    }


def is_due(request: HttpRequest) -> bool:
    """Whether it is time to look at the session; nothing is fetched for that."""
    noted = request.session.get(_KEPT)
    if not noted:
        return False
    has_new_key = noted["key"] != _digest(str(request.session.session_key))
    return has_new_key or float(noted["look_at"]) <= time.time()


def kept_for(request: HttpRequest) -> CiamSession | None:
    """What is kept for the request's session; None if that was not begun at CIAM, or is ended."""
    noted = request.session.get(_KEPT)
    if not noted:
        return None
    living = CiamSession.objects.living().select_related("identity__user")
    return living.filter(pk=noted["id"]).first()


@leaving_no_values
def tokens_for(request: HttpRequest, kept: CiamSession) -> Tokens:
    """What the row holds, which has the key and the end that Django has given the session since."""
    tokens = unsealed(kept.sealed)
    session_key = str(request.session.session_key)
    if tokens.session_key != session_key:
        tokens = tokens.of_session(session_key)
        kept.sealed = sealed(tokens)
    # Not over newer tokens, nor over the end: the next look sets that right.
    as_read = CiamSession.objects.living().filter(pk=kept.pk, renewals=kept.renewals)
    as_read.update(sealed=kept.sealed, ends_at=request.session.get_expiry_date())
    # Nobody misses the sign-ins before it that are over.
    before = CiamSession.objects.filter(identity=kept.identity_id, pk__lt=kept.pk)
    before.filter(ends_at__lt=timezone.now()).delete()
    return tokens


def held_tokens(request: HttpRequest) -> Tokens | None:
    """What is kept for the request's session, as it is; None where nothing is, or can be read."""
    kept = kept_for(request)
    with contextlib.suppress(CiamError):
        return unsealed(kept.sealed) if kept else None
    return None


def forget_kept(request: HttpRequest) -> None:
    """Keep nothing more for the request's session."""
    noted = request.session.pop(_KEPT, None)
    if noted:
        CiamSession.objects.filter(pk=noted["id"]).end()


def end_kept(request: HttpRequest, reason: str) -> None:
    """Keep nothing more for a session that is over; ``reason`` is of ``signals.signed_out``."""
    kept = kept_for(request)
    forget_kept(request)
    if kept:
        told(signed_out, kept.identity, request=request, reason=reason)


def _digest(session_key: str) -> str:
    return hashlib.sha256(session_key.encode()).hexdigest()


# --- From outside -----------------------------------------------------------------------------


def end_sessions(sessions: CiamSessions, reason: str) -> int:
    """End the sessions, Django's with ours; how many there were."""
    ended = 0
    for kept in sessions.living().select_related("identity__user"):
        # First: where Django's can't be ended, whoever asked for it has to ask again.
        _end_djangos(kept)
        if CiamSession.objects.filter(pk=kept.pk).end():
            # And last: a look at the session may have stored it again, see ``look_again``.
            transaction.on_commit(functools.partial(_end_djangos, kept), robust=True)
            ended += 1
            told(signed_out, kept.identity, reason=reason)
    return ended


def _end_djangos(kept: CiamSession) -> None:
    # What no key of ours opens names a session that no key of ours opens.
    with contextlib.suppress(CiamError):
        session_key = unsealed(kept.sealed).session_key
        import_module(settings.SESSION_ENGINE).SessionStore(session_key).delete()
