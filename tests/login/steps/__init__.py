"""Tests of ``ciam_django.login.steps``."""

from __future__ import annotations
