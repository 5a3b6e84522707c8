"""Parse the data of CIAM's API into typed values, which also hold the data itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ciam_django.client.envelope import LIFETIME
from ciam_django.errors import CiamError
from ciam_django.privacy import own_text

Data = Mapping[str, Any]

# A language of RFC 5646, such as zh-CN, also as CIAM and Java write it: zh_CN.
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,3}")
# Characters of the name and of the URL of terms, which the pages show.
_LONGEST_NAME: Final = 100
_LONGEST_URL: Final = 2000


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A finished sign-in: its token and user; ``expires_in`` is in seconds, 0 if unknown."""

    access_token: str = field(repr=False)
    user_id: str
    expires_in: int
    data: Data = field(repr=False)


@dataclass(frozen=True, slots=True)
class NextStep:
    """An unfinished sign-in: its flow, and the type of the next step (``NEED_TWO_FACTOR``)."""

    flow_id: str = field(repr=False)
    flow_type: str
    data: Data = field(repr=False)

    @property
    def additional(self) -> Data:
        """The data that the next step shows, such as the phone number to which a code is sent."""
        return _mapping(self.data.get("additional"))


@dataclass(frozen=True, slots=True)
class LoginPage:
    """The login page as the tenant has configured it.

    ``methods`` has our names: ``password``, ``sms``, ``email``, ``recover``, ``sign_up``. CIAM's
    members for them are unverified.
    """

    second_factors: tuple[str, ...]
    wants_captcha_for_codes: bool
    methods: frozenset[str]
    data: Data = field(repr=False)


@dataclass(frozen=True, slots=True)
class AuthSource:
    """An external source of sign-ins, such as a social provider, that the tenant has set up."""

    id: str
    name: str
    type: str
    data: Data = field(repr=False)


@dataclass(frozen=True, slots=True)
class Consent:
    """Terms to which a user consents before a form is sent.

    ``is_required`` is True unless CIAM says otherwise (unverified). ``url`` is empty if the URL of
    the terms is not https. ``names`` and ``urls`` map a language, such as ``zh-cn``, to the name
    and the URL in this language; they are empty if CIAM sends a text without languages
    (unverified).
    """

    id: str
    name: str
    url: str
    is_required: bool
    data: Data = field(repr=False)
    names: Mapping[str, str] = field(default_factory=dict)
    urls: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Captcha:
    """A CAPTCHA; ``image`` is the address of the image, or the image as a data URL."""

    id: str
    image: str = field(repr=False)
    data: Data = field(repr=False)


@dataclass(frozen=True, slots=True)
class Profile:
    """The profile of a user at CIAM."""

    user_id: str
    username: str
    display_name: str
    email: str = field(repr=False)
    phone_number: str = field(repr=False)
    data: Data = field(repr=False)


def sign_in_result_of(data: Data) -> SignedIn | NextStep:
    """Return the token or the next step of a sign-in.

    ``success: true`` alone is not a sign-in, since a flow ends only with a token. Data with
    neither a token nor a next step raise ``unreadable_answer``.
    """
    if flow_type := _text(data, "flowType"):
        return NextStep(_text(data, "fId"), flow_type, data)
    return signed_in_of(data)


def signed_in_of(data: Data) -> SignedIn:
    """Return the token in the data; raise ``unreadable_answer`` without a token."""
    token = _text(data, "access_token")
    if not token:
        raise CiamError(
            "unreadable_answer", upstream_text=own_text("neither a token nor a flowType")
        )
    lifetime = LIFETIME.fullmatch(str(data.get("expires_in")))
    return SignedIn(token, user_id_in(data), int(lifetime[1]) if lifetime else 0, data)


def user_id_in(data: Data) -> str:
    """Return the id of the user in the data, or an empty text."""
    return _text(data, "userId", "uuid")


def flow_id_of(data: Data) -> str:
    """Return the id of a sent code's flow; raise ``unreadable_answer`` without an id."""
    flow_id = _text(data, "fId")
    if not flow_id:
        raise CiamError("unreadable_answer", upstream_text=own_text("there is no fId"))
    return flow_id


# CIAM's name of a login method in the configuration of the login page -> our name.
_LOGIN_METHODS: Final = {"pwd": "password", "sms": "sms", "email": "email"}
_OTHER_METHODS: Final = {"passwordRecovery": "recover", "register": "sign_up"}


