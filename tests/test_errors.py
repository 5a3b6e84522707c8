"""Test ``CiamError``, the reading of bodies, and the conversion of exceptions."""

from __future__ import annotations

import copy
import json
import pickle
import random
import re
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
from authlib.oauth1.rfc5849 import errors as rfc5849
from authlib.oauth2.rfc6749 import errors as rfc6749
from joserfc import jwt
from joserfc.jwk import KeySet, OctKey
from requests import exceptions as requests_errors
from requests.structures import CaseInsensitiveDict

from ciam_django.codes import ALIASES, CODES
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
from tests.rows import for_each_row

REQUEST_ID = "1700000000000$0f0e0d0c-1111-2222-3333-444455556666"
JWT = (
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhcHAtMSIsInNjb3BlIjoiVVNFUl9BUEkifQ"
    ".c2lnbmF0dXJlLXRoYXQtaXMtbm90LW9uZQ"
)
LONG_AGO = "Wed, 21 Oct 2015 07:28:00 GMT"


def envelope(**members: object) -> dict[str, object]:
    """A failure in the format of CIAM."""
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


def test_an_error_has_the_values_of_its_arguments() -> None:
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


def test_an_error_needs_only_a_code() -> None:
    error = CiamError("my.own.code")

    assert error.args == ("my.own.code",)
    assert (error.type_code, error.upstream_text, error.request_id, error.stage) == ("",) * 4
    assert error.upstream_status is None
    assert error.retry_after is None
    assert (error.generic_code, error.is_reported) == ("", False)
    assert re.fullmatch(r"local-[0-9a-f]{16}", error.reference)


def test_a_stage_is_given_as_a_member_or_by_its_name() -> None:
    assert CiamError("timeout", stage=Stage.TOKEN).stage is Stage.TOKEN
    assert CiamError("timeout", stage="token").stage is Stage.TOKEN
    assert CiamError("timeout").stage == ""
    assert [str(stage) for stage in Stage] == [
        "authorize", "callback", "token", "id_token", "userinfo", "refresh", "logout", "password",
        "send_code", "verify_code", "social", "register", "recover", "profile", "api",
    ]  # fmt: skip


@pytest.mark.parametrize("stage", ["pasword", "Password", " token"])
def test_an_unknown_stage_raises_a_value_error(stage: str) -> None:
    for use in (lambda: CiamError("timeout", stage=stage), lambda: raising_ciam_errors(stage)):
        with pytest.raises(ValueError, match="is not a stage of ciam_django"):
            use()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickled_error_loses_only_its_upstream_text(protocol: int) -> None:
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


def test_a_copy_of_an_error_has_its_values() -> None:
    again = copy.copy(CiamError("invalid_grant", stage="token"))

    assert (again.code, again.stage) == ("invalid_grant", "token")


@pytest.mark.parametrize("show", [str, repr, traceback.format_exception_only])
def test_an_error_is_shown_without_its_upstream_text(show: Callable[[object], object]) -> None:
    error = CiamError("invalid_grant", upstream_text="Unmistakable words", stage="token")

    shown = str(show(error))

    assert "invalid_grant" in shown
    assert "Unmistakable" not in shown


def test_an_error_is_shown_with_only_characters_of_codes() -> None:
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
def test_a_malformed_request_id_is_dropped(request_id: str) -> None:
    assert CiamError("timeout", request_id=request_id).request_id == ""


@pytest.mark.parametrize("request_id", [REQUEST_ID, "a", "a" * 128, "local-0123456789abcdef"])
def test_a_valid_request_id_is_stored(request_id: str) -> None:
    assert CiamError("timeout", request_id=request_id).request_id == request_id


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(1, 1), (3600, 3600), (0, None), (-5, None), (3601, None), (10**12, None), (None, None)],
)
def test_retry_after_outside_of_1_to_3600_seconds_is_dropped(
    seconds: int | None, expected: int | None
) -> None:
    assert CiamError("too_many_requests", retry_after=seconds).retry_after == expected


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
        ("wechat.-1 system busy", "wechat.-1"),
        ("wechat.-12", "wechat"),
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
def test_a_code_is_read_from_the_start_of_a_text(text: object, code: str) -> None:
    assert code_in(text) == code


