"""The forms of the steps of a sign-in."""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from django import forms
from django.core.validators import RegexValidator
from django.forms.utils import flatatt
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import (
    get_language,
    gettext,
    override,
    pgettext,
    pgettext_lazy,
    to_locale,
)

from ciam_django.answers import Answer, answer_to
from ciam_django.client.results import Consent
from ciam_django.conf import conf
from ciam_django.errors import CiamError
from ciam_django.forms import add_error
from ciam_django.kinds import Action, Kind
from ciam_django.login.phone_regions import PhoneRegion, default_region, list_regions
from ciam_django.login.recipients import phone_pattern, regions_that_fit
from ciam_django.login.steps.consent_boxes import (
    ConsentBox,
    consent_boxes,
    request_for_consent,
)
from ciam_django.login.steps.flow import Flow

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise

# Field -> the code of a blank value, and the code of an invalid value.
CODES_OF_FIELDS: Final[Mapping[str, tuple[str, str]]] = {
    "username": ("Params.Blank.User.Username", "Params.Illegal.User.Username"),
    "password": ("Params.Blank.User.Password", "Params.Illegal.User.Password"),
    "phone_number": ("Params.Blank.User.Phone.Number", "malformed_phone_number"),
    "phone_region": ("unsupported_phone_region", "unsupported_phone_region"),
    "email": ("Params.Blank.User.Email", "Params.Illegal.User.Email"),
    "receiver": ("missing_recipient", "malformed_recipient"),
    "code": ("Params.Blank.Code", "Operation.Failure.SMS.Code.Error"),
    "captcha": ("Params.Blank.CaptchaText", "Operation.Failure.Captcha.Error"),
    "consent": ("Params.Illegal.Consent", "Params.Illegal.Consent"),
    "login_code": (
        "Params.Blank.Mini.Program.LoginCode",
        "Operation.Failure.Mini.Program.Silent.Login",
    ),
    "phone_code": ("Params.Blank.Mini.Program.Phone", "Operation.Failure.Mini.Program.Phone"),
    "encrypted_data": (
        "Params.Blank.Mini.Program.Userinfo",
        "Operation.Failure.Mini.Program.Userinfo",
    ),
    "iv": ("Params.Blank.Mini.Program.Userinfo", "Operation.Failure.Mini.Program.Userinfo"),
    "social_code": ("Params.Blank.Social.Callback.Code", "Operation.Failure.Social.Code.Expired"),
    **dict.fromkeys(
        ("code_verifier", "nonce", "given_name", "family_name"),
        ("invalid_request", "invalid_request"),
    ),
    "channel": ("Params.Blank.Type", "Params.Illegal.Type"),
    "display_name": ("Params.Blank.User.DisplayName", "Params.Illegal.User.DisplayName"),
    "en_display_name": ("Params.Blank.User.EnDisplayName", "Params.Illegal.User.EnDisplayName"),
    "birthday": ("Params.Blank.User.Birthday", "Params.Illegal.User.Birthday"),
    "gender": ("Params.Blank.User.Gender", "Params.Illegal.User.Gender"),
    "country": ("Params.Blank.User.Country", "Params.Illegal.User.Country"),
    "region": ("Params.Blank.User.Region", "Params.Illegal.User.Region"),
    "province": ("Params.Blank.User.Province", "Params.Illegal.User.Province"),
    "city": ("Params.Blank.User.City", "Params.Illegal.User.City"),
    "street": ("Params.Blank.User.Street", "Params.Illegal.User.Street"),
    "address": ("Params.Blank.User.Address", "Params.Illegal.User.Address"),
}
_LONGEST: Final = 255
# A pattern of HTML that each email address matches; U+FF20 is a full-width @.
_EMAIL_PATTERN: Final = ".*\\S[@\uff20]\\S.*"
# The kinds of typing errors -> the fields that show an answer whose own field the form does not
# have. The first field that the form has is used. JSON answers keep the field of the table.
_FIELDS_OF_KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    Kind.CREDENTIALS: ("password", "code"),
    Kind.VERIFICATION: ("code",),
    Kind.CAPTCHA: ("captcha",),
    Kind.VALIDATION: ("code", "receiver"),
}
# The actions that the form itself offers.
_ACTIONS_OF_FORMS: Final = frozenset(
    {Action.CHANGE_INPUT, Action.SOLVE_CAPTCHA, Action.RESEND_CODE, Action.COMPLETE_PROFILE}
)


