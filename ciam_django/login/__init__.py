"""Signing in: the views that lead to CIAM and back, and what is kept meanwhile."""

from __future__ import annotations
