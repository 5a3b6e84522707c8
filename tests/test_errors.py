"""Whatever fails, and however upstream puts it, comes out as one exception that tells nothing."""

from __future__ import annotations

import copy
import json
import pickle
import random
import time
import traceback
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import joserfc.errors
import pytest
import requests
from authlib.integrations.base_client import errors as authlib_errors
from authlib.integrations.django_client import OAuth
from authlib.oauth2.rfc6749 import errors as rfc6749
from joserfc import jwt
from joserfc.jwk import KeySet, OctKey
from requests import exceptions as requests_errors
from requests.structures import CaseInsensitiveDict

from ciam_django.codes import CODES
from ciam_django.errors import (
    CiamError,
    Stage,
    code_in,
    error_from_authlib,
    error_from_body,
    error_from_exception,
    raising_ciam_errors,
)
from ciam_django.lookup import matched_row
from ciam_django.privacy import clear_frames_on_error, loggable_code, redacted_text
from tests.rows import for_each_row

REQUEST_ID = "1700000000000$0f0e0d0c-1111-2222-3333-444455556666"
JWT = (
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhcHAtMSIsInNjb3BlIjoiVVNFUl9BUEkifQ"
    ".c2lnbmF0dXJlLXRoYXQtaXMtbm90LW9uZQ"
)
LONG_AGO = "Wed, 21 Oct 2015 07:28:00 GMT"


def envelope(**members: object) -> dict[str, object]:
    """CIAM's own format, as of a failure."""
    return {
        "success": False,
        "code": "Operation.Failure",
        "message": "Operation.Failure.User.Locked",
        "requestId": REQUEST_ID,
        "data": None,
        **members,
    }


def failure(body: object, status: int = 200, retry_after: str | None = None) -> CiamError:
    headers = CaseInsensitiveDict({} if retry_after is None else {"retry-after": retry_after})
    error = error_from_body(body, status=status, headers=headers)
    assert error is not None
    return error


# --- The exception ----------------------------------------------------------------------------


def test_an_error_has_what_it_was_made_with() -> None:
    error = CiamError(
        "Operation.Failure.User.Locked",
        type_code="Operation.Failure",
        upstream_text="Locked for a while",
        request_id=REQUEST_ID,
        upstream_status=500,
        stage="password",
        retry_after=30,
    )

    assert error.code == "Operation.Failure.User.Locked"
    assert error.type_code == "Operation.Failure"
    assert error.upstream_text == "Locked for a while"
    assert error.request_id == REQUEST_ID
    assert error.upstream_status == 500
    assert error.stage == "password"
    assert error.retry_after == 30


def test_a_code_is_all_that_an_error_needs() -> None:
    error = CiamError("my.own.code")

    assert error.args == ("my.own.code",)
    assert (error.type_code, error.upstream_text, error.request_id, error.stage) == ("",) * 4
    assert error.upstream_status is None
    assert error.retry_after is None


def test_a_stage_is_given_as_a_member_or_by_its_name() -> None:
    assert CiamError("timeout", stage=Stage.TOKEN).stage is Stage.TOKEN
    assert CiamError("timeout", stage="token").stage is Stage.TOKEN
    assert CiamError("timeout").stage == ""
    assert [str(stage) for stage in Stage] == [
        "authorize", "callback", "token", "id_token", "userinfo", "refresh", "logout", "password",
        "send_code", "verify_code", "social", "register", "recover", "profile", "api",
    ]  # fmt: skip


@pytest.mark.parametrize("stage", ["pasword", "Password", " token"])
def test_an_unknown_stage_is_an_error_where_it_is_written(stage: str) -> None:
    for use in (lambda: CiamError("timeout", stage=stage), lambda: raising_ciam_errors(stage)):
        with pytest.raises(ValueError, match="is not a stage of ciam_django"):
            use()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_survives_pickling_without_what_upstream_wrote(protocol: int) -> None:
    error = CiamError(
        "invalid_grant",
        type_code="x",
        upstream_text="Unmistakable words",
        request_id=REQUEST_ID,
        upstream_status=400,
        stage="token",
        retry_after=7,
    )

    pickled = pickle.dumps(error, protocol)
    again = pickle.loads(pickled)  # noqa: S301

    assert b"Unmistakable" not in pickled
    assert type(again) is CiamError
    assert vars(again) == {**vars(error), "upstream_text": ""}
    assert str(again) == str(error)


def test_a_copy_is_an_error_like_it() -> None:
    again = copy.copy(CiamError("invalid_grant", stage="token"))

    assert (again.code, again.stage) == ("invalid_grant", "token")


