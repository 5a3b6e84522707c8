"""Import ``phonenumbers`` when it is first used, and not when the project starts.

The tables of ``phonenumbers`` take a tenth of the time of a start with ``ciam_django.urls``. Other
modules use the name ``phonenumbers`` of this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ciam_django.lazy_modules import LazyModule

if TYPE_CHECKING:
    import phonenumbers as phonenumbers  # noqa: PLC0414  (mypy exports this name)
else:
    phonenumbers = LazyModule("phonenumbers")
