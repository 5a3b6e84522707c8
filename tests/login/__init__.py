"""Tests of ``ciam_django.login``."""

from __future__ import annotations