@for_each_row("code", CODES)
@for_each_row("tail", ["", ": 29 minutes left", "，请稍后", " (retry later)", "\n"])
def test_every_code_is_read_from_both_formats_in_any_letter_case_and_before_other_words(
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
            error = failure(body)
            assert matched_row(error.code, error.type_code).key == code, body


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


def test_an_envelope_gives_its_message_as_code_and_its_code_as_type_code() -> None:
    error = failure(envelope(), status=500)

    assert error.code == "Operation.Failure.User.Locked"
    assert error.type_code == "Operation.Failure"
    assert error.request_id == REQUEST_ID
    assert error.upstream_status == 500


def test_an_envelope_with_a_sentence_as_message_gives_its_code() -> None:
    error = failure(envelope(message="Something went wrong. Try again."))

    assert error.code == "Operation.Failure"
    assert error.type_code == ""
    assert error.upstream_text == "Something went wrong. Try again."


def test_an_envelope_with_equal_message_and_code_has_no_type_code() -> None:
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
        ({"errcode": "40029", "errmsg": "invalid code"}, "wechat.40029"),
        ({"errcode": 9, "errmsg": ""}, "wechat.9"),
        ({"success": False, "code": 40163, "message": "code been used"}, "wechat.40163"),
        ({"success": False, "code": "40163", "message": "code been used"}, "wechat.40163"),
        ({"success": False, "code": "Social.Login.Error", "message": "40226"}, "wechat.40226"),
        ({"success": False, "code": "-1", "message": "busy"}, "wechat.1"),
        ({"success": False, "code": 1, "message": "busy"}, "unreadable_answer"),
        ({"success": False, "code": 40163.0, "message": None}, "unreadable_answer"),
    ],
)
def test_a_failure_is_read_from_the_body(body: object, code: str) -> None:
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
def test_a_body_of_a_success_is_no_failure(body: object, status: int) -> None:
    assert error_from_body(body, status=status) is None


@for_each_row("status", [400, 401, 404, 500, 503])
@for_each_row("body", [{}, None, {"code": "Operation.Success"}, {"code": 200}])
def test_a_body_without_an_error_is_a_failure_at_an_error_status(body: object, status: int) -> None:
    error = failure(body, status)

    assert error.code == "unreadable_answer"
    assert error.upstream_status == status


@pytest.mark.parametrize("body", [None, {}, [], {"success": False}, {"error": 1}], ids=str)
def test_a_429_body_without_a_code_is_too_many_requests(body: object) -> None:
    assert failure(body, 429).code == "too_many_requests"


def test_an_error_object_gets_the_request_id_of_the_body() -> None:
    error = failure({"requestId": REQUEST_ID, "error": {"code": "Params.Blank"}})

    assert error.request_id == REQUEST_ID


@pytest.mark.parametrize("request_id", [5, None, ["a"], {"a": 1}, "a\r\nb", "a b"])
def test_a_malformed_request_id_of_a_body_is_dropped(request_id: object) -> None:
    assert failure(envelope(requestId=request_id)).request_id == ""


def test_the_error_message_of_wechat_is_the_upstream_text() -> None:
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
def test_retry_after_is_read_from_the_headers_as_seconds(value: str, seconds: int | None) -> None:
    error = failure({"error": "x"}, 429, value)

    assert error.retry_after == seconds


def test_retry_after_is_read_from_the_headers_as_a_date() -> None:
    soon = formatdate(time.time() + 90, usegmt=True)
    late = formatdate(time.time() + 90000, usegmt=True)

    assert 85 <= (failure({"error": "x"}, 429, soon).retry_after or 0) <= 91
    assert failure({"error": "x"}, 429, late).retry_after is None


def test_the_headers_of_a_failure_are_optional() -> None:
    assert error_from_body({"error": "x"}) is not None
    assert error_from_body({}) is None


# --- Exceptions of other packages -------------------------------------------------------------

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


