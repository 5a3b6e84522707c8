"""Collect the rows of the table of codes under headings; the gallery page shows them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from ciam_django.codes import CODES
from ciam_django.kinds import KINDS, Kind
from ciam_django.lookup import meaning_of

# First code of a section of the table -> heading of the section.
HEADINGS: Final[dict[str, str | Promise]] = {
    "invalid_request": _("OAuth 2.0 errors"),
    "Service.Internal.Error": _("CIAM: codes of the envelope"),
    "Server.Access.Denied.Token.Expire": _("CIAM: common messages"),
    "Operation.Failure.AuthenticateInformation.Disable": _("CIAM: messages of the services"),
    "Params.Blank.ApplicationExternalId": _("CIAM: a parameter is missing"),
    "Params.Exist.SocialUser.SocialId": _("CIAM: a parameter is taken"),
    "Params.Illegal.Consent": _("CIAM: a parameter is invalid"),
    "Params.Blank.OauthClient.*": _("Families, for codes not yet published"),
    "wechat.1": _("WeChat's return codes"),
    "temporarily_unavailable": _("OAuth 2.0 and OpenID Connect, beyond the vendor's list"),
    "oauth_error": _("Authlib and joserfc"),
    "timeout": _("Our own"),
}


@dataclass(frozen=True, slots=True)
class GalleryRow:
    """A row of the table in the active language; its links raise ``raised_code``."""

    key: str
    raised_code: str
    status: int
    kind: str
    title: str
    action: str
    text: str

    @property
    def parts(self) -> list[str]:
        """The segments of the code; a line may break between two segments."""
        return self.key.split(".")

    def has(self, words: list[str]) -> bool:
        """Return True if the row contains each of the words, which are case-folded."""
        row = f"{self.key} {self.status} {self.kind} {self.title} {self.action} {self.text}"
        return all(word in row.casefold() for word in words)


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and its rows."""

    name: str
    heading: str
    rows: list[GalleryRow] = field(default_factory=list)


def sections_with(query: str) -> list[Section]:
    """Return the rows that contain all words of the query, in their sections."""
    words = query.casefold().split()
    sections: list[Section] = []
    for row in _rows():
        if row.key in HEADINGS:
            sections.append(Section(f"section-{len(sections)}", str(HEADINGS[row.key])))
        if row.has(words):
            sections[-1].rows.append(row)
    return [section for section in sections if section.rows]


def number_of_failures() -> int:
    """Return the number of rows in the gallery."""
    return sum(1 for meaning in CODES.values() if meaning.kind is not Kind.SUCCESS)


def _rows() -> Iterator[GalleryRow]:
    for key, row in CODES.items():
        if row.kind is Kind.SUCCESS:
            # CIAM's code for success is no failure: raised, it would get the answer of UNKNOWN.
            continue
        # The links of a family raise a code that only the family matches.
        raised_code = key.replace("*", "Example")
        meaning = meaning_of(raised_code)
        yield GalleryRow(
            key=key,
            raised_code=raised_code,
            status=meaning.status,
            kind=str(meaning.kind),
            title=str(KINDS[meaning.kind].title),
            action=str(meaning.action),
            text=str(meaning.message),
        )