def is_typing_error(answer: Answer) -> bool:
    """Return True if the user can correct the error in the form, without further help."""
    return answer.kind in _FIELDS_OF_KINDS and answer.action in _ACTIONS_OF_FORMS


class _WriteOnlyInput(forms.PasswordInput):
    """A text input that shows the typed text, but whose value is not rendered again."""

    input_type = "text"


def _write_only_input(autocomplete: str, **attrs: str) -> _WriteOnlyInput:
    return _WriteOnlyInput(
        attrs={"autocomplete": autocomplete, "autocapitalize": "none", "spellcheck": "false"}
        | attrs
    )


def _text_input(autocomplete: str, **attrs: str) -> forms.TextInput:
    return forms.TextInput(
        attrs={"autocomplete": autocomplete, "autocapitalize": "none", "spellcheck": "false"}
        | attrs
    )


class StrictTextField(forms.CharField):
    """A field that accepts only texts: a JSON number would lose its leading zeros."""

    def to_python(self, value: Any) -> Any:
        """Return the text; raise a ``ValidationError`` for a value of another type."""
        if not isinstance(value, str | None):
            raise forms.ValidationError("", code="invalid")
        return super().to_python(value)


class ConsentField(forms.MultipleChoiceField):
    """The ids of the terms that the user agrees to.

    ``required_value`` stands for all required terms: it is the value of their box. The value names
    the terms. If CIAM changes the list of the required terms, a ticked box of an earlier page is no
    agreement.
    """

    def __init__(self, consents: Sequence[Consent]) -> None:
        self._required_ids = [consent.id for consent in consents if consent.is_required]
        self.required_value = " ".join(self._required_ids)
        super().__init__(
            choices=[(consent.id, consent.name) for consent in consents],
            required=bool(self._required_ids),
        )

    def to_python(self, value: Any) -> list[str]:
        """Return the ids; raise a ``ValidationError`` for a value that is not a list."""
        ids: dict[str, None] = {}
        for each in super().to_python(value):
            is_shared = each == self.required_value
            ids |= dict.fromkeys(self._required_ids if is_shared else [each])
        return list(ids)


class PhoneRegionSelect(forms.Select):
    """The choice of a country code; the code is before the name, so that a narrow box shows it.

    The widgets of Django render a template for each option, which takes long for all regions.
    """

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        """Return the HTML of the select."""
        likely, others = list_regions()
        html = _options_of(likely, value)
        if others:
            label = pgettext("ciam", "Other countries and regions")
            html += format_html(
                '<optgroup label="{}">{}</optgroup>', label, _options_of(others, value)
            )
        attributes = flatatt(self.build_attrs(self.attrs, {"name": name, **(attrs or {})}))
        return format_html("<select{}>{}</select>", attributes, html)


def _options_of(regions: Sequence[PhoneRegion], value: str) -> SafeString:
    options = [_option(region, region.id == value) for region in regions]
    return mark_safe("".join(options))  # noqa: S308  (each option is safe HTML)


@functools.lru_cache(maxsize=4096)
def _option(region: PhoneRegion, is_selected: bool) -> SafeString:
    """Return the option of a region, whose name is in the language of the page."""
    # U+2007 is as wide as a digit, and browsers keep it: the names begin at the same place.
    return format_html(
        '<option value="{}"{}>{}\u2003{}</option>',
        region.id,
        mark_safe(" selected") if is_selected else "",
        f"+{region.calling_code}".ljust(4, "\u2007"),
        region.name,
    )


def _region_choices() -> list[tuple[str, str]]:
    return [
        (region.id, f"{region.name} +{region.calling_code}")
        for region in itertools.chain(*list_regions())
    ]


