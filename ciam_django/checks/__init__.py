"""What ``manage.py check`` says of the settings: one file for each room that has some."""

from __future__ import annotations