@pytest.mark.parametrize("show", [str, repr, traceback.format_exception_only])
def test_what_upstream_wrote_is_not_shown_with_the_error(show: Callable[[object], object]) -> None:
    error = CiamError("invalid_grant", upstream_text="Unmistakable words", stage="token")

    shown = str(show(error))

    assert "invalid_grant" in shown
    assert "Unmistakable" not in shown


def test_a_hostile_code_is_shown_in_the_alphabet_of_codes() -> None:
    error = CiamError("a.b\r\nX-Injected: 1\x1b[31m" + "c" * 500, stage="token")

    assert str(error) == "a.bX-Injected:131m" + "c" * 110
    assert "\n" not in repr(error)


@for_each_row(
    "request_id",
    [
        "",
        "abc\r\nSet-Cookie: a=b",
        "abc\n",
        "abc def",
        "<script>",
        "über",
        "１２３",
        "a" * 129,
        "a/b",
    ],
)
def test_what_is_not_in_the_shape_of_a_request_id_is_dropped(request_id: str) -> None:
    assert CiamError("timeout", request_id=request_id).request_id == ""


@pytest.mark.parametrize("request_id", [REQUEST_ID, "a", "a" * 128, "local-0123456789abcdef"])
def test_a_request_id_is_kept(request_id: str) -> None:
    assert CiamError("timeout", request_id=request_id).request_id == request_id


@pytest.mark.parametrize(
    ("given", "kept"),
    [(1, 1), (3600, 3600), (0, None), (-5, None), (3601, None), (10**12, None), (None, None)],
)
def test_a_wait_is_one_to_3600_seconds(given: int | None, kept: int | None) -> None:
    assert CiamError("too_many_requests", retry_after=given).retry_after == kept


# --- Redaction --------------------------------------------------------------------------------


@for_each_row(
    "text, secret",
    [
        ("Invalid authorization code: 202301020304055abcDEfG", "202301020304055abcDEfG"),
        ("code 202301020304055abcDEfG was used", "abcDEfG"),
        (f"Invalid access token: {JWT}", "eyJ"),
        (f"Token {JWT[:40]} is cut off", "eyJ"),
        (f"{JWT}", "c2lnbmF0dXJl"),
        ("The verification code 493817 is wrong", "493817"),
        ("验证码4938已过期", "4938"),
        ("User 13912345678 is locked", "13912345678"),
        ("User +86 139 1234 5678 is locked", "5678"),
        ("User +86-139-1234-5678 is locked", "5678"),
        ("User (0571) 8502 2088 is locked", "8502"),
        ("User wang.wei@example.com.cn is locked", "wang"),
        ("用户王伟@例子.公司被锁定", "例子"),
        ("password=Sesame is wrong", "Sesame"),
        ("password: Sesame", "Sesame"),
        ('{"password": "open Sesame please"}', "Sesame"),
        ("{'new_password': 'open Sesame'}", "Sesame"),
        ("newPasswd=Sesame&x=1", "Sesame"),
        ("pwd=Sesame", "Sesame"),
        ("密码错误：芝麻开门", "芝麻开门"),
        ("驗證碼：abcd", "abcd"),
        ("client_secret=Sesame", "Sesame"),
        ("id_token_hint=Sesame", "Sesame"),
        ("Cookie: sessionid", "sessionid"),
        ("See http://10.0.0.1/cb?code=Sesame&state=x for more", "Sesame"),
        ("See HTTPS://example.com/cb?code=Sesame", "Sesame"),
        ("client 0f0e0d0c-1111-2222-3333-444455556666", "4444"),
        ("key ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef", "ABCDEF"),
    ],
)
def test_what_may_be_secret_or_personal_is_redacted(text: str, secret: str) -> None:
    assert secret in text
    assert secret not in redacted_text(text)
    assert secret not in CiamError("invalid_grant", upstream_text=text).upstream_text


@for_each_row(
    "text",
    [
        "",
        "Operation.Failure.Mini.Program.Silent.Login",
        "The user is locked for 29 minutes",
        "HTTP 500",
        "用户已被锁定",
        "ReadTimeout",
    ],
)
def test_what_helps_operators_stays(text: str) -> None:
    assert redacted_text(text) == text


@pytest.mark.parametrize("separator", ["\r\n", "\n", "\x00", "\x1b", "\u2028", "\u2029", "\x7f"])
def test_a_text_is_one_line(separator: str) -> None:
    assert redacted_text(f"one{separator}two") == "one two"


