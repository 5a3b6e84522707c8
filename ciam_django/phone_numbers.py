"""Import ``phonenumbers`` when it is first used, and not when the project starts.

The tables of ``phonenumbers`` take a tenth of the time of a start with ``ciam_django.urls``. Other
modules use the name ``phonenumbers`` of this module.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any


class _LazyModule:
    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module("phonenumbers"), name)


if TYPE_CHECKING:
    import phonenumbers as phonenumbers  # noqa: PLC0414  (mypy exports this name)
else:
    phonenumbers = _LazyModule()
