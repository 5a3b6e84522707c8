"""Read the data or the failure in a response of CIAM, in both formats and for any status."""

from __future__ import annotations

import json
from typing import Any

import requests

from ciam_django.errors import CiamError, error_from_body


def data_of(response: requests.Response) -> dict[str, Any]:
    """Return the members of a successful answer, without CIAM's envelope if there is an envelope.

    A failure in the body raises a ``CiamError`` with the code, status and request id. A redirect,
    and a body that is not a JSON object, raise ``unreadable_answer``.
    """
    status, headers = response.status_code, response.headers
    try:
        body = _parsed_json(response.content)
    except (ValueError, RecursionError):
        body = None
    if not _is_plain_success(body) and (
        error := error_from_body(body, status=status, headers=headers)
    ):
        raise error
    if not isinstance(body, dict) or 300 <= status < 400:
        raise CiamError("unreadable_answer", upstream_status=status)
    data = body.get("data")
    return data if isinstance(data, dict) and "access_token" not in body else body


def _is_plain_success(body: object) -> bool:
    """True if the body has ``"success": true`` and no member that could contradict it."""
    if not isinstance(body, dict) or body.get("success") is not True:
        return False
    # The names of members may be in any letter case, see ``error_from_body``.
    contradicting = {"success", "error", "errcode"}
    return not any(name != "success" and str(name).casefold() in contradicting for name in body)


def _parsed_json(content: bytes) -> object:
    # The Content-Type is ignored: CIAM also sends JSON as text/plain. A wrong charset destroys the
    # texts, but not the codes, which are ASCII.
    return json.loads(content.decode(json.detect_encoding(content), "replace"))