def converted(raised: Exception, stage: str = "token") -> CiamError:
    """The error that raising_ciam_errors() raises for an exception."""
    with pytest.raises(CiamError) as caught, raising_ciam_errors(stage):
        raise raised
    return caught.value


@for_each_row("raised, code", [*AUTHLIB, *JOSERFC, *REQUESTS])
def test_an_exception_of_a_client_package_becomes_a_ciam_error(
    raised: Exception, code: str
) -> None:
    error = converted(raised, "userinfo")

    assert error.code == code
    assert error.stage == "userinfo"
    assert error.cause_names == (f"{type(raised).__module__}.{type(raised).__qualname__}",)
    assert error.__cause__ is error.__context__ is None


@for_each_row("raised, code", AUTHLIB)
def test_error_from_authlib_converts_errors_of_authlibs_client(
    raised: Exception, code: str
) -> None:
    error = error_from_authlib(raised)

    assert error is not None
    assert (error.code, error.stage) == (code, "")
    assert error.cause_names == (f"{type(raised).__module__}.{type(raised).__qualname__}",)


@pytest.mark.parametrize(
    "raised",
    [
        joserfc.errors.BadSignatureError(),
        requests_errors.Timeout(),
        # OAuth 1 is an exception of Authlib, and not of its client of OAuth 2.
        rfc5849.InvalidRequestError(),
        ValueError(),
        OSError(),
    ],
)
def test_error_from_authlib_converts_no_other_exception(raised: Exception) -> None:
    assert error_from_authlib(raised) is None


def test_every_exception_of_joserfc_has_the_action_login() -> None:
    classes = [
        cls
        for cls in vars(joserfc.errors).values()
        if isinstance(cls, type) and issubclass(cls, joserfc.errors.JoseError) and cls.error
    ]

    assert len(classes) > 20
    for cls in classes:
        error = converted(cls.__new__(cls))
        assert matched_row(error.code, error.type_code).meaning.kind == "token", cls


def test_every_exception_of_authlibs_client_has_a_row() -> None:
    codes = {
        cls.error
        for cls in vars(authlib_errors).values()
        if isinstance(cls, type) and issubclass(cls, authlib_errors.OAuthError)
    }

    assert codes <= set(CODES)


def test_every_exception_of_requests_is_converted() -> None:
    for name, cls in vars(requests_errors).items():
        if isinstance(cls, type) and issubclass(cls, requests_errors.RequestException):
            raised = cls.__new__(cls)
            assert error_from_exception(raised) is not None, name


def test_an_error_description_of_the_callback_is_redacted() -> None:
    error = converted(authlib_errors.OAuthError("access_denied", "call 13912345678\r\nnow"))

    assert error.upstream_text == "call [redacted] now"


def response_with(content: bytes, status: int, **headers: str) -> requests.Response:
    response = requests.Response()
    response._content = content
    response.status_code = status
    response.headers.update(headers)
    return response


def test_a_server_error_with_a_body_of_ciam_is_read() -> None:
    response = response_with(json.dumps(envelope()).encode(), 500, **{"Retry-After": "9"})
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
        response_with(content, status).raise_for_status()

    assert caught.value.code == code


def test_a_429_without_a_body_is_too_many_requests() -> None:
    with pytest.raises(CiamError) as caught, raising_ciam_errors("token"):
        response_with(b"slow down", 429).raise_for_status()

    assert caught.value.code == "too_many_requests"


# --- Python's own exceptions ------------------------------------------------------------------


def call_authlib_without_urls() -> None:
    """RuntimeError: Missing "authorize_url" value."""
    oauth = OAuth()
    app: Any = oauth.register("nowhere", client_id="x")
    app.create_authorization_url("https://example.com/")


def use_broken_keys_of_joserfc() -> None:
    """ValueError: n must be >= 3."""
    KeySet.import_key_set({"keys": [{"kty": "RSA", "n": "AQ", "e": "AQ"}]}).keys[0].check_use("sig")
    keys: Any = KeySet.import_key_set({"keys": [{"kty": "RSA", "n": "AQ", "e": "AQ"}]}).keys
    keys[0].public_key  # noqa: B018