class CiamForm(forms.Form):
    """A form whose fields have the names of the table's fields.

    ``field_aliases`` maps a field of the table to a field of the form with another name. The form
    has a field ``captcha`` if a CAPTCHA must be solved first, and ``consent`` if there are terms.
    ``phone_field`` is the name of the field for a mobile number, or empty. The form then also has
    the field ``phone_region``, which the page shows before the number.
    """

    field_aliases: ClassVar[Mapping[str, str]] = {}
    phone_field: str = ""

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        flow: Flow,
        has_captcha: bool = False,
        consents: Sequence[Consent] = (),
    ) -> None:
        super().__init__(data, auto_id="ciam_%s")
        self.flow = flow
        self.consents = consents
        if self.phone_field:
            self.add_phone_region()
        if has_captcha:
            self.add_captcha()
        if consents:
            self.fields["consent"] = ConsentField(consents)

    @property
    def consent_boxes(self) -> list[ConsentBox]:
        """The boxes of the terms, in the active language."""
        field = self.fields.get("consent")
        if not isinstance(field, ConsentField):
            return []
        return consent_boxes(self.consents, field.required_value, self["consent"].value() or ())

    @property
    def request_for_consent(self) -> str:
        """The sentence that asks for the required terms; empty if no terms are required."""
        return request_for_consent(self.consents)

    def add_phone_region(self) -> None:
        """Add the field ``phone_region``: the region of a number that has no country code."""
        self.fields["phone_region"] = forms.ChoiceField(
            label=pgettext_lazy("ciam", "Country code"),
            choices=_region_choices,
            required=False,
            initial=default_region,
            widget=PhoneRegionSelect(
                attrs={
                    "aria-label": pgettext_lazy("ciam", "Country code"),
                    "autocomplete": "tel-country-code",
                }
            ),
        )

    @property
    def only_calling_code(self) -> str:
        """The calling code of the only allowed region; empty if the user can choose."""
        regions = [*itertools.chain(*list_regions())]
        return regions[0].calling_code if len(regions) == 1 else ""

    def add_captcha(self) -> None:
        """Add the field ``captcha`` for the text of a CAPTCHA image."""
        self.fields["captcha"] = StrictTextField(
            label=pgettext_lazy("ciam", "Characters in the image"),
            max_length=_LONGEST,
            widget=_write_only_input("off"),
        )
        # The terms are the last field, above the button.
        self.order_fields(sorted(self.fields, key="consent".__eq__))

    def validation_errors(self) -> Iterator[CiamError]:
        """Yield the first error of each field, as a code of the table, before a call to CIAM."""
        for name, errors in self.errors.as_data().items():
            is_blank = errors[0].code == "required"
            yield CiamError(CODES_OF_FIELDS[self._table_field(name)][0 if is_blank else 1])
        agreed_ids = set(self.cleaned_data.get("consent", ()))
        if agreed_ids and any(c.is_required and c.id not in agreed_ids for c in self.consents):
            yield CiamError("Params.Illegal.Consent")

    def add_ciam_error(self, error: CiamError, request: HttpRequest) -> Answer:
        """Add the error to its field and return its answer; a CAPTCHA error adds ``captcha``.

        The error of a blank value can be ``blank_text``, which the page shows instead of the
        answer's text.
        """
        answer = answer_to(error, request)
        if answer.kind == Kind.CAPTCHA and "captcha" not in self.fields:
            self.add_captcha()
        answer = add_error(self, error, request, self._field_names(answer))
        if answer.code == "phone_region_mismatch":
            with override(answer.language):
                self._name_fitting_regions()
        name = answer.field or ""
        if text := self._own_blank_text(name, answer):
            self.errors[name] = self.error_class([text])
        return answer

    def blank_text(self, name: str) -> str:
        """Return the error of a blank field in the active language; empty for the code's text.

        The code of a blank field does not know the label of the field in this form.
        """
        return ""

    def _own_blank_text(self, name: str, answer: Answer) -> str:
        """Return ``blank_text`` if the answer is about this blank field.

        A message of the project for the code has precedence.
        """
        is_blank = name in self.fields and answer.code == CODES_OF_FIELDS[name][0]
        if not is_blank or answer.true_row.has_project_message:
            return ""
        with override(answer.language):
            return self.blank_text(name)

    def _table_field(self, name: str) -> str:
        """Return the name of a form's field in the table."""
        return next((key for key, alias in self.field_aliases.items() if alias == name), name)

    def _field_names(self, answer: Answer) -> dict[str, str]:
        """Map the fields of the table to the fields of the form, for ``add_error``.

        The field of a typing error that the form does not have is another field of the form.
        """
        names, field = {"captcha_id": "captcha", **self.field_aliases}, answer.field or ""
        if names.get(field, field) not in self.fields and is_typing_error(answer):
            names[field] = next((n for n in _FIELDS_OF_KINDS[answer.kind] if n in self.fields), "")
        return names

    def set_client_checks(self, request: HttpRequest) -> None:
        """Give the inputs the patterns and the messages of the checks that ``ciam.js`` makes.

        The patterns only refuse a text that cannot be a recipient.
        """
        phone = phone_pattern()
        patterns = {
            "phone_number": phone,
            "email": _EMAIL_PATTERN,
            "receiver": f"{_EMAIL_PATTERN}|{phone}",
        }
        for name, field in self.fields.items():
            attrs = field.widget.attrs
            blank, invalid = (CiamError(code) for code in CODES_OF_FIELDS[self._table_field(name)])
            if field.required:
                answer = answer_to(blank, request)
                own_text = self._own_blank_text(name, answer)
                attrs["data-ciam-blank"] = own_text or answer.detail
            if name in patterns:
                attrs["pattern"] = patterns[name]
            if name in patterns or getattr(field.widget, "input_type", "") == "date":
                attrs["data-ciam-invalid"] = answer_to(invalid, request).detail

    def show_password_hint(self, text: str) -> None:
        """Show the rule of new passwords at their field, unless the field's error has the rule."""
        for name, field in self.fields.items():
            if field.widget.attrs.get("autocomplete") == "new-password":
                is_in_error = any(text in error for error in self.errors.get(name, ()))
                # Django copies the text into the bound field when it validates the form.
                field.help_text = self[name].help_text = "" if is_in_error else text

    def keep_typed_code(self) -> None:
        """Render the typed code again unless it has an error: a refused password keeps the code.

        A password is never rendered again.
        """
        if "code" in self.fields and "code" not in self.errors:
            cast("_WriteOnlyInput", self.fields["code"].widget).render_value = True

    def _name_fitting_regions(self) -> None:
        """Replace the error of the number by a text with the regions that the number fits."""
        fitting = regions_that_fit(self[self.phone_field].value())
        likely, _others = list_regions()
        codes = [f"{r.name} +{r.calling_code}" for r in likely if r.id in fitting]
        text = gettext("This number doesn't fit the country code. Choose another, such as {codes}.")
        del self.errors[self.phone_field]
        self.add_error(
            self.phone_field, text.format(codes=pgettext("ciam", " or ").join(codes[:3]))
        )

    def set_autofocus(self) -> None:
        """Focus the first field with an error or, without errors, the first empty field."""
        names = [name for name in self.fields if name in self.errors] or [
            name for name in self.fields if self._is_rendered_empty(name)
        ]
        if names:
            self.fields[names[0]].widget.attrs["autofocus"] = True

    def remove_autofocus(self) -> None:
        """Focus no field."""
        for field in self.fields.values():
            field.widget.attrs.pop("autofocus", None)

    def _is_rendered_empty(self, name: str) -> bool:
        renders_value = getattr(self.fields[name].widget, "render_value", True)
        return not renders_value or not self[name].value()