@pytest.mark.parametrize("text", ['密码："，"+', 'password="my pass phrase', "token='a b"])
def test_a_named_secret_ends_where_its_quotes_do_or_the_text(text: str) -> None:
    line = redacted_text(text)

    assert line.endswith("[redacted]")
    assert redacted_text(line) == line


def test_a_text_ends_after_500_characters() -> None:
    assert len(redacted_text("some words " * 1000)) == 500


def test_an_email_with_two_signs_leaves_nothing_behind() -> None:
    assert redacted_text("to li@wang@example.com") == "to [email]"


def test_nothing_but_space_is_nothing() -> None:
    assert redacted_text(" \n" * 1000).strip() == ""


def test_a_secret_is_not_cut_in_two() -> None:
    # Only its first three digits, which are too few to look like a number, are in the part that is
    # read; the address before them is short when it is redacted, so that they would be shown.
    text = "https://ciam.example/" + "a" * 999 + " 13812345678"

    assert redacted_text(text) == "[url]"


@for_each_row(
    "text",
    [
        "https://shop.example/cb?user=alice&note=hi",
        "http://shop.example/alice",
        "HTTPS://SHOP.EXAMPLE/ALICE",
    ],
)
def test_an_address_is_redacted_with_its_path_and_query(text: str) -> None:
    assert redacted_text(f"see {text} please") == "see [url] please"


@pytest.mark.parametrize(
    "text", ["a" * 10**6, "@" * 10**6, "1 " * 10**6, "a@" * 10**6, "'" * 10**6]
)
def test_a_hostile_text_is_redacted_quickly(text: str) -> None:
    # The time of the processor, which a busy machine does not change.
    before = time.thread_time()
    redacted_text(text)

    assert time.thread_time() - before < 0.5


@pytest.mark.parametrize(
    ("code", "loggable"),
    [
        ("Operation.Failure.User.Locked", "Operation.Failure.User.Locked"),
        ("Params.Blank.*", "Params.Blank.*"),
        ("a\r\nERROR b", "aERRORb"),
        ("%s{}", "s"),
        ("中文", ""),
        ("x" * 200, "x" * 128),
    ],
)
def test_a_loggable_code_has_the_alphabet_of_codes(code: str, loggable: str) -> None:
    assert loggable_code(code) == loggable


# --- Codes in texts ---------------------------------------------------------------------------


@for_each_row(
    "text, code",
    [
        ("Operation.Failure.User.Locked", "Operation.Failure.User.Locked"),
        ("  Operation.Failure.User.Locked ", "Operation.Failure.User.Locked"),
        ("Operation.Failure.User.Locked: 29 minutes left", "Operation.Failure.User.Locked"),
        ("Operation.Failure.User.Locked，请稍后", "Operation.Failure.User.Locked"),
        ("Operation.Failure.User.Locked.", "Operation.Failure.User.Locked"),
        ("Operation.Failure.User.Locked...", "Operation.Failure.User.Locked"),
        ("Operation.Failure.Unsupported.2fa.Type!", "Operation.Failure.Unsupported.2fa.Type"),
        ("invalid_grant", "invalid_grant"),
        ("请稍后", ""),
        ("2fa", ""),
        ("", ""),
        (".a", ""),
        (None, ""),
        (200, ""),
        (["invalid_grant"], ""),
        ({"a": "b"}, ""),
    ],
)
def test_a_code_is_what_a_text_begins_with(text: object, code: str) -> None:
    assert code_in(text) == code


@for_each_row("code", CODES)
@for_each_row("tail", ["", ": 29 minutes left", "，请稍后", " (retry later)", "\n"])
def test_every_code_is_found_in_both_formats_in_any_case_with_words_behind(
    code: str, tail: str
) -> None:
    if "*" in code or code == "Operation.Success":
        return
    generator = random.Random(code)
    mixed = "".join(generator.choice([c.lower(), c.upper()]) for c in code)

    for spelling in (code, code.lower(), code.upper(), mixed):
        as_message = {**envelope(), "message": spelling + tail, "code": "Operation.Failure"}
        bodies: list[dict[str, object]] = [{"error": spelling + tail}]
        if "." in code:
            bodies += [as_message]
        bodies += [{"success": False, "code": spelling + tail, "message": "请联系管理员"}]
        for body in bodies:
            found = failure(body)
            assert matched_row(found.code, found.type_code).key == code, body


# --- Bodies -----------------------------------------------------------------------------------


