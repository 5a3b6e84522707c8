"""The questions of ``manage.py ciam_doctor``: ``table.py`` has a row for each question."""

from __future__ import annotations
