"""What people type as a number or an address."""

from __future__ import annotations

import pytest
from pytest_django.fixtures import Settings

from ciam_django.errors import CiamError
from ciam_django.login.recipients import (
    email_recipient,
    normalized_username,
    phone_or_email_recipient,
    phone_recipient,
)

SMS = {"type": "SMS", "phoneRegion": "86", "phoneNumber": "13800000000"}


@pytest.mark.parametrize(
    "typed",
    [
        "13800000000",
        " 138 0000 0000 ",
        "138-0000-0000",
        "+8613800000000",
        "+86 (138) 0000-0000",
        "0086 138 0000 0000",
        "8613800000000",
        "１３８００００００００",
        "＋８６ １３８００００００００",
        "\u2068138\u200b00000000\u2069",
    ],
)
def test_a_number_in_any_usual_form_is_the_same(typed: str) -> None:
    receiver = phone_recipient(typed)

    assert receiver.api_parameters == SMS
    assert receiver.key == "+8613800000000"
    assert receiver.masked == "+86 138****0000"


@pytest.mark.parametrize(
    ("typed", "region", "number", "masked"),
    [
        ("+852 9123 4567", "852", "91234567", "+852 91****67"),
        ("+886 912 345 678", "886", "912345678", "+886 91****678"),
        ("+1 (415) 555-2671", "1", "4155552671", "+1 415****671"),
        ("+44 7400 123456", "44", "7400123456", "+44 740****456"),
    ],
)
def test_numbers_of_other_countries_say_which(
    typed: str, region: str, number: str, masked: str
) -> None:
    receiver = phone_recipient(typed)

    assert (receiver.region, receiver.number, receiver.masked) == (region, number, masked)


def test_the_country_of_a_number_that_does_not_say_is_a_setting(settings: Settings) -> None:
    settings.CIAM_PHONE_REGION = "TW"

    assert phone_recipient("0912-345-678").key == "+886912345678"


@pytest.mark.parametrize(
    "typed",
    [
        "12800000000",
        "1380000000",
        "138000000000",
        "010-62345678",
        "0912345678",
        "13800000000 ext. 5",
        "call me",
        "1" * 10_000,
        "138\n0000\n0000\nBcc: x",
        "+",
        "()",
    ],
)
def test_what_gets_no_text_message_is_refused(typed: str) -> None:
    with pytest.raises(CiamError) as raised:
        phone_recipient(typed)

    assert raised.value.code == "malformed_phone_number"


@pytest.mark.parametrize("typed", ["", "  ", "\0", "\ud800", "\u200b"])
def test_nothing_is_blank(typed: str) -> None:
    with pytest.raises(CiamError) as raised:
        phone_recipient(typed)
    assert raised.value.code == "Params.Blank.User.Phone.Number"

    with pytest.raises(CiamError) as raised:
        email_recipient(typed)
    assert raised.value.code == "Params.Blank.User.Email"


@pytest.mark.parametrize(
    ("typed", "email"),
    [
        ("li@example.com", "li@example.com"),
        (" Li.Wei+shop@EXAMPLE.com ", "Li.Wei+shop@example.com"),
        ("mailto:li@example.com", "li@example.com"),
        ("ｌｉ＠ｅｘａｍｐｌｅ．ｃｏｍ", "li@example.com"),
        ("li@例子.中国", "li@xn--fsqu00a.xn--fiqs8s"),
    ],
)
def test_an_address_is_as_mail_wants_it(typed: str, email: str) -> None:
    receiver = email_recipient(typed)

    assert receiver.api_parameters == {"type": "EMAIL", "email": email}
    assert receiver.key == email.casefold()


def test_of_an_address_only_the_beginning_is_shown() -> None:
    assert email_recipient("li@example.com").masked == "l***@example.com"


@pytest.mark.parametrize(
    "typed",
    [
        "li",
        "li@",
        "@example.com",
        "li@example",
        "li@x@example.com",
        "li@.com",
        f"{'x' * 300}@a.com",
    ],
)
def test_what_is_no_address_is_refused(typed: str) -> None:
    with pytest.raises(CiamError) as raised:
        email_recipient(typed)

    assert raised.value.code == "Params.Illegal.User.Email"


def test_an_at_sign_tells_an_address_from_a_number() -> None:
    assert phone_or_email_recipient("li＠example.com").channel == "EMAIL"
    assert phone_or_email_recipient("138 0000 0000").channel == "SMS"


@pytest.mark.parametrize(
    ("typed", "username"),
    [
        ("+86 138 0000 0000", "13800000000"),
        ("138-0000-0000", "13800000000"),
        ("+1 415 555 2671", "+14155552671"),
        (" li ", "li"),
        ("li_wei", "li_wei"),
        ("ｌｉ", "li"),
        ("12345", "12345"),
        ("li@example.com", "li@example.com"),
        ("", ""),
    ],
)
def test_an_account_that_is_a_number_is_its_digits(typed: str, username: str) -> None:
    assert normalized_username(typed) == username


def test_neither_number_nor_address_is_in_a_report() -> None:
    assert "138" not in repr(phone_recipient("13800000000"))
    assert "li" not in repr(email_recipient("li@example.com"))
