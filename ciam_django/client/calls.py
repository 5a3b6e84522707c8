"""Record each call to CIAM as an event, with its duration and its failure."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from ciam_django.client.endpoints import OTHER_ENDPOINT
from ciam_django.client.envelope import data_of
from ciam_django.errors import CiamError, error_from_exception
from ciam_django.events import CALL_FINISHED, record
from ciam_django.lookup import matched_row

if TYPE_CHECKING:
    import requests

_PORTS: Final = {"http": 80, "https": 443}


def send_and_record(
    endpoint: str, request: requests.PreparedRequest, send: Callable[[], requests.Response]
) -> requests.Response:
    """Call ``send``, which sends the request, and record the event ``call_finished``.

    ``endpoint`` is the name of the endpoint. Return the response, or raise the exception of
    ``send``.
    """
    began_at_ns, began_at = time.time_ns(), time.monotonic()

    def record_end(failure: CiamError | None, http_status: int | None) -> None:
        parts = urlsplit(str(request.url))
        # The observers of the event get no code that CIAM has written.
        row = failure and matched_row(failure.code, failure.type_code, failure.upstream_status)
        record(
            CALL_FINISHED,
            endpoint=endpoint,
            http_method=request.method,
            server_address=parts.hostname,
            server_port=parts.port or _PORTS.get(parts.scheme),
            http_status=http_status,
            seconds=time.monotonic() - began_at,
            began_at_ns=began_at_ns,
            row=row and row.key,
            kind=row and row.meaning.kind,
        )

    try:
        response = send()
    except Exception as error:
        failure = error if isinstance(error, CiamError) else error_from_exception(error)
        # An exception of no known package is a fault in the response that no code has expected.
        failure = failure or CiamError("unreadable_answer")
        record_end(failure, failure.upstream_status)
        raise
    record_end(_failure_in(response, endpoint), response.status_code)
    return response


def _failure_in(response: requests.Response, endpoint: str) -> CiamError | None:
    """Return the failure in the body of a response.

    The body of another endpoint than CIAM's, such as a page, may have any form.
    """
    try:
        data_of(response)
    except CiamError as error:
        if endpoint == OTHER_ENDPOINT and error.code == "unreadable_answer" and response.ok:
            return None
        return error
    return None
