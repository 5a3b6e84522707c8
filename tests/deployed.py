"""Sets up a process of ``test_deployment``. No model can be imported before the setup."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import django

from tests import settings


def set_up_django(overrides: Mapping[str, Any]) -> None:
    """Set Django up for the life of the process, with overrides of the tests' settings."""
    vars(settings).update(overrides)
    django.setup()
