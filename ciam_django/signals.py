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

checking: Final = Signal()
"""``manage.py check`` asks those who know more of some settings, for what is wrong with them.

``is_well_typed`` says of a setting's name whether its type is right, ``is_in_policy`` of an origin
whether a form may lead there; ``is_made_from`` of two dotted paths whether the second is of the
class at the first, or of one that inherits from it.
"""

checking_databases: Final = Signal()
"""``manage.py check --database`` and ``migrate`` ask the same of what ``databases`` hold."""
