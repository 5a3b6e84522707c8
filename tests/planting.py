"""Secrets to plant wherever upstream or a browser can write, and the places where to look for them.

They stand here, so that no line of a test that fails has one: error reports quote the source.
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
# In texts that upstream writes: these stand for themselves, in the shapes that they have there.
PHONE: Final = "13800138000"
EMAIL: Final = "zhang.san@mail.example"
SMS_CODE: Final = "482913"
PASSWORD: Final = "hunterdeux"
JWT: Final = "eyJhbGciOiJub25lIn0.eyJwaG9uZSI6MX0.c2ln"
SHAPES: Final = (PHONE, EMAIL, SMS_CODE, PASSWORD, JWT)
# Addresses in memory, times and threads, in whose digits any code turns up some day.
_NUMBERS_OF_CHANCE: Final = re.compile(r"0x[0-9a-f]{6,}|\d+\.\d{3,}|\d{15,}")
_NEEDLES: Final = re.compile("|".join([rf"\w*{_NEEDLE}\w*", *map(re.escape, SHAPES)]))

REQUEST_ID: Final = "1700000000000$0f0e0d0c-1111-2222-3333-444455556666"


def secret_in(name: str) -> str:
    """A secret that says where it was planted."""
    return f"{name}{_NEEDLE}"


def leaky_text(name: str) -> str:
    """What upstream writes for developers, full of what it should not."""
    return (
        f"Token {secret_in(name)} of {EMAIL}, {PHONE} (code {SMS_CODE}, password={PASSWORD}) "
        f"is not {JWT}: see https://ciam.example/?code={secret_in(name)}"
    )


def leaks_in(*places: object) -> set[str]:
    """The secrets that can be read somewhere."""
    texts = (_NUMBERS_OF_CHANCE.sub(" ", str(place)) for place in places)
    return {found for text in texts for found in _NEEDLES.findall(text)}


@dataclass(frozen=True)
class LeakyFailure(Failure):
    """A failure with a body and headers of one's own, and with secrets in every one of them."""

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
    """OAuth's format, every member of it, and some of nobody's."""
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
    """CIAM's format, likewise."""
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
    """All that any logger says, as it is when it says it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []
        self.text = io.StringIO()

    def emit(self, record: logging.LogRecord) -> None:
        """Write down the record as any formatter could."""
        self.records.append(record)
        lines = [record.getMessage(), repr(record.args), repr(vars(record)), record.stack_info]
        if record.exc_info:
            lines += traceback.format_exception(record.exc_info[1])
        self.text.write(f"{record.name}: {lines}\n")

    def records_of(self, logger: str) -> list[logging.LogRecord]:
        """The records of one logger."""
        return [record for record in self.records if record.name == logger]


def response_texts(response: HttpResponse) -> Iterable[str]:
    """Body, headers and cookies."""
    yield response.content.decode()
    yield str(list(response.items()))
    yield response.cookies.output()


def error_texts(error: BaseException) -> Iterable[str]:
    """What can be read of an exception and of those that it came from."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        for values in (following, following.args, vars(following)):
            yield f"{values!r} {values}"
        for frame, _ in traceback.walk_tb(following.__traceback__):
            if frame.f_globals["__name__"].startswith(("ciam_django.", "authlib.", "requests.")):
                yield repr(frame.f_locals)
        following = following.__cause__ or following.__context__
    if isinstance(error, CiamError):
        yield repr(pickle.dumps(error))
