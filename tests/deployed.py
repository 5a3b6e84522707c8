"""How a process of ``test_deployment`` begins; imports no models, for which it is too early."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import django

from tests import settings


def set_up_django(configured: Mapping[str, Any]) -> None:
    """Set Django up with the tests' settings, and these over them, for as long as it lives."""
    vars(settings).update(configured)
    django.setup()
