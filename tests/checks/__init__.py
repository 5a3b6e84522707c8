"""Tests of ``ciam_django.checks``."""

from __future__ import annotations
