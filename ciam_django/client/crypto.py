"""Derive the keys of the package's encrypted texts from ``SECRET_KEY``."""

from __future__ import annotations

import base64

from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.utils.crypto import salted_hmac

from ciam_django.conf import cached_until_settings_change


@cached_until_settings_change("SECRET_KEY", "SECRET_KEY_FALLBACKS")
def fernet_for(purpose: str) -> MultiFernet:
    """Return the Fernet for a purpose: ``SECRET_KEY`` encrypts, and its fallbacks decrypt, too.

    The purpose is part of the key. It is a constant text, not the name of a module, so that a
    renamed module can still read what it has stored.
    """
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return MultiFernet(
        Fernet(
            base64.urlsafe_b64encode(
                salted_hmac(purpose, b"", secret=key, algorithm="sha256").digest()
            )
        )
        for key in keys
    )
