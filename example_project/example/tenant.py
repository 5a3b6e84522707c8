"""Select the CIAM: the tenant in the environment, or else the fake of the command ``example``."""

from __future__ import annotations

import os
from typing import Any, Final

USES_FAKE: Final = "CIAM_CLIENT_ID" not in os.environ
FAKE_PORT: Final = 8400
# A tenant's accounts are its own, so each tenant has a database of its own.
DATABASE: Final = "db.sqlite3" if USES_FAKE else f"db-{os.environ['CIAM_CLIENT_ID']}.sqlite3"

# Each registration at WeChat is a provider of its own for CIAM.
_PROVIDERS: Final = (
    "wechat-website",
    "wechat-in_app",
    "qq",
    "weibo",
    "alipay",
    "dingtalk",
    "feishu",
    "apple",
    "google",
)

_VARIABLES: Final = {
    "client_id": "CIAM_CLIENT_ID",
    "client_secret": "CIAM_CLIENT_SECRET",
    "server_metadata_url": "CIAM_SERVER_METADATA_URL",
    "authorize_url": "CIAM_AUTHORIZE_URL",
    "access_token_url": "CIAM_ACCESS_TOKEN_URL",
    "api_base_url": "CIAM_API_BASE_URL",
}


# The names of the terms in each language of the site.
TERMS: Final[list[dict[str, Any]]] = [
    {
        "uuid": "terms",
        "name": {"zh-CN": "用户协议", "zh-TW": "使用者條款", "en": "Terms of Service"},
        "url": "https://example.com/terms",
    },
    {
        "uuid": "privacy",
        "name": {"zh-CN": "隐私政策", "zh-TW": "隱私權政策", "en": "Privacy Policy"},
        "url": "https://example.com/privacy",
    },
]


def client() -> dict[str, Any]:
    """Return the OAuth client for ``AUTHLIB_OAUTH_CLIENTS``."""
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


def social_providers(fake: str = f"http://127.0.0.1:{FAKE_PORT}") -> dict[str, Any]:
    """Return ``CIAM_SOCIAL_PROVIDERS``: the fake's providers, or none for a real tenant."""
    providers: dict[str, Any] = {}
    for name in _PROVIDERS if USES_FAKE else ():
        provider, _, registration = name.partition("-")
        row = {
            "app_id": f"fake_{provider}",
            "source": f"source_{name.replace('-', '_')}",
            "authorize_url": f"{fake}/provider/{name}/authorize",
        }
        if registration:
            providers.setdefault(provider, {})[registration] = row
        else:
            providers[name] = row
    if USES_FAKE:
        for registration in ("mini_program", "app"):
            providers["wechat"][registration] = {
                "app_id": "fake_wechat",
                "source": f"source_wechat_{registration}",
            }
        # Apple then tells the name of a new user, in a form that the browser posts.
        providers["apple"]["scope"] = "name email"
    return providers
