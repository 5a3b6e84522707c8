"""The tests of the entry points for REST framework and the packages around it."""

from __future__ import annotations
