"""Tests of parsing mobile numbers, email addresses and user names."""

from __future__ import annotations

from collections.abc import Sequence

import phonenumbers
import pytest
from pytest_django.fixtures import Settings

from ciam_django.errors import CiamError
from ciam_django.login.recipients import (
    account_name,
    email_recipient,
    normalized_username,
    phone_or_email_recipient,
    phone_pattern,
    phone_recipient,
    regions_that_fit,
)
from tests.rows import for_each_row

SMS = {"type": "SMS", "phoneRegion": "86", "phoneNumber": "13800000000"}


@pytest.mark.parametrize(
    "text",
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
def test_each_usual_form_of_a_number_is_the_same_recipient(text: str) -> None:
    recipient = phone_recipient(text)

    assert recipient.api_parameters == SMS
    assert recipient.key == "+8613800000000"
    assert recipient.masked == "+86 138****0000"


@pytest.mark.parametrize(
    ("text", "region", "number", "masked"),
    [
        ("+852 9123 4567", "852", "91234567", "+852 91****67"),
        ("+886 912 345 678", "886", "912345678", "+886 91****678"),
        ("+1 (415) 555-2671", "1", "4155552671", "+1 415****671"),
        ("+44 7400 123456", "44", "7400123456", "+44 740****456"),
    ],
)
def test_a_number_with_a_calling_code_belongs_to_its_country(
    text: str, region: str, number: str, masked: str
) -> None:
    recipient = phone_recipient(text)

    assert (recipient.region, recipient.number, recipient.masked) == (region, number, masked)


def test_a_number_without_a_calling_code_belongs_to_the_country_in_the_settings(
    settings: Settings,
) -> None:
    settings.CIAM_PHONE_REGION = "TW"

    assert phone_recipient("0912-345-678").key == "+886912345678"


@pytest.mark.parametrize(
    ("region", "regions", "digits"), [("CN", (), 7), ("NU", (), 4), ("CN", ("CN", "NU"), 4)]
)
def test_the_pattern_of_numbers_counts_the_digits_of_the_shortest_number(
    settings: Settings, region: str, regions: Sequence[str], digits: int
) -> None:
    settings.CIAM_PHONE_REGION, settings.CIAM_PHONE_REGIONS = region, regions

    assert phone_pattern() == rf"(?:[^\p{{Nd}}]*\p{{Nd}}){{{digits},}}[^\p{{Nd}}]*"


@pytest.mark.parametrize(
    "text",
    [
        "12800000000",
        "1380000000",
        "138000000000",
        "010-62345678",
        "13800000000 ext. 5",
        "call me",
        "1" * 10_000,
        "138\n0000\n0000\nBcc: x",
        "+",
        "()",
    ],
)
def test_a_number_that_gets_no_text_message_is_refused(text: str) -> None:
    with pytest.raises(CiamError) as raised:
        phone_recipient(text)

    assert raised.value.code == "malformed_phone_number"


@for_each_row(
    "regions, text, is_allowed",
    [
        ([], "+852 9123 4567", True),
        ([], "+1 876 210 1234", True),
        # A satellite phone, and a network without a country.
        ([], "+881 631 512345", False),
        ([], "+883 510 012345", False),
        (["CN"], "13800000000", True),
        (["CN"], "+852 9123 4567", False),
        (["CN", "HK"], "+852 9123 4567", True),
        # One calling code can belong to several countries.
        (["CN", "US"], "+1 876 210 1234", False),
        (["CN", "US"], "+1 202 555 0123", True),
    ],
)
def test_only_numbers_of_the_allowed_countries_get_text_messages(
    settings: Settings, regions: list[str], text: str, is_allowed: bool
) -> None:
    settings.CIAM_PHONE_REGIONS = regions
    try:
        phone_recipient(text)
        code = ""
    except CiamError as error:
        code = error.code

    assert code in ({""} if is_allowed else {"unsupported_phone_region", "malformed_phone_number"})
    if regions:
        assert code == ("" if is_allowed else "unsupported_phone_region")


@for_each_row(
    "allowed, chosen, text, result",
    [
        # The chosen region belongs to a number without a country code.
        ([], "CN", "138 0000 0000", "+8613800000000"),
        ([], "HK", "9123 4567", "+85291234567"),
        ([], "MO", "6612 3456", "+85366123456"),
        ([], "TW", "0912-345-678", "+886912345678"),
        ([], "TW", "912345678", "+886912345678"),
        (["CN", "TW"], "TW", "0912345678", "+886912345678"),
        # A typed country code wins.
        ([], "CN", "+886 912 345 678", "+886912345678"),
        ([], "CN", "00886 912 345 678", "+886912345678"),
        ([], "US", "00886 912 345 678", "+886912345678"),
        ([], "TW", "+86 138 0000 0000", "+8613800000000"),
        ([], "TW", "＋８６ 138 0000 0000", "+8613800000000"),
        (["CN", "TW"], "TW", "+852 9123 4567", "unsupported_phone_region"),
        # The number belongs to another likely region.
        ([], "CN", "9123 4567", "phone_region_mismatch"),
        ([], "CN", "0912345678", "phone_region_mismatch"),
        ([], "TW", "13800000000", "phone_region_mismatch"),
        (["CN", "HK"], "CN", "9123 4567", "phone_region_mismatch"),
        (["CN", "JP"], "CN", "9123 4567", "malformed_phone_number"),
        # A landline number of Beijing is a mobile number in Korea.
        ([], "CN", "010-6234-5678", "malformed_phone_number"),
        ([], "CN", "12345", "malformed_phone_number"),
        ([], "", "138 0000 0000", "+8613800000000"),
    ],
)
def test_the_chosen_region_belongs_to_a_number_without_a_country_code(
    settings: Settings, allowed: list[str], chosen: str, text: str, result: str
) -> None:
    settings.CIAM_PHONE_REGIONS = allowed
    for parse in (phone_recipient, phone_or_email_recipient):
        try:
            found = parse(text, chosen).key
        except CiamError as error:
            found = error.code
        assert found == result


@for_each_row(
    "text, name",
    [
        ("138 0000 0000", "+8613800000000"),
        ("+86-138-0000-0000", "+8613800000000"),
        ("Li@Example.com", "li@example.com"),
        ("li@例子.中国", "li@xn--fsqu00a.xn--fiqs8s"),
        ("Li@Example", "li@example"),
        ("Li", "li"),
        ("12345", "12345"),
        ("ＬＩ", "li"),
        ("+881 631 512345", "+881631512345"),
    ],
)
def test_the_name_of_an_account_does_not_depend_on_its_spelling(text: str, name: str) -> None:
    assert account_name(text) == account_name(f" {text} ") == name


@pytest.mark.parametrize("text", ["", "  ", "\0", "\ud800", "\u200b"])
def test_a_text_without_visible_characters_is_blank(text: str) -> None:
    with pytest.raises(CiamError) as raised:
        phone_recipient(text)
    assert raised.value.code == "Params.Blank.User.Phone.Number"

    with pytest.raises(CiamError) as raised:
        email_recipient(text)
    assert raised.value.code == "Params.Blank.User.Email"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("\u200b", "missing_recipient"),
        ("call me", "malformed_recipient"),
        ("1380000000", "malformed_phone_number"),
        ("li@", "Params.Illegal.User.Email"),
    ],
)
def test_a_number_or_address_has_an_error_for_what_the_text_resembles(text: str, code: str) -> None:
    with pytest.raises(CiamError) as raised:
        phone_or_email_recipient(text)

    assert raised.value.code == code


