"""The tests of the template tags."""

from __future__ import annotations
