"""The signals of sign-ins and identities, beside ``ciam_django.signals.login_failed``.

Each signal is sent after its transaction has been committed. If a receiver raises an exception,
Django logs the exception, and nothing else changes. Each signal has the arguments ``identity``, a
``CiamIdentity``, and ``user``.
"""

from __future__ import annotations

from typing import Final

from django.dispatch import Signal

created: Final = Signal()
"""A first sign-in has created an identity and a user: with ``person``, which has the claims."""

signed_in: Final = Signal()
"""A person has signed in: with ``request`` and ``person``."""

signed_out: Final = Signal()
"""A session has ended: with ``reason``, and with ``request`` if the request has this session.

``left``: the person signed out. ``ended``: CIAM refuses the person or the tokens.
``back_channel``, ``front_channel``: the person signed out at CIAM. ``unlinked``: the identity was
removed or deleted. ``password``: the person has set a new password in another session.
"""

linked: Final = Signal()
"""A user who was signed in has added an identity: with ``request`` and ``person``."""

unlinked: Final = Signal()
"""A user has removed an identity, and the identity is deleted: with ``request``."""
