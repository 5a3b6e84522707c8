"""``Recipient``, the mobile number or email address that a code is sent to, parsed from a text."""

from __future__ import annotations

import contextlib
import unicodedata
from dataclasses import dataclass, field
from typing import Final

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from ciam_django.conf import conf
from ciam_django.errors import CiamError
from ciam_django.login.phone_regions import likely_regions
from ciam_django.phone_numbers import phonenumbers
from ciam_django.privacy import masked_email, masked_number

# RFC 5321, section 4.5.3.1.3: 256 characters with the angle brackets.
_LONGEST: Final = 254
# The region of numbers without a country: satellite phones, and networks of ships and aircraft.
_NO_REGION: Final = "001"
# The fewest digits of a number. Some countries have shorter numbers.
_USUAL_MINIMUM: Final = 7
# The regions for which a number is parsed. A parse can take 5 ms, and there are 245 regions.
_MAX_TRIED_REGIONS: Final = 20


@dataclass(frozen=True, slots=True)
class Recipient:
    """The recipient of a code.

    ``channel`` is ``SMS``, with ``region`` (the calling code) and ``number`` (the national number),
    or ``EMAIL``, with ``email``.
    """

    channel: str
    region: str = field(default="", repr=False)
    number: str = field(default="", repr=False)
    email: str = field(default="", repr=False)

    @property
    def api_parameters(self) -> dict[str, str]:
        """The parameters of CIAM's API."""
        if self.channel == "SMS":
            return {"type": "SMS", "phoneRegion": self.region, "phoneNumber": self.number}
        return {"type": "EMAIL", "email": self.email}

    @property
    def key(self) -> str:
        """The recipient's name in the rate limits, which does not depend on the spelling."""
        return f"+{self.region}{self.number}" if self.channel == "SMS" else self.email.casefold()

    @property
    def masked(self) -> str:
        """The recipient with its middle hidden, which the pages show."""
        if self.channel == "SMS":
            return f"+{self.region} {masked_number(self.number)}"
        return masked_email(self.email)


def phone_recipient(text: str, region: str = "") -> Recipient:
    """Return the recipient of a mobile number, which may have any usual form.

    A number without a calling code is a number of ``region``, two letters of ISO 3166, or of
    ``CIAM_PHONE_REGION`` if ``region`` is empty. Raises ``CiamError``:
    ``Params.Blank.User.Phone.Number`` for a blank text, ``phone_region_mismatch`` for a mobile
    number of another likely region, ``malformed_phone_number`` for any other text that is not a
    mobile number, and ``unsupported_phone_region`` for a country that ``CIAM_PHONE_REGIONS`` does
    not list.
    """
    plain = _normalized_text(text)
    if not plain:
        raise CiamError("Params.Blank.User.Phone.Number")
    number = _parsed_number(plain, region)
    if number is None and regions_that_fit(text):
        raise CiamError("phone_region_mismatch")
    if number is None or not _is_mobile(number):
        raise CiamError("malformed_phone_number")
    true_region = phonenumbers.region_code_for_number(number)
    is_allowed = not conf.CIAM_PHONE_REGIONS or true_region in conf.CIAM_PHONE_REGIONS
    if true_region == _NO_REGION or not is_allowed:
        raise CiamError("unsupported_phone_region")
    national = phonenumbers.national_significant_number(number)
    return Recipient("SMS", region=str(number.country_code), number=national)


def regions_that_fit(text: str) -> list[str]:
    """Return the likely regions in which the text is a mobile number, the most likely first.

    Only the first ``_MAX_TRIED_REGIONS`` are tried, because anonymous users send the text.
    """
    plain = _normalized_text(text)
    tried = likely_regions()[:_MAX_TRIED_REGIONS]
    return [region for region in tried if _mobile_number(plain, region)]


