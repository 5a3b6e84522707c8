"""What a person types in, where a code goes out: a mobile number or an email address."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import Final

import phonenumbers
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from phonenumbers import NumberParseException, PhoneNumberFormat, PhoneNumberType

from ciam_django.conf import conf
from ciam_django.errors import CiamError

# RFC 5321, 4.5.3.1.3, less the angle brackets.
_LONGEST: Final = 254
_MOBILE: Final = frozenset({PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE})


@dataclass(frozen=True, slots=True)
class Recipient:
    """Where a code goes: ``SMS`` with calling code and national number, or ``EMAIL``."""

    channel: str
    region: str = field(default="", repr=False)
    number: str = field(default="", repr=False)
    email: str = field(default="", repr=False)

    @property
    def api_parameters(self) -> dict[str, str]:
        """As CIAM's API wants it."""
        if self.channel == "SMS":
            return {"type": "SMS", "phoneRegion": self.region, "phoneNumber": self.number}
        return {"type": "EMAIL", "email": self.email}

    @property
    def key(self) -> str:
        """The same for the same receiver, however it was typed."""
        return f"+{self.region}{self.number}" if self.channel == "SMS" else self.email.casefold()

    @property
    def masked(self) -> str:
        """For the person, who knows it, and for who looks over their shoulder."""
        if self.channel == "SMS":
            shown = max(len(self.number) - 4, 0)
            tail = min(4, (shown + 1) // 2)
            head, end = self.number[: shown - tail], self.number[len(self.number) - tail :]
            return f"+{self.region} {head}****{end}"
        local, _, domain = self.email.rpartition("@")
        return f"{local[:1]}***@{domain}"


def phone_recipient(text: str) -> Recipient:
    """The mobile number in any usual form, of ``CIAM_PHONE_REGION`` unless it says otherwise.

    ``malformed_phone_number`` for what is none, ``Params.Blank...`` for nothing.
    """
    number = _parsed_number(_normalized_text(text), "Phone.Number")
    if number is None or phonenumbers.number_type(number) not in _MOBILE:
        raise CiamError("malformed_phone_number")
    national = phonenumbers.national_significant_number(number)
    return Recipient("SMS", region=str(number.country_code), number=national)


def email_recipient(text: str) -> Recipient:
    """The email address, or ``Params.Illegal.User.Email``, or ``Params.Blank...`` for nothing."""
    email = _normalized_text(text).removeprefix("mailto:")
    local, _, domain = email.rpartition("@")
    try:
        if len(email) > _LONGEST:
            raise ValidationError("")
        validate_email(email)
        email = f"{local}@{domain.encode('idna').decode().casefold()}"
    except (ValidationError, UnicodeError):
        code = "Params.Illegal.User.Email" if email else "Params.Blank.User.Email"
        raise CiamError(code) from None
    return Recipient("EMAIL", email=email)


def phone_or_email_recipient(text: str) -> Recipient:
    """An address where there is an ``@``, else a number."""
    return (
        email_recipient(text)
        if "@" in unicodedata.normalize("NFKC", text)
        else phone_recipient(text)
    )


def normalized_username(text: str) -> str:
    """What may be typed as an account, as CIAM knows it: of a number, its digits.

    Abroad they begin with a plus and the calling code.
    """
    plain = _normalized_text(text)
    if any(letter.isalpha() for letter in plain):
        return plain
    number = _parsed_number(plain, "") if plain else None
    if number is None:
        return plain
    if phonenumbers.is_valid_number_for_region(number, conf.CIAM_PHONE_REGION):
        return phonenumbers.national_significant_number(number)
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def _parsed_number(plain: str, name_in_code: str) -> phonenumbers.PhoneNumber | None:
    """The number, if it is one that somebody can have."""
    if name_in_code and not plain:
        raise CiamError(f"Params.Blank.User.{name_in_code}")
    region = conf.CIAM_PHONE_REGION
    calling_code = str(phonenumbers.country_code_for_region(region))
    # "86 138..." and "0086 138..." are as usual as "+86 138...".
    digits = "".join(character for character in plain if character.isdigit())
    spellings = [plain]
    if not plain.startswith("+") and digits.startswith(calling_code):
        spellings.append(f"+{digits}")
    if digits.startswith("00"):
        spellings.append(f"+{digits[2:]}")
    for spelling in spellings:
        try:
            number = phonenumbers.parse(spelling, region)
        except NumberParseException:
            continue
        # An extension is nothing that a text message reaches.
        if phonenumbers.is_valid_number(number) and not number.extension:
            return number
    return None


def _normalized_text(text: str) -> str:
    """The text as any keyboard types it: no full-width forms, and nothing that can't be seen."""
    text = unicodedata.normalize("NFKC", text[: _LONGEST * 4])
    return "".join(c for c in text if unicodedata.category(c) not in ("Cf", "Cc", "Cs")).strip()
