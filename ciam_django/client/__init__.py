"""Send requests to CIAM and read its responses.

``CiamClient`` calls CIAM's API, and ``AsyncCiamClient`` calls the API from coroutines. A project
that has calls of its own uses ``raise_for_failure`` after a call of requests, and
``ciam_compliance_fix`` in a client of Authlib. Each name is imported at its first use: a project
that only answers errors uses the cache of this package, and does not need the other modules.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ciam_django.client.api import CiamClient
    from ciam_django.client.async_api import AsyncCiamClient
    from ciam_django.client.envelope import raise_for_failure
    from ciam_django.client.oauth import ciam_compliance_fix

__all__ = ["AsyncCiamClient", "CiamClient", "ciam_compliance_fix", "raise_for_failure"]

# Public name -> its module.
_MODULES: Final = {
    "AsyncCiamClient": "async_api",
    "CiamClient": "api",
    "ciam_compliance_fix": "oauth",
    "raise_for_failure": "envelope",
}

# At DEBUG these loggers log the PKCE verifier and OAuth 1 token of every client in the process.
for _name in ("sync_app", "async_app"):
    logging.getLogger(f"authlib.integrations.base_client.{_name}").addFilter(
        lambda record: record.levelno > logging.DEBUG
    )


def __getattr__(name: str) -> Any:
    """Import a public name at its first use (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
