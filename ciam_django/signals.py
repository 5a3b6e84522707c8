"""Define the signals of failures; their receivers get the same data as the log.

Django logs the exceptions of receivers. An exception of a receiver does not change the answer.
"""

from __future__ import annotations

from typing import Final

from django.dispatch import Signal

login_failed: Final = Signal(use_caching=True)
"""Sent once for each failed sign-in.

The arguments are ``request`` (or None), ``error`` (a ``CiamError``) and ``answer`` (an ``Answer``).
The error has the true code, even if the answer is generic.
"""

unknown_code: Final = Signal()
"""Sent for a code without a row, once for each code and process.

The arguments are ``request`` (or None), ``error`` (a ``CiamError``) and ``code`` (a str).
"""
