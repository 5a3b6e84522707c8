"""Test the table: its codes, the values of the rows, and the texts."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Final

import pytest

from ciam_django import lookup
from ciam_django.answers import answer_to
from ciam_django.codes import ALIASES, CODES, COLLAPSE_TARGETS, UNKNOWN, Collapse, Meaning, row
from ciam_django.errors import CiamError
from ciam_django.kinds import KINDS, Action, Audience, Kind
from ciam_django.lookup import FIELD
from tests.conftest import forget_rows
from tests.rows import for_each_row

# The values of each code on the vendor's page, in the order of the page, and of WeChat's return
# codes, which have the family "wechat":
# https://www.alibabacloud.com/help/en/idaas/ciam/developer-reference/exception-code
with Path(__file__).with_name("catalogue.tsv").open(encoding="utf-8", newline="") as _file:
    CATALOGUE: Final = {row["key"]: row for row in csv.DictReader(_file, delimiter="\t")}

PUBLISHED: Final = [code for code, row in CATALOGUE.items() if row["family"] != "wechat"]

# The codes when the tests are collected, before the first test.
CODES_AT_START: Final = list(CODES)

FAMILIES: Final = [key for key in CODES if "*" in key]

# The reasons of the rows that are not on the vendor's page. A new row needs a line here.
OUR_OWN: Final = {
    **dict.fromkeys(FAMILIES, "a family, for codes that are not published"),
    "temporarily_unavailable": "RFC 6749",
    "insufficient_scope": "RFC 6750",
    "insufficient_user_authentication": "RFC 9470",
    "login_required": "OpenID Connect Core",
    "interaction_required": "OpenID Connect Core",
    "account_selection_required": "OpenID Connect Core",
    "consent_required": "OpenID Connect Core",
    "invalid_request_uri": "OpenID Connect Core",
    "invalid_request_object": "OpenID Connect Core",
    "request_not_supported": "OpenID Connect Core",
    "request_uri_not_supported": "OpenID Connect Core",
    "registration_not_supported": "OpenID Connect Core",
    "unmet_authentication_requirements": "OpenID Connect, Unmet Authentication Requirements",
    "invalid_target": "RFC 8707",
    "unsupported_token_type": "RFC 7009, Authlib",
    "oauth_error": "Authlib",
    "mismatching_state": "Authlib, and our own state",
    "missing_code": "a callback without a code",
    "missing_request_token": "Authlib",
    "missing_token": "Authlib",
    "token_expired": "Authlib",
    "token_invalid": "Authlib",
    "bad_signature": "joserfc",
    "decode_error": "joserfc",
    "expired_token": "joserfc",
    "invalid_claim": "joserfc",
    "missing_claim": "joserfc",
    "invalid_key_id": "joserfc",
    "unsupported_algorithm": "joserfc",
    "timeout": "no answer from CIAM",
    "no_connection": "no answer from CIAM",
    "unreadable_answer": "an answer from CIAM without a meaning",
    "too_many_requests": "HTTP 429 without a code",
    "sign_up_refused": "the generic row of sign-up",
    "password_or_captcha_refused": "the generic row of a password with a CAPTCHA",
    "missing_id_token": "OIDC mode",
    "nobody_named": "a token without a user",
    "bad_configuration": "the OAuth client's settings",
    "csrf_failed": "a form without its CSRF token",
    "unknown_endpoint": "the JSON endpoints",
    "method_not_allowed": "the JSON endpoints",
    "unsupported_media_type": "the JSON endpoints",
    "mismatching_issuer": "RFC 9207",
    "account_inactive": "this project's is_active",
    "account_exists": "this project's unique fields",
    "linked_elsewhere": "an identity of another user",
    "last_way_in": "the removal of the only identity",
    "invalid_logout_token": "OpenID Connect Back-Channel Logout, 2.8",
    "session_ended": "tokens that CIAM refuses, back-channel logout",
    "storage_unavailable": "the database or the session store of this project",
    "malformed_phone_number": "refused before the call to CIAM",
    "phone_region_mismatch": "refused before the call to CIAM",
    "missing_recipient": "refused before the call to CIAM",
    "malformed_recipient": "refused before the call to CIAM",
    "unsupported_phone_region": "CIAM_PHONE_REGIONS",
    "unsupported_step": "a flowType without a page",
    UNKNOWN: "the row of codes without another row",
}


def test_the_catalogue_has_all_codes_of_the_vendors_page() -> None:
    families = [row["family"] for row in CATALOGUE.values()]

    assert len(PUBLISHED) == 162
    assert {name: families.count(name) for name in families} == {
        "oauth": 14,
        "ciam_code": 10,
        "common": 9,
        "service": 53,
        "missing": 44,
        "duplicate": 8,
        "invalid": 24,
        "wechat": 19,
    }


def test_the_table_begins_with_the_vendors_codes_in_the_vendors_order() -> None:
    assert list(CODES)[: len(PUBLISHED)] == PUBLISHED


def test_every_row_that_the_vendor_does_not_list_has_a_reason() -> None:
    assert set(CODES) - set(CATALOGUE) == set(OUR_OWN)


@for_each_row("code", CATALOGUE)
def test_a_row_has_the_values_of_the_catalogue(code: str) -> None:
    row, expected = CODES[code], CATALOGUE[code]

    assert {
        "http_status": str(row.status),
        "kind": row.kind,
        "audience": row.audience,
        "action": row.action,
        "field": row.field or "",
        "retry": "yes" if row.retry else "no",
        "collapse": row.collapse or "",
    } == {name: value for name, value in expected.items() if name not in ("key", "family")}


@pytest.mark.parametrize(
    ("codes", "kind"),
    [
        ("40029 40163 41008 42002 42003 42007 40030", Kind.SOCIAL),
        ("40001 40013 40125 41002 41004", Kind.CONFIGURATION),
        ("40226 50002", Kind.ACCOUNT_STATE),
        ("45011", Kind.RATE_LIMIT),
        ("-1", Kind.UPSTREAM),
    ],
)
def test_a_return_code_of_wechat_has_its_own_row_in_each_spelling(codes: str, kind: Kind) -> None:
    for code in codes.split():
        for spelling in (code, f"wechat.{code}", f"wechat.{code.lstrip('-')}"):
            matched = lookup.matched_row(spelling)

            assert (matched.key, matched.matched_by) == (f"wechat.{code.lstrip('-')}", "exact")
            assert matched.meaning.kind is kind
            assert matched.meaning.reason


def test_a_row_without_a_message_has_the_general_sentence_of_its_kind() -> None:
    assert row(Kind.CONFIGURATION).message == KINDS[Kind.CONFIGURATION].sentence


# The actions that a user can take although the reason is for developers.
ACTIONS_OF_USERS: Final = (
    Action.LOGIN,
    Action.RESTART,
    Action.USE_ANOTHER_METHOD,
    Action.CONTACT_SUPPORT,
)
# A user can have left out a value: these messages ask for the value.
ASKS_FOR_A_VALUE: Final = ("Params.Blank", "Params.Blank.*", "Params.Blank.Type")

ROWS_FOR_DEVELOPERS: Final = [
    code
    for code, row in CODES.items()
    if row.audience is Audience.DEVELOPER and row.kind not in (Kind.UPSTREAM, Kind.SUCCESS)
]


def test_thirty_six_codes_of_the_vendor_have_a_reason_that_no_user_can_use() -> None:
    rows = set(ROWS_FOR_DEVELOPERS) & set(PUBLISHED)

    assert len([code for code in rows if CODES[code].kind is not Kind.CONFIGURATION]) == 36


@for_each_row("code", ROWS_FOR_DEVELOPERS)
def test_the_reason_of_a_row_for_developers_is_not_in_the_message(code: str) -> None:
    result = CODES[code]
    sentence = str(KINDS[result.kind].sentence)

    assert result.reason or "*" in code
    assert not result.reason or str(result.reason) not in str(result.message)
    assert (
        str(result.message) == sentence
        or result.action in ACTIONS_OF_USERS
        or code in ASKS_FOR_A_VALUE
    )


def test_no_two_codes_differ_only_in_letter_case() -> None:
    names = [*CODES, *ALIASES]

    assert len({name.casefold() for name in names}) == len(names)


@for_each_row("alias", ALIASES)
def test_an_alias_names_a_row_and_is_not_a_row_itself(alias: str) -> None:
    assert ALIASES[alias] in CODES
    assert alias not in CODES


# --- Rules for every row ----------------------------------------------------------------------


@for_each_row("code", CODES)
def test_a_text_is_short_and_ends_with_a_full_stop(code: str) -> None:
    text = str(CODES[code].message)

    assert 0 < len(text) <= 100
    assert text.endswith(".")
    assert text[0].isupper()
    assert "  " not in text
    assert text == text.strip()
    assert text.isascii()


@for_each_row("code", CODES)
def test_a_text_names_neither_ciam_nor_a_code(code: str) -> None:
    text = str(CODES[code].message)

    assert not re.search(
        r"\b(CIAM|IDaaS|Alibaba|Aliyun|OAuth|OIDC|API|HTTP)\b", text, re.IGNORECASE
    )
    assert not re.search(r"[A-Za-z]\.[A-Z]|\w_\w|\d", text)
    assert not any(name in text for name in CODES)


@for_each_row("code", CODES)
def test_a_text_has_no_words_that_apologize_or_blame(code: str) -> None:
    text = str(CODES[code].message)

    assert not re.search(
        r"\b(please|sorry|oops|invalid|illegal|forbidden|error occurred)\b", text, re.IGNORECASE
    )


@for_each_row("code", CODES)
def test_only_rate_limits_and_upstream_failures_can_be_retried(code: str) -> None:
    row = CODES[code]

    assert not row.retry or row.status in (429, 503)


@for_each_row("code", CODES)
def test_a_row_has_an_allowed_status_that_fits_its_kind(code: str) -> None:
    row = CODES[code]

    assert row.status in {200, 400, 401, 403, 404, 405, 409, 410, 413, 415, 429, 500, 503}
    assert (row.status == 500) == (row.kind is Kind.CONFIGURATION)
    assert (row.status == 503) == (row.kind is Kind.UPSTREAM)
    assert (row.status == 429) == (row.kind is Kind.RATE_LIMIT)


@for_each_row("code", CODES)
def test_a_field_of_a_row_may_be_shown(code: str) -> None:
    field = CODES[code].field

    assert field is None or FIELD.fullmatch(field)


@for_each_row("family", FAMILIES)
def test_a_family_is_a_prefix_or_the_suffix_of_rate_limits(family: str) -> None:
    assert family.endswith(".*") or family == "*.Too.Frequency"
    assert family.count("*") == 1


@for_each_row("family", FAMILIES)
def test_a_family_has_the_status_of_a_published_code(family: str) -> None:
    """`Server.Access.Denied.*` is an exception: its only published code is an expired token."""
    pattern = re.compile(re.escape(family).replace(r"\*", r".+"), re.IGNORECASE)
    statuses = [CODES[code].status for code in CATALOGUE if pattern.fullmatch(code)]

    assert not statuses or CODES[family].status in statuses or family == "Server.Access.Denied.*"


def test_codes_of_unsupported_operations_have_no_family() -> None:
    assert "Operation.Failure.Unsupported.*" not in CODES
    assert "Operation.Failure.*" not in CODES


# --- Collapse, success, unknown ---------------------------------------------------------------


@for_each_row("collapse", Collapse)
def test_a_generic_row_does_not_collapse(collapse: Collapse) -> None:
    target = CODES[COLLAPSE_TARGETS[collapse]]

    assert target.collapse is None
    assert target.field is None
    assert 400 <= target.status < 500


def test_the_code_of_a_success_has_a_row_but_is_answered_as_unknown() -> None:
    answer = answer_to(CiamError("Operation.Success"))

    assert CODES["Operation.Success"].kind is Kind.SUCCESS
    assert [code for code, row in CODES.items() if row.kind is Kind.SUCCESS] == [
        "Operation.Success"
    ]
    assert (answer.status, answer.kind, answer.code) == (503, "upstream", UNKNOWN)


@pytest.mark.parametrize(
    ("code", "type_code"),
    [("operation.success", ""), ("Weird", "Operation.Success"), ("Operation.Success", "Weird")],
)
def test_each_spelling_of_the_success_code_is_answered_as_a_failure(
    code: str, type_code: str
) -> None:
    answer = answer_to(CiamError(code, type_code=type_code))

    assert answer.status == 503


def test_a_row_takes_the_values_of_its_kind_for_missing_arguments() -> None:
    result = row(Kind.FLOW, message="Start again.", status=410)

    assert result == Meaning(
        kind=Kind.FLOW,
        message="Start again.",
        status=410,
        action=Action.RESTART,
        field=None,
        audience=KINDS[Kind.FLOW].audience,
        retry=False,
        collapse=None,
    )


@for_each_row("code", [code for code in CATALOGUE if code.count(".") >= 2])
def test_a_code_without_its_row_takes_the_row_of_its_family_or_unknown(
    code: str, table: dict[str, Meaning]
) -> None:
    rows = dict(table)
    del table[code]
    forget_rows()
    matched = lookup.matched_row(code)
    table.update(rows)

    prefixes = [f for f in FAMILIES if code.startswith(f.removesuffix("*")) and f[0] != "*"]
    suffixes = [f for f in FAMILIES if f[0] == "*" and code.endswith(f.removeprefix("*"))]
    expected = max(prefixes, key=len, default=None) or next(iter(suffixes), UNKNOWN)
    assert matched.key == expected
    assert matched.matched_by == ("unknown" if expected == UNKNOWN else "family")


def test_no_test_leaves_the_table_changed() -> None:
    assert list(CODES) == CODES_AT_START
