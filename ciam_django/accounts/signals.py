"""What a project can be told of who signs in and out, beside ``ciam_django.signals.login_failed``.

Each is sent when the transaction that it is of is through. A receiver that raises is logged by
Django and changes nothing. All come with ``identity``, a ``CiamIdentity``, and ``user``.
"""

from __future__ import annotations

from typing import Final

from django.dispatch import Signal

created: Final = Signal()
"""Somebody's first sign-in made an identity and a user: with ``person``, whose claims are new."""

signed_in: Final = Signal()
"""Somebody is signed in: with ``request`` and ``person``."""

signed_out: Final = Signal()
"""A session is over: with ``reason``, and with ``request`` where it is of that session.

``left``: the person signed out. ``ended``: CIAM says that the person or the tokens are gone.
``back_channel``, ``front_channel``: signed out at CIAM. ``unlinked``: the identity is gone.
"""

linked: Final = Signal()
"""A user who was signed in has added an identity: with ``request`` and ``person``."""

unlinked: Final = Signal()
"""A user has taken an identity away, which is deleted: with ``request``."""
