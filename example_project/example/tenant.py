"""Which CIAM: a tenant that the environment names, else the fake that ``example`` starts."""

from __future__ import annotations

import os
from typing import Any, Final

USES_FAKE: Final = "CIAM_CLIENT_ID" not in os.environ
FAKE_PORT: Final = 8400

_VARIABLES: Final = {
    "client_id": "CIAM_CLIENT_ID",
    "client_secret": "CIAM_CLIENT_SECRET",
    "server_metadata_url": "CIAM_SERVER_METADATA_URL",
    "authorize_url": "CIAM_AUTHORIZE_URL",
    "access_token_url": "CIAM_ACCESS_TOKEN_URL",
    "api_base_url": "CIAM_API_BASE_URL",
}


def client() -> dict[str, Any]:
    """The client for ``AUTHLIB_OAUTH_CLIENTS``."""
    if not USES_FAKE:
        return {key: os.environ[name] for key, name in _VARIABLES.items() if name in os.environ}
    fake = f"http://127.0.0.1:{FAKE_PORT}"
    issuer = f"{fake}/api/bff/v1.2/developer/ciam/oidc/fake_app_0001"
    return {
        "client_id": "fake_app_0001",
        "client_secret": "fake-client-secret",
        "server_metadata_url": f"{issuer}/.well-known/openid-configuration",
        "api_base_url": fake,
    }
