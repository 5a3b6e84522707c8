"""Tests of ciam_django/accounts."""

from __future__ import annotations