def login_page_of(data: Data) -> LoginPage:
    """Return the login page; unknown login methods are left out."""
    sign_in_methods = {
        _LOGIN_METHODS[name] for name in _texts(data, "loginType") if name in _LOGIN_METHODS
    }
    other_methods = {ours for theirs, ours in _OTHER_METHODS.items() if _is_true(data.get(theirs))}
    return LoginPage(
        second_factors=_texts(data, "2factorType"),
        wants_captcha_for_codes=_is_true(data.get("smsEmailCaptchaRisk")),
        methods=frozenset(sign_in_methods | other_methods),
        data=data,
    )


def auth_sources_of(data: Data) -> tuple[AuthSource, ...]:
    return tuple(
        AuthSource(
            id=_text(row, "enterpriseAuthId", "id", "uuid"),
            name=_text(row, "displayName", "name"),
            type=_text(row, "type", "enterpriseAuthType"),
            data=row,
        )
        for row in rows_of(data)
    )


def consents_of(data: Data) -> tuple[Consent, ...]:
    return tuple(map(_consent_of, rows_of(data)))


def _consent_of(row: Data) -> Consent:
    names = _texts_by_language(row, "name", "title")
    urls = _texts_by_language(row, "url", "link")
    return Consent(
        id=_text(row, "uuid", "id"),
        name=_short_line(_text(row, "name", "title") or next(iter(names.values()), "")),
        url=_https_url(_text(row, "url", "link") or next(iter(urls.values()), "")),
        is_required=str(row.get("required", True)).casefold() != "false",
        data=row,
        names={language: line for language, name in names.items() if (line := _short_line(name))},
        urls={language: _https_url(url) for language, url in urls.items()},
    )


def captcha_of(data: Data) -> Captcha:
    """Return the CAPTCHA; an image that is plain Base64 becomes a data URL of a PNG image."""
    image = _text(data, "captchaImage", "image")
    if image and not image.startswith(("data:", "https:")):
        image = f"data:image/png;base64,{image}"
    return Captcha(_text(data, "captchaCode", "uuid"), image, data)


def profile_of(data: Data) -> Profile:
    return Profile(
        user_id=user_id_in(data),
        username=_text(data, "username", "loginName"),
        display_name=_text(data, "displayName"),
        email=_text(data, "email"),
        phone_number=_text(data, "phoneNumber"),
        data=data,
    )


def rows_of(data: Data) -> tuple[Data, ...]:
    """Return the rows of data that are a list, or one page of a list."""
    listed = data.get("data")
    if not isinstance(listed, list):
        listed = next((value for value in data.values() if isinstance(value, list)), [])
    return tuple(row for row in listed if isinstance(row, Mapping))


def _text(data: Data, *names: str) -> str:
    """Return the first member with a text or a number, as a text; an empty text without a member.

    There are several names because the vendor's pages and samples use different names.
    """
    for name in names:
        value = data.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            return str(value)
    return ""


def _texts(data: Data, name: str) -> tuple[str, ...]:
    value = data.get(name)
    return tuple(str(text) for text in value) if isinstance(value, list) else ()


def _texts_by_language(data: Data, *names: str) -> Mapping[str, str]:
    """Return language -> text of the first member that has texts in several languages.

    The languages are in lower case, with ``-`` in place of ``_``.
    """
    members = (member for name in names if isinstance(member := data.get(name), Mapping))
    return {
        language.lower().replace("_", "-"): text
        for language, text in next(members, {}).items()
        if isinstance(text, str) and text and _LANGUAGE.fullmatch(language)
    }


def _short_line(text: str) -> str:
    """Return the printable characters of the text on one line, up to ``_LONGEST_NAME``."""
    line = "".join(filter(str.isprintable, " ".join(text.split())))
    return line if len(line) <= _LONGEST_NAME else f"{line[:_LONGEST_NAME].rstrip()}…"


def _https_url(url: str) -> str:
    return url if url.startswith("https://") and len(url) <= _LONGEST_URL else ""


def _mapping(value: object) -> Data:
    return value if isinstance(value, Mapping) else {}


def _is_true(value: object) -> bool:
    return str(value).casefold() == "true"