def test_an_oauth_body_gives_its_error() -> None:
    error = failure(
        {
            "error": "invalid_grant",
            "error_description": "Invalid authorization code: 202301020304055abcDEfG",
            "error_uri": "http://xxxxx/api/oauth/token/provider",
            "requestId": REQUEST_ID,
        },
        status=400,
    )

    assert error.code == "invalid_grant"
    assert error.type_code == ""
    assert error.upstream_text == "Invalid authorization code: [redacted]"
    assert error.request_id == REQUEST_ID
    assert error.upstream_status == 400


def test_an_envelope_gives_its_message_and_its_type_code() -> None:
    error = failure(envelope(), status=500)

    assert error.code == "Operation.Failure.User.Locked"
    assert error.type_code == "Operation.Failure"
    assert error.request_id == REQUEST_ID
    assert error.upstream_status == 500


def test_a_message_for_people_gives_the_type_code() -> None:
    error = failure(envelope(message="Something went wrong. Try again."))

    assert error.code == "Operation.Failure"
    assert error.type_code == ""
    assert error.upstream_text == "Something went wrong. Try again."


def test_a_message_that_repeats_the_code_has_no_type_code() -> None:
    error = failure(envelope(code="Params.Illegal", message="params.illegal"))

    assert (error.code, error.type_code) == ("params.illegal", "")


@for_each_row(
    "body, code",
    [
        (None, "unreadable_answer"),
        ([], "unreadable_answer"),
        ([envelope()], "unreadable_answer"),
        ("Operation.Failure.User.Locked", "unreadable_answer"),
        (True, "unreadable_answer"),
        (12, "unreadable_answer"),
        ({"success": False}, "unreadable_answer"),
        ({"success": None, "code": "Operation.Failure"}, "Operation.Failure"),
        ({"success": "false", "code": "Operation.Failure"}, "Operation.Failure"),
        ({"success": "FALSE"}, "unreadable_answer"),
        ({"success": 0}, "unreadable_answer"),
        ({"success": []}, "unreadable_answer"),
        ({"success": "no"}, "unreadable_answer"),
        ({"success": False, "code": 500, "message": 12}, "unreadable_answer"),
        ({"success": False, "code": ["Operation.Failure"]}, "unreadable_answer"),
        ({"success": False, "message": [["Operation.Failure"]]}, "unreadable_answer"),
        ({"success": False, "message": {"code": "x"}}, "unreadable_answer"),
        ({"success": False, "code": "Operation.Success"}, "unreadable_answer"),
        ({"success": False, "message": "Operation.Success"}, "unreadable_answer"),
        (
            {"success": False, "code": "Operation.Success", "message": "Params.Blank.Code"},
            "Params.Blank.Code",
        ),
        ({"code": "Operation.Failure"}, "Operation.Failure"),
        (
            {"code": 500, "message": "Operation.Failure.User.Locked"},
            "Operation.Failure.User.Locked",
        ),
        ({"code": "500", "message": "oops"}, "unreadable_answer"),
        ({"code": {}}, "unreadable_answer"),
        (
            {"Success": False, "Code": "Params.Blank", "Message": "Params.Blank.Code"},
            "Params.Blank.Code",
        ),
        ({"error": "invalid_token"}, "invalid_token"),
        ({"Error": "invalid_token"}, "invalid_token"),
        ({"error": "invalid_token", "success": True}, "invalid_token"),
        ({"error": ["invalid_token"]}, "unreadable_answer"),
        ({"error": 401}, "unreadable_answer"),
        ({"error": True}, "unreadable_answer"),
        ({"error": "请重新登录"}, "unreadable_answer"),
        ({"error": {"code": "Params.Blank", "message": "Params.Blank.Code"}}, "Params.Blank.Code"),
        ({"Error": {"Code": "Params.Blank"}}, "Params.Blank"),
        ({"error": {"message": "Operation.Failure.User.Locked"}}, "Operation.Failure.User.Locked"),
        ({"error": {"error": "invalid_token"}, "success": True}, "invalid_token"),
        ({"error": {"x": 1}}, "unreadable_answer"),
        ({"errcode": 40029, "errmsg": "invalid code, rid: 1"}, "wechat.40029"),
        ({"errcode": -1, "errmsg": "system error"}, "wechat.1"),
    ],
)
def test_a_failure_is_told_by_the_body(body: object, code: str) -> None:
    assert failure(body).code == code


