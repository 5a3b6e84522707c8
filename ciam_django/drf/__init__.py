"""The doors and siblings for REST framework, one file per optional package."""

from __future__ import annotations

from ciam_django.drf.handler import exception_handler

__all__ = ["exception_handler"]
