"""The blocks of the new project in docs/getting-started.md, which other pages build on."""

from __future__ import annotations

from typing import Final

from tests.docs.blocks import take

SETTINGS: Final = take("getting-started.md", "shop/settings.py", index=0)
URLS: Final = take("getting-started.md", "shop/urls.py")
VIEWS: Final = take("getting-started.md", "shop/views.py")
NEW_PROJECT: Final = (SETTINGS, URLS, VIEWS)