@for_each_row(
    "body, status",
    [
        ({"access_token": "x"}, 200),
        ({}, 200),
        ({"success": True}, 200),
        ({"success": "true"}, 200),
        ({"success": "True"}, 200),
        ({"Success": True, "Code": "Operation.Success"}, 200),
        ({"success": True, "code": 200, "message": None}, 200),
        ({"success": True}, 500),
        ({"code": "Operation.Success", "data": {}}, 200),
        ({"code": "operation.success"}, 200),
        ({"code": 200, "message": None}, 200),
        ({"code": "200"}, 200),
        ({"code": None}, 200),
        ({"error": None, "success": True}, 200),
        ({"error": ""}, 200),
        ({"error": {}, "access_token": "x"}, 200),
        ({"errcode": 0, "errmsg": "ok"}, 200),
    ],
)
def test_what_tells_of_no_failure_is_none(body: object, status: int) -> None:
    assert error_from_body(body, status=status) is None


@for_each_row("status", [400, 401, 404, 500, 503])
@for_each_row("body", [{}, None, {"code": "Operation.Success"}, {"code": 200}])
def test_a_body_that_says_nothing_fails_with_its_status(body: object, status: int) -> None:
    error = failure(body, status)

    assert error.code == "unreadable_answer"
    assert error.upstream_status == status


@pytest.mark.parametrize("body", [None, {}, [], {"success": False}, {"error": 1}], ids=str)
def test_without_a_code_429_means_itself(body: object) -> None:
    assert failure(body, 429).code == "too_many_requests"


def test_an_error_object_takes_the_request_id_beside_it() -> None:
    error = failure({"requestId": REQUEST_ID, "error": {"code": "Params.Blank"}})

    assert error.request_id == REQUEST_ID


@pytest.mark.parametrize("request_id", [5, None, ["a"], {"a": 1}, "a\r\nb", "a b"])
def test_a_request_id_of_any_other_shape_is_dropped(request_id: object) -> None:
    assert failure(envelope(requestId=request_id)).request_id == ""


def test_what_wechat_wrote_is_kept_for_the_log() -> None:
    error = failure(
        {"errcode": 40029, "errmsg": "invalid code, openid: o6_bmjrPTlm6_2sgVt7hMZOPfL2M"}
    )

    assert error.upstream_text == "invalid code, openid: [redacted]"


