"""Return the OAuth client of the setting, and import Authlib when the client is first used.

Authlib, joserfc and requests take most of the time of a start with ``ciam_django.urls``. A process
that signs nobody in, such as a command, does not need them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ciam_django.conf import cached_until_settings_change
from ciam_django.lazy_modules import LazyModule

if TYPE_CHECKING:
    from ciam_django.client import oauth
else:
    oauth = LazyModule("ciam_django.client.oauth")


# The application token in a cached document of the app is encrypted with SECRET_KEY.
@cached_until_settings_change("AUTHLIB_OAUTH_CLIENTS", "SECRET_KEY")
def ciam_app() -> oauth.CiamApp:
    """Return the app of the setting; a changed setting creates a new app.

    An incomplete setting raises ``bad_configuration``.
    """
    return oauth.new_app()
