"""The faults in CIAM's answers, and the code that the package gives to each fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ciam_django.testing import FakeCiam

# An upstream text for developers, which must not appear in an answer.
MARKER: Final = "Unmistakable"

Plan = Callable[[FakeCiam, str], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault: the code in the log line, and the function that plans the fault in the fake."""

    name: str
    code: str
    plan: Plan
    is_slow: bool = False
    # If true, the fault is one of many bodies with the same meaning in different formats.
    is_variant: bool = False


_CODES: Final = {"ciam": "Operation.Failure.User.Locked", "oauth": "access_denied"}
_STATUSES: Final = (200, 400, 401, 403, 429, 500, 503)
_CONTENT_TYPES: Final = {"json": "application/json", "text": "text/plain", "untyped": ""}


def _failure_body(format: str, status: int, content_type: str) -> Plan:  # noqa: A002  (the fake's word)
    return lambda ciam, stage: ciam.fail(
        stage,
        code=_CODES[format],
        format=format,
        status=status,
        content_type=content_type,
        text=MARKER,
        request_id="1656572265429$49b4-21",
    )


def _misbehaviour(behaviour: str, seconds: float = 30) -> Plan:
    return lambda ciam, stage: ciam.misbehave(stage, behaviour, seconds=seconds)


def _unreachable(how: str) -> Plan:
    return lambda ciam, stage: ciam.unreachable(stage, how)


FAULTS: Final = (
    *(
        Fault(
            f"{name} body, {status}, {media}",
            code,
            _failure_body(name, status, content_type),
            is_variant=True,
        )
        for name, code in _CODES.items()
        for status in _STATUSES
        for media, content_type in _CONTENT_TYPES.items()
    ),
    Fault("success without a token", "unreadable_answer", _misbehaviour("no_token")),
    Fault("WeChat's errcode", "wechat.40029", _misbehaviour("errcode")),
    Fault("a firewall's page", "unreadable_answer", _misbehaviour("html")),
    Fault("empty body", "unreadable_answer", _misbehaviour("empty")),
    Fault("truncated body", "unreadable_answer", _misbehaviour("truncated")),
    Fault("a list", "unreadable_answer", _misbehaviour("list")),
    Fault("null", "unreadable_answer", _misbehaviour("null")),
    Fault("50,000 levels of nesting", "unreadable_answer", _misbehaviour("deep")),
    Fault("100 MB", "unreadable_answer", _misbehaviour("enormous")),
    Fault("gzip bomb", "unreadable_answer", _misbehaviour("gzip_bomb")),
    Fault("wrong charset", "Operation.Failure", _misbehaviour("wrong_charset")),
    Fault("redirect", "unreadable_answer", _misbehaviour("redirect")),
    Fault("redirect 307", "unreadable_answer", _misbehaviour("redirect_307")),
    Fault("reset", "no_connection", _misbehaviour("reset")),
    Fault("silence", "timeout", _misbehaviour("silent"), is_slow=True),
    Fault("status line by the byte", "timeout", _misbehaviour("drip_status"), is_slow=True),
    Fault("headers by the byte", "timeout", _misbehaviour("drip_headers"), is_slow=True),
    Fault("body by the byte", "timeout", _misbehaviour("drip_body"), is_slow=True),
    Fault("refused", "no_connection", _unreachable("refused")),
    Fault("no TLS", "no_connection", _unreachable("tls_nonsense")),
    Fault("an untrusted certificate", "no_connection", _unreachable("tls_untrusted")),
    Fault("silence in place of TLS", "timeout", _unreachable("tls_silent"), is_slow=True),
)
