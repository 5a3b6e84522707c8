"""The typed values of CIAM's data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ciam_django.client import results
from ciam_django.errors import CiamError
from tests.rows import for_each_row


@pytest.mark.parametrize(
    "data", [{}, {"access_token": ""}, {"access_token": None}, {"access_token": ["t"]}, {"code": 1}]
)
def test_data_with_neither_a_token_nor_a_step_are_unreadable(data: dict[str, Any]) -> None:
    with pytest.raises(CiamError) as raised:
        results.sign_in_result_of(data)

    assert raised.value.code == "unreadable_answer"


def test_a_next_step_takes_precedence_over_a_token() -> None:
    step = results.sign_in_result_of(
        {"flowType": "NEED_TWO_FACTOR", "fId": "f", "access_token": "t"}
    )

    assert isinstance(step, results.NextStep)
    assert step.additional == {}


def test_a_sent_code_needs_a_flow_id() -> None:
    assert results.flow_id_of({"fId": 7}) == "7"
    with pytest.raises(CiamError):
        results.flow_id_of({"fId": True})


@pytest.mark.parametrize("factors", [None, "pwd", {}, 7])
def test_second_factors_that_are_not_a_list_are_ignored(factors: object) -> None:
    assert results.login_page_of({"2factorType": factors}).second_factors == ()


@pytest.mark.parametrize(
    ("data", "methods"),
    [
        ({"loginType": ["pwd", "sms", "email"]}, {"password", "sms", "email"}),
        ({"loginType": ["pwd", "face"], "register": True}, {"password", "sign_up"}),
        ({"loginType": None, "passwordRecovery": "true", "register": "false"}, {"recover"}),
        ({}, set()),
    ],
)
def test_a_login_page_has_the_known_login_methods(data: dict[str, Any], methods: set[str]) -> None:
    assert results.login_page_of(data).methods == methods


@pytest.mark.parametrize(
    ("risk", "wants"), [(True, True), ("true", True), (False, False), (None, False)]
)
def test_a_login_page_tells_if_codes_need_a_captcha(risk: object, wants: bool) -> None:
    assert results.login_page_of({"smsEmailCaptchaRisk": risk}).wants_captcha_for_codes is wants


@pytest.mark.parametrize(
    ("captcha_image", "image"),
    [
        ("iVBOR", "data:image/png;base64,iVBOR"),
        ("data:image/gif;base64,R0l", "data:image/gif;base64,R0l"),
        ("https://ciam.example/captcha.png", "https://ciam.example/captcha.png"),
        ("", ""),
    ],
)
def test_the_image_of_a_captcha_can_be_shown_on_a_page(captcha_image: str, image: str) -> None:
    assert results.captcha_of({"captchaCode": "c", "captchaImage": captcha_image}).image == image


@pytest.mark.parametrize(
    "data", [{"data": [{"a": 1}, 7]}, {"total": 1, "list": [{"a": 1}, None]}, [], {"data": None}]
)
def test_rows_are_read_from_a_list_or_a_page_of_a_list(data: Any) -> None:
    rows = results.rows_of(data or {})

    assert rows == (({"a": 1},) if data and data.get("data", True) else ())


@for_each_row(
    "seconds, expires_in",
    [
        (7200, 7200),
        (7200.5, 7200),
        ("7200", 7200),
        (-1, 0),
        (True, 0),
        (None, 0),
        ("", 0),
        ("-7200", 0),
        ("72.5", 72),
        ("soon", 0),
        ("７２００", 0),
        ("9" * 10_000, 0),
        (10**400, 0),
        (float("inf"), 0),
        (float("nan"), 0),
        ([7200], 0),
    ],
)
def test_the_lifetime_of_a_token_is_a_positive_number_or_digits(
    seconds: object, expires_in: int
) -> None:
    data = {"access_token": "t", "expires_in": seconds}

    assert results.signed_in_of(data).expires_in == expires_in


@pytest.mark.parametrize("name", ["enterpriseAuthId", "id", "uuid"])
def test_the_id_of_an_authentication_source_has_one_of_three_names(name: str) -> None:
    (source,) = results.auth_sources_of({"data": [{name: "s1", "displayName": "QQ", "type": "qq"}]})

    assert (source.id, source.name, source.type) == ("s1", "QQ", "qq")


def test_a_profile_has_the_documented_members() -> None:
    data = {
        "userId": "u",
        "username": "li",
        "displayName": "Li",
        "email": "li@example.com",
        "phoneNumber": "13800138000",
    }
    profile = results.profile_of(data)

    assert profile == results.Profile("u", "li", "Li", "li@example.com", "13800138000", data)


@for_each_row(
    "read, data, expected",
    [
        (lambda data: results.profile_of(data).user_id, {"uuid": "u"}, "u"),
        (lambda data: results.profile_of(data).username, {"loginName": "li"}, "li"),
        (lambda data: results.captcha_of(data).id, {"uuid": "c", "image": "x"}, "c"),
        (
            lambda data: results.captcha_of(data).image,
            {"image": "https://a.test/"},
            "https://a.test/",
        ),
        (lambda data: results.auth_sources_of(data)[0].name, {"data": [{"name": "QQ"}]}, "QQ"),
        (
            lambda data: results.auth_sources_of(data)[0].type,
            {"data": [{"enterpriseAuthType": "qq"}]},
            "qq",
        ),
        (lambda data: results.consents_of(data)[0].id, {"data": [{"uuid": "t"}]}, "t"),
        (lambda data: results.consents_of(data)[0].id, {"data": [{"id": "t"}]}, "t"),
        (lambda data: results.consents_of(data)[0].name, {"data": [{"name": "T"}]}, "T"),
        (lambda data: results.consents_of(data)[0].name, {"data": [{"title": "T"}]}, "T"),
        (lambda data: results.consents_of(data)[0].name, {"data": [{"title": {"en": "T"}}]}, "T"),
        (
            lambda data: results.consents_of(data)[0].names,
            {"data": [{"title": {"zh_CN": "T"}}]},
            {"zh-cn": "T"},
        ),
        (lambda data: results.consents_of(data)[0].name, {"data": [{}]}, ""),
        (
            lambda data: results.consents_of(data)[0].url,
            {"data": [{"url": "https://a.test/"}]},
            "https://a.test/",
        ),
        (
            lambda data: results.consents_of(data)[0].url,
            {"data": [{"link": "https://a.test/"}]},
            "https://a.test/",
        ),
        (
            lambda data: results.consents_of(data)[0].url,
            {"data": [{"link": {"en": "https://a.test/"}}]},
            "https://a.test/",
        ),
        (
            lambda data: results.consents_of(data)[0].urls,
            {"data": [{"link": {"en": "https://a.test/"}}]},
            {"en": "https://a.test/"},
        ),
        (lambda data: results.consents_of(data)[0].url, {"data": [{}]}, ""),
        (results.user_id_in, {}, ""),
        (results.user_id_in, {"userId": "", "uuid": 7}, "7"),
    ],
)
def test_a_member_has_each_name_of_the_vendors_pages(
    read: Callable[[Any], object], data: dict[str, Any], expected: object
) -> None:
    assert read(data) == expected


@for_each_row(
    "required, is_required", [(True, True), (False, False), ("FALSE", False), ("x", True)]
)
def test_terms_are_required_unless_ciam_says_otherwise(required: object, is_required: bool) -> None:
    (consent,) = results.consents_of({"data": [{"required": required}]})
    assert consent.is_required is is_required
    assert results.consents_of({"data": [{}]})[0].is_required


def test_the_name_and_the_address_of_terms_have_a_largest_length() -> None:
    address = "https://a.test/".ljust(2000, "x")
    rows = [
        {"name": "x" * 100, "url": address},
        {"name": "x" * 101, "url": f"{address}x"},
        {"name": "x" * 99 + " yy", "url": "http://a.test/"},
        {"name": " Terms \n of\tuse\x00 "},
    ]
    consents = results.consents_of({"data": rows})

    assert [consent.name for consent in consents] == [
        "x" * 100, "x" * 100 + "…", "x" * 99 + "…", "Terms of use",
    ]  # fmt: skip
    assert [consent.url for consent in consents] == [address, "", "", ""]
