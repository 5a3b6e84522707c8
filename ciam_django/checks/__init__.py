"""The messages of ``manage.py check``: one file for the settings and one for each upper room."""

from __future__ import annotations