def read_deep_json_with_requests() -> None:
    """RecursionError, a subclass of RuntimeError."""
    response_with(b"[" * 10**5, 200).json()


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (call_authlib_without_urls, "bad_configuration"),
        (use_broken_keys_of_joserfc, "unreadable_answer"),
        (read_deep_json_with_requests, "unreadable_answer"),
    ],
)
def test_a_builtin_exception_in_a_client_package_is_converted(
    call: Callable[[], None], code: str
) -> None:
    with pytest.raises(CiamError) as caught, raising_ciam_errors("authorize"):
        call()

    assert caught.value.code == code


@for_each_row("package", ["authlib", "joserfc", "requests", "urllib3"])
@for_each_row(
    "kind, code",
    [
        (RuntimeError, "bad_configuration"),
        (NotImplementedError, "bad_configuration"),
        (RecursionError, "unreadable_answer"),
        (ValueError, "unreadable_answer"),
        (UnicodeDecodeError, "unreadable_answer"),
        (KeyError, "unreadable_answer"),
        (TypeError, "unreadable_answer"),
        (ZeroDivisionError, None),
    ],
)
def test_a_builtin_exception_is_converted_only_from_a_client_package(
    package: str, kind: type[Exception], code: str | None
) -> None:
    raised = kind("utf-8", b"", 0, 1, "") if kind is UnicodeDecodeError else kind("text")
    for name, expected in ((f"{package}.module", code), ("shop", None), (f"{package}_x", None)):
        namespace: dict[str, Any] = {"__name__": name, "raised": raised}
        exec("def fail():\n    raise raised", namespace)  # noqa: S102  (in a module of the package)
        raised.__traceback__ = None
        with pytest.raises(kind):
            namespace["fail"]()
        error = error_from_exception(raised)
        assert (error and error.code) == expected


def test_a_token_that_joserfc_refuses_raises_a_ciam_error() -> None:
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
def test_an_exception_of_the_callers_code_passes_unchanged(raised: Exception) -> None:
    with pytest.raises(type(raised)) as caught, raising_ciam_errors("token"):
        raise raised

    assert caught.value is raised


def test_an_exception_of_a_hook_of_the_caller_passes_unchanged() -> None:
    def hook(response: requests.Response, **kwargs: Any) -> requests.Response:
        raise RuntimeError("mine")

    session = requests.Session()
    session.mount("mine://", LocalAdapter())
    session.hooks["response"].append(hook)

    with pytest.raises(RuntimeError, match="mine"), raising_ciam_errors("token"):
        session.get("mine://host/")


