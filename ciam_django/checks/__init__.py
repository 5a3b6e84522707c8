"""The checks of ``manage.py check``, in one module each for settings, login and accounts."""

from __future__ import annotations
