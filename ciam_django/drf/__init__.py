"""The entry points for REST framework and the packages around it, in one file per package."""

from __future__ import annotations

from ciam_django.drf.handler import exception_handler

__all__ = ["exception_handler"]
