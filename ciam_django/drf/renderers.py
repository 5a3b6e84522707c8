"""Add ``application/problem+json`` to REST framework's content negotiation."""

from __future__ import annotations

from rest_framework.renderers import JSONRenderer


class ProblemJSONRenderer(JSONRenderer):
    """Render RFC 9457's media type; for ``DEFAULT_RENDERER_CLASSES``, beside ``JSONRenderer``."""

    media_type = "application/problem+json"
    format = "problem"
