"""Talking to CIAM: one transport, one reader of bodies, Authlib's app, and the API."""

from __future__ import annotations

from ciam_django.client.api import CiamClient

__all__ = ["CiamClient"]
