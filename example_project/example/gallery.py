"""Collect the rows of the table of codes in groups; the gallery shows one group at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from ciam_django.codes import CODES
from ciam_django.kinds import KINDS, Kind
from ciam_django.lookup import meaning_of

# First code of a group of the table -> name of the group in the URL, and its heading.
GROUPS: Final[dict[str, tuple[str, str | Promise]]] = {
    "invalid_request": ("oauth", _("OAuth 2.0 errors")),
    "Service.Internal.Error": ("envelope", _("CIAM: codes of the envelope")),
    "Server.Access.Denied.Token.Expire": ("common", _("CIAM: common messages")),
    "Operation.Failure.AuthenticateInformation.Disable": (
        "services",
        _("CIAM: messages of the services"),
    ),
    "Params.Blank.ApplicationExternalId": ("missing", _("CIAM: a parameter is missing")),
    "Params.Exist.SocialUser.SocialId": ("taken", _("CIAM: a parameter is taken")),
    "Params.Illegal.Consent": ("invalid", _("CIAM: a parameter is invalid")),
    "Params.Blank.OauthClient.*": ("families", _("Families, for codes not yet published")),
    "wechat.1": ("wechat", _("WeChat's return codes")),
    "temporarily_unavailable": (
        "openid",
        _("OAuth 2.0 and OpenID Connect, beyond the vendor's list"),
    ),
    "oauth_error": ("libraries", _("Authlib and joserfc")),
    "timeout": ("own", _("Our own")),
}
# Rows on one page. A page with all rows has 400 kB, and axe does not finish on it.
ROWS_PER_PAGE: Final = 20


@dataclass(frozen=True, slots=True)
class GalleryRow:
    """A row of the table in the active language; its links raise ``raised_code``."""

    heading: str
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
class Group:
    """A heading and its rows; ``name`` is the name in the URL."""

    name: str
    heading: str
    rows: list[GalleryRow] = field(default_factory=list)


def groups_of_rows() -> list[Group]:
    """Return all rows of the table in their groups, in the active language."""
    groups: list[Group] = []
    for key, meaning in CODES.items():
        if key in GROUPS:
            name, heading = GROUPS[key]
            groups.append(Group(name, str(heading)))
        if meaning.kind is not Kind.SUCCESS:
            # CIAM's code for success is no failure: raised, it would get the answer of UNKNOWN.
            groups[-1].rows.append(_row(groups[-1].heading, key))
    return groups


def rows_with(query: str, groups: list[Group]) -> list[GalleryRow]:
    """Return the rows of the groups that contain all words of the query."""
    words = query.casefold().split()
    return [row for group in groups for row in group.rows if row.has(words)]


def number_of_failures() -> int:
    """Return the number of rows in the gallery."""
    return sum(1 for meaning in CODES.values() if meaning.kind is not Kind.SUCCESS)


def _row(heading: str, key: str) -> GalleryRow:
    # The links of a family raise a code that only the family matches.
    raised_code = key.replace("*", "Example")
    meaning = meaning_of(raised_code)
    return GalleryRow(
        heading=heading,
        key=key,
        raised_code=raised_code,
        status=meaning.status,
        kind=str(meaning.kind),
        title=str(meaning.title or KINDS[meaning.kind].title),
        action=str(meaning.action),
        text=str(meaning.message),
    )
