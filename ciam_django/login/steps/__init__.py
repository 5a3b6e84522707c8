"""The steps of a sign-in: their table, their forms, and their requests to CIAM."""

from __future__ import annotations