@for_each_row(
    "value, seconds",
    [
        ("30", 30),
        (" 30 ", 30),
        ("1", 1),
        ("3600", 3600),
        ("3601", None),
        ("0", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("٣٠", None),
        ("9" * 400, None),
        (LONG_AGO, None),
        ("Mon, 99 Jan 99999 99:99:99 +9999", None),
        ("1 jan 99999999999 1:1:1 GMT", None),
        ("-9999 dec - 1:2 -9999 0", None),
    ],
)
def test_retry_after_is_read_where_it_helps(value: str, seconds: int | None) -> None:
    error = failure({"error": "x"}, 429, value)

    assert error.retry_after == seconds


def test_retry_after_may_be_a_date() -> None:
    soon = formatdate(time.time() + 90, usegmt=True)
    late = formatdate(time.time() + 90000, usegmt=True)

    assert 85 <= (failure({"error": "x"}, 429, soon).retry_after or 0) <= 91
    assert failure({"error": "x"}, 429, late).retry_after is None


def test_headers_are_optional() -> None:
    assert error_from_body({"error": "x"}) is not None


# --- Other people's exceptions ----------------------------------------------------------------

AUTHLIB = [
    (authlib_errors.OAuthError(), "oauth_error"),
    (authlib_errors.OAuthError("access_denied", "words of a stranger"), "access_denied"),
    (authlib_errors.OAuthError("not a code at all!"), "not"),
    (authlib_errors.OAuthError("!"), "oauth_error"),
    (authlib_errors.MissingRequestTokenError(), "missing_request_token"),
    (authlib_errors.MissingTokenError(), "missing_token"),
    (authlib_errors.TokenExpiredError(), "token_expired"),
    (authlib_errors.InvalidTokenError(), "token_invalid"),
    (authlib_errors.UnsupportedTokenTypeError(), "unsupported_token_type"),
    (authlib_errors.MismatchingStateError(), "mismatching_state"),
    (rfc6749.InvalidGrantError("words"), "invalid_grant"),
    (rfc6749.InvalidClientError(), "invalid_client"),
]
JOSERFC = [
    (joserfc.errors.BadSignatureError(), "bad_signature"),
    (joserfc.errors.DecodeError("words"), "decode_error"),
    (joserfc.errors.ExpiredTokenError("exp"), "expired_token"),
    (joserfc.errors.InvalidClaimError("aud"), "invalid_claim"),
    (joserfc.errors.MissingClaimError("nonce"), "missing_claim"),
    (joserfc.errors.InvalidKeyIdError(), "invalid_key_id"),
    (joserfc.errors.UnsupportedAlgorithmError(), "unsupported_algorithm"),
]
REQUESTS = [
    (requests_errors.ReadTimeout("https://x/?code=1"), "timeout"),
    (requests_errors.ConnectTimeout("x"), "timeout"),
    (requests_errors.Timeout("x"), "timeout"),
    (requests_errors.ConnectionError("x"), "no_connection"),
    (requests_errors.SSLError("x"), "no_connection"),
    (requests_errors.ProxyError("x"), "no_connection"),
    (requests_errors.ChunkedEncodingError("x"), "no_connection"),
    (requests_errors.TooManyRedirects("x"), "unreadable_answer"),
    (requests_errors.ContentDecodingError("x"), "unreadable_answer"),
    (requests_errors.JSONDecodeError("x", "", 0), "unreadable_answer"),
    (requests_errors.MissingSchema("x"), "bad_configuration"),
    (requests_errors.InvalidSchema("x"), "bad_configuration"),
    (requests_errors.InvalidURL("x"), "bad_configuration"),
    (requests_errors.InvalidHeader("x"), "no_connection"),
    (requests_errors.HTTPError("x"), "unreadable_answer"),
]


def turned(raised: Exception, stage: str = "token") -> CiamError:
    """What the border makes of an exception."""
    with pytest.raises(CiamError) as caught, raising_ciam_errors(stage):
        raise raised
    return caught.value


@for_each_row("raised, code", [*AUTHLIB, *JOSERFC, *REQUESTS])
def test_an_exception_of_theirs_leaves_as_ours(raised: Exception, code: str) -> None:
    error = turned(raised, "userinfo")

    assert error.code == code
    assert error.stage == "userinfo"
    assert error.cause_names == (f"{type(raised).__module__}.{type(raised).__qualname__}",)
    assert error.__cause__ is error.__context__ is None


@for_each_row("raised, code", AUTHLIB)
def test_the_doors_may_know_those_of_authlibs_client(raised: Exception, code: str) -> None:
    error = error_from_authlib(raised)

    assert error is not None
    assert (error.code, error.stage) == (code, "")


@pytest.mark.parametrize(
    "raised",
    [joserfc.errors.BadSignatureError(), requests_errors.Timeout(), ValueError(), OSError()],
)
def test_the_doors_know_no_others(raised: Exception) -> None:
    assert error_from_authlib(raised) is None


def test_every_exception_of_joserfc_has_a_meaning_that_asks_to_sign_in_again() -> None:
    classes = [
        found
        for found in vars(joserfc.errors).values()
        if isinstance(found, type) and issubclass(found, joserfc.errors.JoseError) and found.error
    ]

    assert len(classes) > 20
    for found in classes:
        error = turned(found.__new__(found))
        assert matched_row(error.code, error.type_code).meaning.kind == "token", found


def test_every_exception_of_authlibs_client_has_a_row() -> None:
    codes = {
        found.error
        for found in vars(authlib_errors).values()
        if isinstance(found, type) and issubclass(found, authlib_errors.OAuthError)
    }

    assert codes <= set(CODES)


def test_every_exception_of_requests_is_turned() -> None:
    for name, found in vars(requests_errors).items():
        if isinstance(found, type) and issubclass(found, requests_errors.RequestException):
            raised = found.__new__(found)
            assert error_from_exception(raised) is not None, name


def test_what_a_stranger_wrote_into_the_callback_is_redacted() -> None:
    error = turned(authlib_errors.OAuthError("access_denied", "call 13912345678\r\nnow"))

    assert error.upstream_text == "call [redacted] now"


def answered(content: bytes, status: int, **headers: str) -> requests.Response:
    response = requests.Response()
    response._content = content
    response.status_code = status
    response.headers.update(headers)
    return response


def test_a_server_error_with_a_body_of_ciam_is_read() -> None:
    response = answered(json.dumps(envelope()).encode(), 500, **{"Retry-After": "9"})
    with pytest.raises(CiamError) as caught, raising_ciam_errors("token"):
        response.raise_for_status()

    assert caught.value.code == "Operation.Failure.User.Locked"
    assert caught.value.request_id == REQUEST_ID
    assert caught.value.upstream_status == 500
    assert caught.value.retry_after == 9


@for_each_row(
    "content",
    [
        b"",
        b"<html>",
        b"[]",
        b"\xff\xfe",
        b'{"success": true}',
        b"[" * 10**5,
        b'"Operation.Failure"',
    ],
)
@for_each_row("status, code", [(500, "unreadable_answer"), (502, "unreadable_answer")])
def test_a_server_error_with_any_other_body_is_unreadable(
    content: bytes, status: int, code: str
) -> None:
    with pytest.raises(CiamError) as caught, raising_ciam_errors("token"):
        answered(content, status).raise_for_status()

    assert caught.value.code == code


def test_a_429_without_a_body_is_too_many_requests() -> None:
    with pytest.raises(CiamError) as caught, raising_ciam_errors("token"):
        answered(b"slow down", 429).raise_for_status()

    assert caught.value.code == "too_many_requests"


# --- Python's own exceptions ------------------------------------------------------------------


def authlib_without_addresses() -> None:
    """RuntimeError: Missing "authorize_url" value."""
    oauth = OAuth()
    app: Any = oauth.register("nowhere", client_id="x")
    app.create_authorization_url("https://example.com/")


def joserfc_with_broken_keys() -> None:
    """ValueError: n must be >= 3."""
    KeySet.import_key_set({"keys": [{"kty": "RSA", "n": "AQ", "e": "AQ"}]}).keys[0].check_use("sig")
    keys: Any = KeySet.import_key_set({"keys": [{"kty": "RSA", "n": "AQ", "e": "AQ"}]}).keys
    keys[0].public_key  # noqa: B018


def requests_with_deep_json() -> None:
    """RecursionError, which is a RuntimeError."""
    answered(b"[" * 10**5, 200).json()


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (authlib_without_addresses, "bad_configuration"),
        (joserfc_with_broken_keys, "unreadable_answer"),
        (requests_with_deep_json, "unreadable_answer"),
    ],
)
def test_what_python_raises_in_their_code_is_turned(call: Callable[[], None], code: str) -> None:
    with pytest.raises(CiamError) as caught, raising_ciam_errors("authorize"):
        call()

    assert caught.value.code == code


