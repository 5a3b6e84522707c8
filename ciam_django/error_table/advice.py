"""The causes of the codes, and the advice for operators, as tables.

``manage.py ciam_errors``, the admin and the documentation use these tables.

``causes.tsv`` has a row for each code: the code, the cause, and the advice if the code needs advice
of its own. The causes of CIAM's codes follow CIAM's documentation.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from ciam_django.kinds import Kind

_CAUSES: Final = Path(__file__).with_name("causes.tsv")

_UNVERIFIED_CONSOLE: Final = "(The places and names in CIAM's console are unverified.)"
# The advice for operators, for each code without advice of its own.
KIND_ADVICE: Final[Mapping[Kind, str]] = {
    Kind.CREDENTIALS: (
        "Nothing: users mistype passwords. A sudden increase can be an attack: see "
        "`CIAM_TRY_LIMITS` and `CIAM_CAPTCHA_AFTER`."
    ),
    Kind.TOKEN: "Nothing: the user signs in again. A sudden increase can be a wrong clock.",
    Kind.VERIFICATION: "Nothing: users mistype codes, or enter codes too late.",
    Kind.CAPTCHA: "Nothing: users mistype CAPTCHAs. A sudden increase can be an attack.",
    Kind.MFA: "Compare the second factors in CIAM's console with the data that users have.",
    Kind.CONSENT: "Nothing: the user has to agree to the terms.",
    Kind.VALIDATION: (
        "Nothing if users mistype values. If each request of a front end fails, compare its "
        "requests with the `field` of the answer."
    ),
    Kind.FLOW: (
        "Nothing: the user starts again. A sudden increase can be a problem with cookies, with "
        "the cache or with a proxy."
    ),
    Kind.PERMISSION: "Check the permissions of the user in CIAM's console.",
    Kind.ACCOUNT_STATE: "Check the account in CIAM's console if the user asks for help.",
    Kind.NOT_FOUND: "Nothing, unless a front end of the project asks for it.",
    Kind.CONFLICT: "Nothing: the user enters another value.",
    Kind.RATE_LIMIT: (
        "Nothing if few users reach the limit. If many users reach the limit, look for an attack, "
        "and ask Alibaba Cloud about the limits of the tenant."
    ),
    Kind.SOCIAL: (
        "Nothing: the user tries again. If every sign-in with a provider fails, check the "
        "authentication source in CIAM's console."
    ),
    Kind.CONFIGURATION: (
        "Correct the configuration: every user gets this answer. The log line is an ERROR and has "
        "the reason; run `manage.py check`, too."
    ),
    Kind.UPSTREAM: (
        "Look at the status of CIAM. If the failure goes on, ask Alibaba Cloud, with the request "
        "id of the log line."
    ),
    Kind.SUCCESS: "Nothing.",
}


class Cause(NamedTuple):
    """A row of ``causes.tsv``; ``advice`` is empty where the advice of the kind is enough."""

    code: str
    cause: str
    advice: str = ""


@functools.cache
def causes() -> Mapping[str, Cause]:
    """Return code -> cause; the texts are Markdown."""
    with _CAUSES.open(encoding="utf-8", newline="") as file:
        rows = [Cause(*row) for row in csv.reader(file, "excel-tab", quoting=csv.QUOTE_NONE)]
    return {row.code: row for row in rows}


def cause_of(code: str) -> str:
    """Return the cause of a code, as Markdown; empty for a code of the project."""
    row = causes().get(code)
    return row.cause if row else ""


def advice_for(code: str, kind: Kind) -> str:
    """Return the advice for operators, as Markdown."""
    row = causes().get(code)
    advice = row.advice if row and row.advice else KIND_ADVICE[kind]
    # CIAM documents its API, and hardly the pages of its console.
    return f"{advice} {_UNVERIFIED_CONSOLE}" if "CIAM's console" in advice else advice
