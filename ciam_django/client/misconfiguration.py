"""Name the setting that the operators have to correct in an error of a call to CIAM."""

from __future__ import annotations

import contextlib
from typing import Final
from urllib.parse import urlsplit

from ciam_django.errors import CiamError
from ciam_django.network import is_loopback_url
from ciam_django.privacy import own_text

_START_FAKE: Final = "If it is the fake CIAM, start it: python -m ciam_django.testing"


def name_setting(error: CiamError, setting: str, url: str) -> None:
    """Add the name of the setting and the host of the URL to the text of the error.

    Only the log line has this text, because the operators have to correct the setting.
    """
    place = f'AUTHLIB_OAUTH_CLIENTS["ciam"]["{setting}"], host {_host_of(url)}'
    is_fake_away = error.code == "no_connection" and is_loopback_url(url)
    advice = f". {_START_FAKE}" if is_fake_away else ""
    error.upstream_text = own_text(f"{place}: {error.upstream_text or error}{advice}")


def misconfiguration(error: CiamError, reason: str = "") -> CiamError:
    """Return ``bad_configuration`` for a failure that only the operators can end."""
    return CiamError(
        "bad_configuration",
        type_code=error.code,
        upstream_text=reason or error.upstream_text,
        request_id=error.request_id,
        upstream_status=error.upstream_status,
        stage=error.stage,
    )


def _host_of(url: str) -> str:
    """Return the host and the port of a URL, without a user name and a password."""
    with contextlib.suppress(ValueError):
        return urlsplit(url).netloc.rpartition("@")[2] or "-"
    return "-"
