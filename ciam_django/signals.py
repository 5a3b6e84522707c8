"""What a project can be told of besides the log: receivers get what the log gets, and no more.

A receiver that raises is logged by Django and changes no answer.
"""

from __future__ import annotations

from typing import Final

from django.dispatch import Signal

login_failed: Final = Signal()
"""A failure on the way in, once: ``request`` (or None), ``error`` (a ``CiamError``), ``answer``.

The error has the true code, also where the answer is a generic one.
"""

unknown_code: Final = Signal()
"""A code without a row, once for each code and process: ``request``, ``error``, ``code``."""