# --- Codes ------------------------------------------------------------------------------------

# A long text message has about 500 characters.
_LONGEST_MESSAGE: Final = 1000
_LONGEST_CODE: Final = 20
_DIGITS_OF_CODE: Final = range(4, 9)
_DIGIT_RUN: Final = re.compile(r"[0-9]+")


@functools.cache
def _grouped_code() -> re.Pattern[str]:
    """Return the pattern of a code in a text, written in groups: 246 810 or 24-68-10.

    The hyphens are U+2010 to U+2015, too.
    """
    return re.compile(
        r"(?<![0-9])"
        r"(?:[0-9]{3}[ \u2010-\u2015-][0-9]{3}|[0-9]{2}(?:[ \u2010-\u2015-][0-9]{2}){1,3})"
        r"(?![0-9])"
    )


class CodeField(StrictTextField):
    """A field for a code, which also takes a pasted text that contains the code."""

    def to_python(self, value: Any) -> Any:
        """Return the digits of the code, or a short text without a code as it is.

        Raise a ``ValidationError`` for a long text without a code, and for a value of another type.
        """
        text = super().to_python(value)
        if len(text) > _LONGEST_MESSAGE:
            raise forms.ValidationError("", code="invalid")
        code = _code_in(text) or "".join(text.split())
        if len(code) > _LONGEST_CODE:
            raise forms.ValidationError("", code="invalid")
        return code


