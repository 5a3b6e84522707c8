"""The name of a new user that a provider tells only once, and that only the browser or app has.

Apple tells the name at the first sign-in of a person only, in a form that the browser posts, and
not in the id_token. The name proves nothing: a person can type any name there.
"""

from __future__ import annotations

import functools
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from ciam_django.client.person import Person
from ciam_django.login.cookies import EncryptedCookies
from ciam_django.login.state import STATE_SECONDS, state_digest

# Apple's name of a part of the name -> the claim of OpenID Connect Core 1.0, section 5.1.
_APPLE_PARTS: Final[Mapping[str, str]] = {"firstName": "given_name", "lastName": "family_name"}
NAME_CLAIMS: Final = ("given_name", "family_name")
# The claims with which CIAM or the id_token names a person.
_OTHER_NAMES: Final = ("name", "displayName", "nickname")
# Characters of a part of a name, and of Apple's JSON.
_LONGEST_PART: Final = 64
_LONGEST_JSON: Final = 2048
# A name of two parts in Fernet's encryption, with four bytes for each character.
_LONGEST_ENCRYPTED: Final = 1200
# The encryption of cookies, for a text in the URL of a redirect.
_ENCRYPTION: Final = EncryptedCookies("ciam_django.login.names", "", STATE_SECONDS)


@functools.cache
def _east_asian() -> re.Pattern[str]:
    """Return the pattern of Chinese, Japanese and Korean names, whose family name is first.

    The pattern has 30,000 letters. The first name compiles the pattern, and not each start of a
    process.
    """
    return re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")


def name_in_form(text: str) -> dict[str, str]:
    """Return the claims of the name in the ``user`` that Apple posts; empty without a name.

    The text is JSON, such as ``{"name": {"firstName": "Li", "lastName": "Wang"}}``. The ``email``
    beside the name is ignored, because nothing proves it.
    https://developer.apple.com/documentation/signinwithapple/configuring-your-webpage-for-sign-in-with-apple
    """
    try:
        user = json.loads(text) if len(text) <= _LONGEST_JSON else None
    except (ValueError, RecursionError):
        user = None
    name = user.get("name") if isinstance(user, dict) else None
    parts = name if isinstance(name, dict) else {}
    return cleaned_name({claim: parts.get(part) for part, claim in _APPLE_PARTS.items()})


def cleaned_name(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the claims of ``NAME_CLAIMS`` that are texts, without invisible characters, and short.

    Characters that are not printed could change the direction or the lines of a text in which the
    name stands.
    """
    names = {claim: values.get(claim) for claim in NAME_CLAIMS}
    cleaned = {claim: _printable(value) for claim, value in names.items() if isinstance(value, str)}
    return {claim: value for claim, value in cleaned.items() if value}


def _printable(text: str) -> str:
    normalized = unicodedata.normalize("NFC", text[: 4 * _LONGEST_PART])
    words = "".join(c if c.isprintable() else " " if c.isspace() else "" for c in normalized)
    return " ".join(words.split())[:_LONGEST_PART].rstrip()


def encrypted_name(name: Mapping[str, str], state: str) -> str:
    """Return the name as an encrypted text that only the sign-in with this state can use."""
    return _ENCRYPTION.encrypted({**name, "state": state_digest(state)})


def decrypted_name(text: str, state: str) -> dict[str, str]:
    """Return the name of an encrypted text; empty if the text is invalid or of another sign-in."""
    is_short = len(text) <= _LONGEST_ENCRYPTED
    content = (_ENCRYPTION.decrypted(text, STATE_SECONDS) if is_short else None) or {}
    return cleaned_name(content) if content.get("state") == state_digest(state) else {}


def with_told_name(person: Person, name: Mapping[str, str]) -> Person:
    """Return the person with the told name, if the data about the person have no name."""
    if any(person.claims.get(claim) for claim in (*NAME_CLAIMS, *_OTHER_NAMES)):
        return person
    return replace(person, claims={**person.claims, **name, "name": _full_name(name)})


def _full_name(name: Mapping[str, str]) -> str:
    parts = [name[claim] for claim in NAME_CLAIMS if claim in name]
    if all(map(_east_asian().fullmatch, parts)):
        return "".join(reversed(parts))
    return " ".join(parts)
