"""Sessions in, none out: ended from outside, on whatever machine they are."""

from __future__ import annotations

import contextlib
import functools
from importlib import import_module

from django.conf import settings
from django.db import transaction

from ciam_django.accounts.models import CiamSession, CiamSessions
from ciam_django.accounts.signals import signed_out, told
from ciam_django.accounts.tokens import unsealed
from ciam_django.errors import CiamError


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