def test_a_token_that_joserfc_refuses_is_turned() -> None:
    key = OctKey.import_key("x" * 32)
    with pytest.raises(CiamError) as caught, raising_ciam_errors("id_token"):
        jwt.decode(JWT, key)

    assert caught.value.code == "bad_signature"
    assert matched_row("bad_signature").meaning.status == 401


@pytest.mark.parametrize(
    "raised",
    [
        RuntimeError("mine"),
        ValueError("mine"),
        KeyError("mine"),
        TypeError("mine"),
        OSError("mine"),
    ],
    ids=repr,
)
def test_what_i_raise_myself_passes_untouched(raised: Exception) -> None:
    with pytest.raises(type(raised)) as caught, raising_ciam_errors("token"):
        raise raised

    assert caught.value is raised


def test_what_my_code_raises_below_theirs_is_mine() -> None:
    def hook(response: requests.Response, **kwargs: Any) -> requests.Response:
        raise RuntimeError("mine")

    session = requests.Session()
    session.mount("mine://", AdapterOfMine())
    session.hooks["response"].append(hook)

    with pytest.raises(RuntimeError, match="mine"), raising_ciam_errors("token"):
        session.get("mine://host/")


class AdapterOfMine(requests.adapters.BaseAdapter):
    """An answer without a network."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kw: Any) -> requests.Response:
        response = answered(b"{}", 200)
        response.request = request
        return response

    def close(self) -> None:
        pass


def test_what_python_raises_of_another_sort_in_their_code_passes() -> None:
    session = requests.Session()
    with pytest.raises(AttributeError), raising_ciam_errors("token"):
        session.prepare_request(None)  # type: ignore[arg-type]  # a slip on purpose


def test_what_is_no_exception_passes() -> None:
    with pytest.raises(KeyboardInterrupt), raising_ciam_errors("token"):
        raise KeyboardInterrupt


def test_what_works_works() -> None:
    with raising_ciam_errors("token"):
        result = 1

    assert result == 1


def test_an_error_of_ours_gets_the_stage_that_it_lacks() -> None:
    error = CiamError("timeout")

    assert turned(error, "token") is error
    assert error.stage == "token"


def test_an_error_of_ours_keeps_the_stage_that_it_has() -> None:
    error = CiamError("timeout", stage="userinfo")

    assert turned(error, "token") is error
    assert error.stage == "userinfo"


def test_the_border_is_a_decorator_too() -> None:
    @raising_ciam_errors("userinfo")
    def call() -> None:
        raise requests_errors.Timeout

    for _ in range(2):
        with pytest.raises(CiamError) as caught:
            call()
        assert caught.value.stage == "userinfo"


# --- What is left of other people's exceptions ------------------------------------------------


def upstream_fails(secret: str) -> None:
    """As Authlib does, from a cause of its own."""
    try:
        raise KeyError(secret)
    except KeyError as error:
        raise authlib_errors.OAuthError("invalid_grant", f"Invalid code: {secret}") from error


def values_in(error: BaseException) -> str:
    """Everything that a report could print of an exception, its chain and its frames."""
    found, seen = [], set()
    following: BaseException | None = error
    while following and id(following) not in seen:
        seen.add(id(following))
        found.append(f"{following!r} {following} {following.args} {vars(following)}")
        # The first frame is the test's own, or pytest's.
        frames = list(traceback.walk_tb(following.__traceback__))[1:]
        found += [repr(frame.f_locals) for frame, _ in frames]
        following = following.__cause__ or following.__context__
    return "\n".join(found)


def test_of_a_foreign_exception_only_the_names_are_left() -> None:
    with pytest.raises(CiamError) as caught, raising_ciam_errors("token"):
        upstream_fails("S3cret-4711")
    error = caught.value

    assert error.cause_names == ("authlib.integrations.base_client.errors.OAuthError", "KeyError")
    assert error.__cause__ is error.__context__ is None
    assert "S3cret" not in values_in(error)
    assert "S3cret" not in "".join(traceback.format_exception(error))
    assert b"S3cret" not in pickle.dumps(error)


def test_an_error_of_ours_passes_without_its_causes_and_values() -> None:
    def read(secret: str) -> None:
        try:
            raise ValueError(secret)
        except ValueError as error:
            raise CiamError("unreadable_answer") from error

    with pytest.raises(CiamError) as caught, raising_ciam_errors("token"):
        read("S3cret-4711")

    assert caught.value.cause_names == ("ValueError",)
    assert "S3cret" not in values_in(caught.value)


def test_names_survive_a_second_border() -> None:
    with (
        pytest.raises(CiamError) as caught,
        raising_ciam_errors("api"),
        raising_ciam_errors("token"),
    ):
        raise requests_errors.ConnectTimeout("https://x/?code=1")

    assert caught.value.cause_names == ("requests.exceptions.ConnectTimeout",)
    assert caught.value.stage == "token"


def test_a_circle_of_causes_has_an_end() -> None:
    first, second = requests_errors.Timeout("1"), ValueError("2")
    first.__cause__, second.__cause__ = second, first

    assert turned(first).cause_names == ("requests.exceptions.Timeout", "ValueError")


@pytest.mark.parametrize("raised", [CiamError("timeout"), ValueError("mine"), KeyboardInterrupt()])
def test_a_function_that_leaves_no_values_leaves_none(raised: BaseException) -> None:
    @clear_frames_on_error
    def sign_in(password: str, *, code: str) -> None:
        worked_out = password + code
        try:
            raise LookupError(len(worked_out))
        except LookupError:
            raise raised  # noqa: B904

    with pytest.raises(type(raised)) as caught:
        sign_in("S3cret-1", code="S3cret-2")

    assert caught.value is raised
    assert "S3cret" not in values_in(raised)
    assert sign_in.__name__ == "sign_in"


def test_the_border_as_a_decorator_leaves_no_values() -> None:
    @raising_ciam_errors("token")
    def call(code: str) -> str:
        if code == "good":
            return code
        raise requests_errors.Timeout(code)

    with pytest.raises(CiamError) as caught:
        call("S3cret-1")

    assert "S3cret" not in values_in(caught.value)
    assert call("good") == "good"


@for_each_row(
    "text",
    [
        "li.si@example.com is not registered",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0 expired",
        "user.13800001111",
        "AT.k4Xk29sLqpA8 is no token",
        "example.com/callback?code=1",
        "aGVsbG8.d29ybGQ=",
        "a." + "x" * 60,
    ],
)
def test_what_may_be_a_secret_is_no_code(text: str) -> None:
    assert code_in(text) == ""
    for body in (envelope(message=text, code=""), {"error": text, "success": False}):
        assert failure(body, 400).code == "unreadable_answer"


@for_each_row("code", [code for code in CODES if "*" not in code])
def test_every_code_of_the_table_is_one(code: str) -> None:
    assert code_in(code) == code
