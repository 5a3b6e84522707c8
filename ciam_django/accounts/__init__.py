"""The app that turns a person of CIAM into a user of the project."""

from __future__ import annotations
