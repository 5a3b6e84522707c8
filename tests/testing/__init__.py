"""Tests of ciam_django/testing/."""

from __future__ import annotations