def _code_in(text: str) -> str:
    """Return the digits of the code in a typed or pasted text, or an empty text.

    The digits are found if the text has no letters and 4 to 8 digits, or if the text has exactly
    one run of 4 to 8 digits. Digits of all scripts are digits, and invisible characters are
    ignored.
    """
    text = "".join(
        str(unicodedata.decimal(character, character))
        for character in unicodedata.normalize("NFKC", text)
        if unicodedata.category(character) != "Cf"
    )
    runs = _DIGIT_RUN.findall(text)
    if not any(map(str.isalpha, text)) and len("".join(runs)) in _DIGITS_OF_CODE:
        return "".join(runs)
    codes = [run for run in runs if len(run) in _DIGITS_OF_CODE]
    codes = codes or ["".join(_DIGIT_RUN.findall(group)) for group in _grouped_code().findall(text)]
    return codes[0] if len(codes) == 1 else ""


def _code_field() -> CodeField:
    return CodeField(
        label=pgettext_lazy("ciam", "Verification code"),
        max_length=_LONGEST_MESSAGE,
        widget=_write_only_input("one-time-code", inputmode="numeric"),
    )


def _password_field(label: str | StrPromise, autocomplete: str) -> StrictTextField:
    # A browser must not send a password that is shown to its spelling checker.
    attrs = {"autocomplete": autocomplete, "autocapitalize": "none", "spellcheck": "false"}
    widget = forms.PasswordInput(attrs=attrs)
    return StrictTextField(label=label, max_length=_LONGEST, strip=False, widget=widget)


class PasswordForm(CiamForm):
    """A user name and a password."""

    username = StrictTextField(
        label=pgettext_lazy("ciam", "Mobile number, email or username"),
        max_length=_LONGEST,
        widget=_text_input("username"),
    )
    password = _password_field(pgettext_lazy("ciam", "Password"), "current-password")


class SmsForm(CiamForm):
    """The recipient of a text message."""

    phone_field = "phone_number"
    phone_number = StrictTextField(
        label=pgettext_lazy("ciam", "Mobile number"),
        max_length=_LONGEST,
        widget=_text_input("tel", inputmode="tel"),
    )


class EmailForm(CiamForm):
    """The recipient of an email."""

    email = StrictTextField(
        label=pgettext_lazy("ciam", "Email address"),
        max_length=_LONGEST,
        widget=_text_input("email", inputmode="email"),
    )


class RecipientForm(CiamForm):
    """The recipient of a code: a mobile number or an email address."""

    field_aliases: ClassVar[Mapping[str, str]] = {
        # The errors of the form itself have the codes of the first name.
        "receiver": "receiver",
        "phone_number": "receiver",
        "email": "receiver",
        "username": "receiver",
    }
    phone_field = "receiver"
    receiver = StrictTextField(
        label=pgettext_lazy("ciam", "Mobile number or email address"),
        max_length=_LONGEST,
        widget=_text_input("username"),
    )


class CodeForm(CiamForm):
    """A code that was sent."""

    code = _code_field()