@pytest.mark.parametrize(
    ("text", "email"),
    [
        ("li@example.com", "li@example.com"),
        (" Li.Wei+shop@EXAMPLE.com ", "Li.Wei+shop@example.com"),
        ("mailto:li@example.com", "li@example.com"),
        ("ｌｉ＠ｅｘａｍｐｌｅ．ｃｏｍ", "li@example.com"),
        ("li@例子.中国", "li@xn--fsqu00a.xn--fiqs8s"),
    ],
)
def test_an_email_address_is_normalized(text: str, email: str) -> None:
    recipient = email_recipient(text)

    assert recipient.api_parameters == {"type": "EMAIL", "email": email}
    assert recipient.key == email.casefold()


def test_a_masked_email_address_shows_only_the_first_character_and_the_domain() -> None:
    assert email_recipient("li@example.com").masked == "l***@example.com"


@pytest.mark.parametrize(
    "text",
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
def test_an_invalid_email_address_is_refused(text: str) -> None:
    with pytest.raises(CiamError) as raised:
        email_recipient(text)

    assert raised.value.code == "Params.Illegal.User.Email"


def test_a_text_with_an_at_sign_is_an_email_address() -> None:
    assert phone_or_email_recipient("li＠example.com").channel == "EMAIL"
    assert phone_or_email_recipient("138 0000 0000").channel == "SMS"


@pytest.mark.parametrize(
    ("text", "username"),
    [
        ("+86 138 0000 0000", "13800000000"),
        ("138-0000-0000", "13800000000"),
        ("+1 415 555 2671", "+14155552671"),
        # Landline numbers, and user names that look like one.
        ("02088886666", "02088886666"),
        ("021-6234-5678", "021-6234-5678"),
        ("+86 10 6234 5678", "+86 10 6234 5678"),
        (" li ", "li"),
        ("li_wei", "li_wei"),
        ("ｌｉ", "li"),
        ("12345", "12345"),
        ("li@example.com", "li@example.com"),
        ("", ""),
    ],
)
def test_only_a_mobile_number_becomes_its_digits(text: str, username: str) -> None:
    assert normalized_username(text) == username


def test_a_number_is_tried_in_few_regions_however_many_are_allowed(settings: Settings) -> None:
    many = sorted(phonenumbers.SUPPORTED_REGIONS)
    for regions, fitting in ((["CN", "TW"], ["TW"]), ([*many[:20], "TW"], [])):
        settings.CIAM_PHONE_REGIONS = regions
        assert [each for each in regions_that_fit("0912345678") if each == "TW"] == fitting


def test_the_repr_of_a_recipient_shows_no_number_and_no_address() -> None:
    assert "138" not in repr(phone_recipient("13800000000"))
    assert "li" not in repr(email_recipient("li@example.com"))


@pytest.mark.parametrize(("length", "is_valid"), [(254, True), (255, False)])
def test_an_email_address_has_at_most_254_characters(length: int, is_valid: bool) -> None:
    address = "@example.com".rjust(length, "a")
    if is_valid:
        assert email_recipient(address).email == address
    else:
        with pytest.raises(CiamError, match=r"Params\.Illegal\.User\.Email"):
            email_recipient(address)