def phone_pattern() -> str:
    """Return a pattern of HTML that each mobile number matches, and most other texts do not.

    The pattern only counts the digits. ``phone_recipient`` is exact.
    """
    regions = (conf.CIAM_PHONE_REGION, *conf.CIAM_PHONE_REGIONS)
    metadata = filter(None, map(phonenumbers.PhoneMetadata.metadata_for_region, regions))
    descriptions = filter(None, (each.general_desc for each in metadata))
    lengths = [length for each in descriptions for length in each.possible_length]
    fewest = min([_USUAL_MINIMUM, *lengths])
    return rf"(?:[^\p{{Nd}}]*\p{{Nd}}){{{fewest},}}[^\p{{Nd}}]*"


def email_recipient(text: str) -> Recipient:
    """Return the recipient of an email address.

    Raises ``CiamError``: ``Params.Blank.User.Email`` for a blank text, and
    ``Params.Illegal.User.Email`` for a text that is not an email address.
    """
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


def phone_or_email_recipient(text: str, region: str = "") -> Recipient:
    """Return ``email_recipient`` of a text with an ``@``, otherwise ``phone_recipient``.

    Raises ``CiamError``: ``missing_recipient`` for a blank text, ``malformed_recipient`` for a text
    without an ``@`` and without a digit, and the errors of both functions.
    """
    plain = _normalized_text(text)
    if "@" in plain:
        return email_recipient(text)
    if not any(letter.isdigit() for letter in plain):
        raise CiamError("malformed_recipient" if plain else "missing_recipient")
    return phone_recipient(text, region)


def normalized_username(text: str) -> str:
    """Return a user name, email address or mobile number in the form that CIAM stores.

    The form of a mobile number is its digits; a number outside ``CIAM_PHONE_REGION`` keeps the plus
    sign and the calling code. A user name of digits, such as a landline number, does not change.
    """
    plain = _normalized_text(text)
    if any(letter.isalpha() for letter in plain):
        return plain
    number = _mobile_number(plain)
    if number is None:
        return plain
    if phonenumbers.is_valid_number_for_region(number, conf.CIAM_PHONE_REGION):
        return phonenumbers.national_significant_number(number)
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def account_name(text: str) -> str:
    """Return the name of the account that a user name, email address or number belongs to.

    The name is the same for each spelling, and the same as the ``key`` of a recipient, so that a
    password and a code of one number belong to one name.
    """
    plain = _normalized_text(text)
    if "@" in plain:
        with contextlib.suppress(CiamError):
            return email_recipient(plain).key
    is_number = plain and not any(letter.isalpha() for letter in plain)
    number = _parsed_number(plain) if is_number else None
    if number is None:
        return plain.casefold()
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _mobile_number(plain: str, region: str = "") -> phonenumbers.PhoneNumber | None:
    """Return the number of ``_parsed_number`` if it is a mobile number, otherwise None."""
    number = _parsed_number(plain, region)
    return number if number is not None and _is_mobile(number) else None


def _is_mobile(number: phonenumbers.PhoneNumber) -> bool:
    types = phonenumbers.PhoneNumberType
    return phonenumbers.number_type(number) in (types.MOBILE, types.FIXED_LINE_OR_MOBILE)


def _parsed_number(plain: str, region: str = "") -> phonenumbers.PhoneNumber | None:
    """Return the parsed number, or None if no spelling of the text is a valid number.

    ``region`` is the region of a number without a calling code; the default is
    ``CIAM_PHONE_REGION``.
    """
    # Users also type "0086 138...".
    digits = "".join(character for character in plain if character.isdigit())
    spellings = [plain]
    if digits.startswith("00"):
        spellings.append(f"+{digits[2:]}")
    for spelling in spellings:
        try:
            number = phonenumbers.parse(spelling, region or conf.CIAM_PHONE_REGION)
        except phonenumbers.NumberParseException:
            continue
        # A text message cannot reach an extension.
        if phonenumbers.is_valid_number(number) and not number.extension:
            return number
    return None


def _normalized_text(text: str) -> str:
    """Return the text without full-width forms, invisible characters and outer spaces."""
    text = unicodedata.normalize("NFKC", text[: _LONGEST * 4])
    return "".join(c for c in text if unicodedata.category(c) not in ("Cf", "Cc", "Cs")).strip()
