"""The template tags of ``{% load ciam %}``."""

from __future__ import annotations
