"""The steps of a login: the table, their forms, and the requests that they send to CIAM."""

from __future__ import annotations
