"""Tests of ``ciam_django.doctor``."""

from __future__ import annotations
