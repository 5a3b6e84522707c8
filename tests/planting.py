"""Secrets that the leak tests plant in upstream answers and requests, and functions to find them.

The secrets are in this module because error reports quote the source of a failing test. No line of
the test may contain a secret.
"""

from __future__ import annotations

import io
import json
import logging
import pickle
import re
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from django.http import HttpResponse
from werkzeug import Response

from ciam_django.errors import CiamError
from ciam_django.testing.failures import Failure

_NEEDLE: Final = "Zq79W4k9x2"
# Secrets with the formats that they have in upstream texts.
PHONE: Final = "13800138000"
EMAIL: Final = "zhang.san@mail.example"
SMS_CODE: Final = "482913"
PASSWORD: Final = "hunterdeux"
JWT: Final = "eyJhbGciOiJub25lIn0.eyJwaG9uZSI6MX0.c2ln"
SHAPES: Final = (PHONE, EMAIL, SMS_CODE, PASSWORD, JWT)
# Memory addresses, times and thread ids, whose digits can contain the SMS code by chance.
_RANDOM_NUMBERS: Final = re.compile(r"0x[0-9a-f]{6,}|\d+\.\d{3,}|\d{15,}")
_NEEDLES: Final = re.compile("|".join([rf"\w*{_NEEDLE}\w*", *map(re.escape, SHAPES)]))

REQUEST_ID: Final = "1700000000000$0f0e0d0c-1111-2222-3333-444455556666"


def secret_in(name: str) -> str:
    """Return a secret with the name of the place where it is planted."""
    return f"{name}{_NEEDLE}"


def leaky_text(name: str) -> str:
    """Return an upstream text for developers that contains secrets of all formats."""
    return (
        f"Token {secret_in(name)} of {EMAIL}, {PHONE} (code {SMS_CODE}, password={PASSWORD}) "
        f"is not {JWT}: see https://ciam.example/?code={secret_in(name)}"
    )


def leaks_in(*places: object) -> set[str]:
    """Return the secrets that occur in the texts of some objects."""
    texts = (_RANDOM_NUMBERS.sub(" ", str(place)) for place in places)
    return {secret for text in texts for secret in _NEEDLES.findall(text)}


@dataclass(frozen=True)
class LeakyFailure(Failure):
    """A failure with a given body, and with a secret in each header."""

    code: str = "planted.code"
    body: dict[str, Any] = field(default_factory=dict)

    @property
    def response(self) -> Response:
        """The failure as an HTTP response."""
        headers = {
            "Set-Cookie": f"{secret_in('cookie_name')}={secret_in('cookie')}; Path=/",
            "WWW-Authenticate": f'Bearer realm="{secret_in("realm")}"',
            "X-Request-Id": secret_in("x_request_id"),
            "X-Whatever": secret_in("header"),
            "Location": f"https://ciam.example/?{secret_in('location')}",
            "Retry-After": secret_in("retry_after"),
            "Server": secret_in("server"),
            "Content-Type": self.content_type,
        }
        return Response(json.dumps(self.body), self.status or 400, headers)


def oauth_body(code: str = "invalid_grant") -> dict[str, Any]:
    """Return a body with all members of OAuth's format and some unknown members."""
    return {
        "error": code,
        "error_description": leaky_text("error_description"),
        "error_uri": f"https://ciam.example/{secret_in('error_uri')}",
        "state": secret_in("upstream_state"),
        "requestId": f"<{secret_in('request_id')}>",
        secret_in("member_name"): secret_in("member"),
        "access_token": secret_in("access_token"),
        "data": {"phone": PHONE, "nested": [secret_in("nested")]},
    }


def ciam_body(message: str = "Operation.Failure.User.Locked", **members: Any) -> dict[str, Any]:
    """Return a body with all members of CIAM's format and some unknown members."""
    return {
        "success": False,
        "code": "Operation.Failure",
        "message": f"{message}: {leaky_text('message')}",
        "requestId": f"<{secret_in('request_id')}>",
        "data": {
            "access_token": secret_in("data"),
            "email": EMAIL,
            secret_in("data_name"): [PHONE],
        },
        secret_in("member_name"): secret_in("member"),
        "id_token": JWT,
        "userId": secret_in("user_id"),
        **members,
    }


class RecordingHandler(logging.Handler):
    """Collects all log records, and their texts at the time of the call."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []
        self.text = io.StringIO()

    def emit(self, record: logging.LogRecord) -> None:
        """Record everything that a formatter could write about the record."""
        self.records.append(record)
        lines = [record.getMessage(), repr(record.args), repr(vars(record)), record.stack_info]
        if record.exc_info:
            lines += traceback.format_exception(record.exc_info[1])
        self.text.write(f"{record.name}: {lines}\n")

    def records_of(self, logger: str) -> list[logging.LogRecord]:
        """Return the records of a logger."""
        return [record for record in self.records if record.name == logger]


def response_texts(response: HttpResponse) -> Iterable[str]:
    """Yield the body, the headers and the cookies of a response as texts."""
    yield response.content.decode()
    yield str(list(response.items()))
    yield response.cookies.output()


def error_texts(error: BaseException) -> Iterable[str]:
    """Yield the texts of an exception and of its causes, with the local variables."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        for values in (current, current.args, vars(current)):
            yield f"{values!r} {values}"
        for frame, _ in traceback.walk_tb(current.__traceback__):
            if frame.f_globals["__name__"].startswith(("ciam_django.", "authlib.", "requests.")):
                yield repr(frame.f_locals)
        current = current.__cause__ or current.__context__
    if isinstance(error, CiamError):
        yield repr(pickle.dumps(error))
