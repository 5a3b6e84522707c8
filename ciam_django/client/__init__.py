"""Send requests to CIAM and read its responses.

``CiamClient`` calls CIAM's API, and ``AsyncCiamClient`` calls the API from coroutines. A project
that has calls of its own uses ``raise_for_failure`` after a call of requests, and
``ciam_compliance_fix`` in a client of Authlib.
"""

from __future__ import annotations

from ciam_django.client.api import CiamClient
from ciam_django.client.async_api import AsyncCiamClient
from ciam_django.client.envelope import raise_for_failure
from ciam_django.client.oauth import ciam_compliance_fix

__all__ = ["AsyncCiamClient", "CiamClient", "ciam_compliance_fix", "raise_for_failure"]