class LocalAdapter(requests.adapters.BaseAdapter):
    """An adapter that answers without a network."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kw: Any) -> requests.Response:
        response = response_with(b"{}", 200)
        response.request = request
        return response

    def close(self) -> None:
        pass


def test_another_builtin_exception_in_a_client_package_passes() -> None:
    session = requests.Session()
    with pytest.raises(AttributeError), raising_ciam_errors("token"):
        session.prepare_request(None)  # type: ignore[arg-type]  # wrong on purpose


def test_an_exception_that_is_no_subclass_of_exception_passes() -> None:
    with pytest.raises(KeyboardInterrupt), raising_ciam_errors("token"):
        raise KeyboardInterrupt


def test_a_call_without_an_exception_is_unchanged() -> None:
    with raising_ciam_errors("token"):
        result = 1

    assert result == 1


def test_a_ciam_error_without_a_stage_gets_the_stage() -> None:
    error = CiamError("timeout")

    assert converted(error, "token") is error
    assert error.stage == "token"


def test_a_ciam_error_with_a_stage_keeps_its_stage() -> None:
    error = CiamError("timeout", stage="userinfo")

    assert converted(error, "token") is error
    assert error.stage == "userinfo"


def test_raising_ciam_errors_works_as_a_decorator() -> None:
    @raising_ciam_errors("userinfo")
    def call() -> None:
        raise requests_errors.Timeout

    for _ in range(2):
        with pytest.raises(CiamError) as caught:
            call()
        assert caught.value.stage == "userinfo"


# --- Data in converted exceptions -------------------------------------------------------------


def test_the_names_of_all_exceptions_behind_an_error_are_kept() -> None:
    def fail() -> None:
        try:
            try:
                raise KeyError("first")
            except KeyError:
                raise ValueError("second")  # noqa: B904  (its context is the first exception)
        except ValueError as error:
            raise authlib_errors.OAuthError("invalid_grant") from error

    with pytest.raises(CiamError) as caught, raising_ciam_errors("token"):
        fail()

    assert caught.value.cause_names == (
        "authlib.integrations.base_client.errors.OAuthError",
        "ValueError",
        "KeyError",
    )


def raise_oauth_error(secret: str) -> None:
    """Raise an error of Authlib with a cause, as Authlib does."""
    try:
        raise KeyError(secret)
    except KeyError as error:
        raise authlib_errors.OAuthError("invalid_grant", f"Invalid code: {secret}") from error


def reported_values(error: BaseException) -> str:
    """Everything that an error report could show of an exception, its chain and its frames."""
    texts, seen = [], set()
    following: BaseException | None = error
    while following and id(following) not in seen:
        seen.add(id(following))
        texts.append(f"{following!r} {following} {following.args} {vars(following)}")
        # The first frame is a frame of the test or of pytest.
        frames = list(traceback.walk_tb(following.__traceback__))[1:]
        texts += [repr(frame.f_locals) for frame, _ in frames]
        following = following.__cause__ or following.__context__
    return "\n".join(texts)


def test_a_converted_exception_leaves_only_class_names() -> None:
    with pytest.raises(CiamError) as caught, raising_ciam_errors("token"):
        raise_oauth_error("S3cret-4711")
    error = caught.value

    assert error.cause_names == ("authlib.integrations.base_client.errors.OAuthError", "KeyError")
    assert error.__cause__ is error.__context__ is None
    assert "S3cret" not in reported_values(error)
    assert "S3cret" not in "".join(traceback.format_exception(error))
    assert b"S3cret" not in pickle.dumps(error)


def test_a_ciam_error_passes_without_its_causes_and_variables() -> None:
    def read(secret: str) -> None:
        try:
            raise ValueError(secret)
        except ValueError as error:
            raise CiamError("unreadable_answer") from error

    with pytest.raises(CiamError) as caught, raising_ciam_errors("token"):
        read("S3cret-4711")

    assert caught.value.cause_names == ("ValueError",)
    assert "S3cret" not in reported_values(caught.value)


def test_cause_names_stay_after_a_second_raising_ciam_errors() -> None:
    with (
        pytest.raises(CiamError) as caught,
        raising_ciam_errors("api"),
        raising_ciam_errors("token"),
    ):
        raise requests_errors.ConnectTimeout("https://x/?code=1")

    assert caught.value.cause_names == ("requests.exceptions.ConnectTimeout",)
    assert caught.value.stage == "token"


def test_a_cycle_of_causes_is_read_once() -> None:
    first, second = requests_errors.Timeout("1"), ValueError("2")
    first.__cause__, second.__cause__ = second, first

    assert converted(first).cause_names == ("requests.exceptions.Timeout", "ValueError")


def test_a_function_with_raising_ciam_errors_leaves_no_variables() -> None:
    @raising_ciam_errors("token")
    def call(code: str) -> str:
        if code == "good":
            return code
        raise requests_errors.Timeout(code)

    with pytest.raises(CiamError) as caught:
        call("S3cret-1")

    assert "S3cret" not in reported_values(caught.value)
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
def test_a_text_that_may_be_a_secret_is_no_code(text: str) -> None:
    assert code_in(text) == ""
    for body in (envelope(message=text, code=""), {"error": text, "success": False}):
        assert failure(body, 400).code == "unreadable_answer"


READABLE_CODES = [code for code in (*CODES, *ALIASES) if "*" not in code and code[0].isalpha()]


@for_each_row("code", READABLE_CODES)
def test_every_code_of_the_table_is_read_as_a_code(code: str) -> None:
    assert code_in(code) == code
