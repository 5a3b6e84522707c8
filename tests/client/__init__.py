"""Tests of ciam_django/client."""

from __future__ import annotations
