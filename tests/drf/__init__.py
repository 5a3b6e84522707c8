"""The tests of the doors and siblings for REST framework."""

from __future__ import annotations
