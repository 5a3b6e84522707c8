"""Read the data or the failure in a response of CIAM, in both formats and for any status."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from ciam_django.errors import CiamError, error_from_body
from ciam_django.privacy import clear_frames_on_error

if TYPE_CHECKING:
    import requests

# Seconds by which CIAM's clock may differ from ours.
LEEWAY: Final = 120
# The seconds of an ``expires_in``, which is a number or a text of digits, as a text. More than nine
# digits would be more than 30 years.
LIFETIME: Final = re.compile(r"([0-9]{1,9})(?:\.[0-9]+)?")

# The members that can make a body a failure, whatever its other members say.
_FAILURE_MEMBERS: Final = frozenset({"success", "error", "errcode"})


@clear_frames_on_error
def raise_for_failure(response: requests.Response) -> None:
    """Raise a ``CiamError`` if the response of CIAM is a failure, whatever its HTTP status.

    CIAM sends many failures with HTTP 200, so that ``response.raise_for_status()`` is not
    enough. The body decides, in CIAM's format (``"success": false``) or in OAuth's (``"error"``).
    A redirect, and a body that is not a JSON object, raise ``unreadable_answer``. An empty body
    is not a failure if the status is 2xx (RFC 7009, section 2.2). The error has no stage: call the
    function within ``raising_ciam_errors(stage)``.
    """
    if response.content or not 200 <= response.status_code < 300:
        data_of(response)


def data_of(response: requests.Response) -> dict[str, Any]:
    """Return the members of a successful response, without CIAM's envelope if there is one.

    A failure in the body raises a ``CiamError`` with the code, status and request id. A redirect,
    and a body that is not a JSON object, raise ``unreadable_answer``.
    """
    status, headers = response.status_code, response.headers
    try:
        body = _parsed_json(response.content)
    except (ValueError, RecursionError):
        body = None
    if not _is_plain_success(body, status) and (
        error := error_from_body(body, status=status, headers=headers)
    ):
        raise error
    if not isinstance(body, dict) or 300 <= status < 400:
        raise CiamError("unreadable_answer", upstream_status=status)
    data = body.get("data")
    return data if isinstance(data, dict) and "access_token" not in body else body


def _is_plain_success(body: object, status: int) -> bool:
    """Return True if no member of the body can make it a failure, see ``error_from_body``.

    A body is a success of CIAM's format with ``"success": true``, or of OAuth's format without a
    ``success`` and a ``code``.
    """
    if not isinstance(body, dict):
        return False
    # The names of members may be in any letter case.
    names = {str(name).casefold() for name in body if name != "success"}
    if body.get("success") is True:
        return names.isdisjoint(_FAILURE_MEMBERS)
    return "success" not in body and status < 400 and names.isdisjoint({*_FAILURE_MEMBERS, "code"})


def _parsed_json(content: bytes) -> object:
    # The Content-Type is ignored: CIAM also sends JSON as text/plain. A wrong charset destroys the
    # texts, but not the codes, which are ASCII.
    return json.loads(content.decode(json.detect_encoding(content), "replace"))