class NewPasswordForm(CiamForm):
    """A new password."""

    password = _password_field(pgettext_lazy("ciam", "New password"), "new-password")

    def blank_text(self, name: str) -> str:
        """Return the error of a blank new password, which is not the user's password yet."""
        return pgettext("ciam", "Enter a new password.") if name == "password" else ""


class CodeAndPasswordForm(NewPasswordForm):
    """A code that was sent, and a new password."""

    field_order = ("code", "password")
    code = _code_field()


class SignUpForm(CodeAndPasswordForm):
    """A code that was sent, and the first password of an account."""

    def __init__(self, data: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(data, **kwargs)
        self.fields["password"].label = pgettext_lazy("ciam", "Choose a password")

    def blank_text(self, name: str) -> str:
        """Return the error of a blank first password."""
        return pgettext("ciam", "Choose a password.") if name == "password" else ""


class ConfirmPasswordForm(CiamForm):
    """The current password, as a second factor."""

    password = _password_field(pgettext_lazy("ciam", "Password"), "current-password")


# CIAM's name of a channel of the second factor -> the label of its button.
CHANNEL_LABELS: Final[Mapping[str, str | StrPromise]] = {
    "SMS": pgettext_lazy("ciam", "Text me a code"),
    "EMAIL": pgettext_lazy("ciam", "Email me a code"),
    "PWD": pgettext_lazy("ciam", "Enter my password"),
}


class ChannelForm(CiamForm):
    """The channel of the second factor; the page has a button for each channel."""

    channel = StrictTextField(max_length=10, widget=forms.RadioSelect)

    def __init__(self, data: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(data, **kwargs)
        recipients = self.flow.step_data.get("channels", {})
        self.channels = [(name, CHANNEL_LABELS[name], recipients[name]) for name in recipients]
        self.fields["channel"].widget.choices = [(name, label) for name, label, _ in self.channels]


class ConsentForm(CiamForm):
    """The terms, without further fields."""


# --- Data that WeChat gives a mini program ----------------------------------------------------

# Characters of data that WeChat has encrypted.
_LONGEST_SECRET: Final = 8192


class MiniProgramForm(CiamForm):
    """The code of ``wx.login``."""

    login_code = StrictTextField(max_length=_LONGEST)


class MiniProgramPhoneForm(MiniProgramForm):
    """The data of ``getPhoneNumber``: a code, or encrypted data in older versions of WeChat."""

    phone_code = StrictTextField(max_length=_LONGEST, required=False)
    encrypted_data = StrictTextField(max_length=_LONGEST_SECRET, required=False)
    iv = StrictTextField(max_length=_LONGEST, required=False)


class MiniProgramUserInfoForm(MiniProgramForm):
    """The encrypted data of ``wx.getUserInfo``."""

    encrypted_data = StrictTextField(max_length=_LONGEST_SECRET)
    iv = StrictTextField(max_length=_LONGEST)


# --- Data that the SDK of a provider gives a native app ---------------------------------------


class NativeCodeForm(CiamForm):
    """The code of a provider's SDK, the proofs of the code, and the name that Apple tells once."""

    field_aliases: ClassVar[Mapping[str, str]] = {"social_code": "code"}
    code = StrictTextField(max_length=2048)
    # RFC 7636, section 4.1.
    code_verifier = StrictTextField(
        required=False, validators=[RegexValidator(r"\A[A-Za-z0-9._~-]{43,128}\Z")]
    )
    nonce = StrictTextField(max_length=_LONGEST, required=False)
    given_name = StrictTextField(max_length=_LONGEST, required=False)
    family_name = StrictTextField(max_length=_LONGEST, required=False)


# --- The profile ------------------------------------------------------------------------------

# CIAM's name of a profile member -> label and autocomplete; ``birthday`` has a date picker.
PROFILE_FIELDS: Final[Mapping[str, tuple[Any, str]]] = {
    "displayName": (pgettext_lazy("ciam", "Name"), "name"),
    "enDisplayName": (pgettext_lazy("ciam", "Name in Latin letters"), "off"),
    "email": (pgettext_lazy("ciam", "Email address"), "email"),
    "phoneNumber": (pgettext_lazy("ciam", "Mobile number"), "tel"),
    "birthday": (pgettext_lazy("ciam", "Date of birth"), "bday"),
    "gender": (pgettext_lazy("ciam", "Gender"), "sex"),
    "country": (pgettext_lazy("ciam", "Country or region"), "country-name"),
    "region": (pgettext_lazy("ciam", "District"), "address-level3"),
    "province": (pgettext_lazy("ciam", "Province or state"), "address-level1"),
    "city": (pgettext_lazy("ciam", "City"), "address-level2"),
    "street": (pgettext_lazy("ciam", "Street address"), "address-line1"),
    "address": (pgettext_lazy("ciam", "Full address"), "street-address"),
}


# The values of ``gender`` in OpenID Connect Core 1.0, section 5.1. CIAM documents no values.
_GENDERS: Final = ("female", "male")
_NAMES_OF_GENDERS: Final[Mapping[str, StrPromise]] = {
    **dict.fromkeys(("female", "f", "女", "女性"), pgettext_lazy("ciam", "Female")),
    **dict.fromkeys(("male", "m", "男", "男性"), pgettext_lazy("ciam", "Male")),
    **dict.fromkeys(
        ("unknown", "secret", "保密", "未知"), pgettext_lazy("ciam", "Prefer not to say")
    ),
    **dict.fromkeys(("other", "其他"), pgettext_lazy("ciam", "Other")),
}


def _options_of_detail(name: str, flow: Flow) -> list[tuple[str, str | StrPromise]]:
    """Return the options of a member of the profile; an empty list if the user types it."""
    listed = flow.step_data.get("options", {}).get(name, ())
    if values := conf.CIAM_PROFILE_OPTIONS.get(name):
        listed = [[value] for value in values]
    elif name == "gender" and not listed:
        listed = [[value] for value in _GENDERS]
    names = _NAMES_OF_GENDERS if name == "gender" else {}
    return [
        (value, names.get(label.casefold()) or names.get(value.casefold()) or label)
        for value, label in ((option[0], option[-1]) for option in listed)
    ]


def is_city_of_province(asked: Sequence[str]) -> bool:
    """Return True if the province is the city, too, so that the form does not ask for the city.

    On a page for Taiwan, both would be 縣市.
    """
    language = to_locale(get_language() or "")
    is_for_taiwan = language.startswith(("zh_Hant", "zh_TW")) and default_region() == "TW"
    return is_for_taiwan and {"province", "city"} <= {*asked}


class ProfileForm(CiamForm):
    """The members of the profile that CIAM asks for."""

    def __init__(self, data: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(data, **kwargs)
        asked = self.flow.step_data["asked"]
        for name in asked:
            if name == "city" and is_city_of_province(asked):
                continue
            label, autocomplete = PROFILE_FIELDS[name]
            if options := _options_of_detail(name, self.flow):
                self.fields[snake_case_name(name)] = forms.ChoiceField(
                    label=label,
                    choices=[("", pgettext_lazy("ciam", "Select")), *options],
                    widget=forms.Select(attrs={"autocomplete": autocomplete}),
                )
                continue
            attrs = {"type": "date"} if name == "birthday" else {}
            self.fields[snake_case_name(name)] = StrictTextField(
                label=label,
                max_length=_LONGEST,
                widget=forms.TextInput(attrs={"autocomplete": autocomplete, **attrs}),
            )
        if "phone_number" in self.fields:
            self.phone_field = "phone_number"
            self.add_phone_region()

    def blank_text(self, name: str) -> str:
        """Return the error of a blank select, which asks to select, and not to enter."""
        field = self.fields[name]
        # The text of the row already asks to select the gender.
        if not isinstance(field, forms.ChoiceField) or name in ("gender", "phone_region"):
            return ""
        return pgettext("ciam", "Select an option for “{label}”.").format(label=field.label)


def snake_case_name(name: str) -> str:
    """Return a camel-case name in snake case: ``en_display_name`` for ``enDisplayName``."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
