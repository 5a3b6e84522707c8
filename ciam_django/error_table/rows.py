"""The table of codes as plain values: the table of this project, and the table of the package."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from django.conf import settings
from django.utils.translation import override

from ciam_django.codes import CODES, Meaning
from ciam_django.kinds import KINDS, Kind
from ciam_django.languages import language_of_texts, similar_language_with_texts
from ciam_django.lookup import TextByLanguage, known_keys, matched_row, valid_overrides


@dataclasses.dataclass(frozen=True, slots=True)
class TableRow:
    """A row of the table, with the texts of each language.

    ``sentences`` has what users read, and ``reason`` has what only developers read.
    """

    code: str
    kind: str
    status: int
    action: str
    field: str | None
    audience: str
    retry: bool
    collapse: str | None
    reason: str
    titles: Mapping[str, str]
    sentences: Mapping[str, str]

    def has_text(self, part: str) -> bool:
        """Return True if the code or a sentence has this part; letter case does not matter."""
        texts = (self.code, *self.sentences.values())
        return any(part.casefold() in text.casefold() for text in texts)


FIELDS: Final = tuple(field.name for field in dataclasses.fields(TableRow))


def table_languages() -> list[str]:
    """Return the languages of ``LANGUAGES`` that have texts, or English.

    These are the texts of this package, and the texts by language of ``CIAM_ERROR_OVERRIDES``.
    """
    messages = [fields.get("message") for fields in valid_overrides().values()]
    own = {name.lower() for texts in messages if isinstance(texts, Mapping) for name in texts}
    languages = [code for code, _ in settings.LANGUAGES]
    return [
        each for each in languages if each.lower() in own or similar_language_with_texts(each)
    ] or ["en"]


def project_table() -> dict[str, TableRow]:
    """Return code -> row, with the overrides of this project, in the order of the table.

    The keys of ``CIAM_ERROR_OVERRIDES`` that the package does not have are the last rows.
    """
    languages = table_languages()
    return {code: project_row(code, languages) for code in known_keys()}


def project_row(code: str, languages: list[str]) -> TableRow:
    """Return the row that answers a code in this project."""
    row = matched_row(code)
    return _table_row(code, row.meaning, row.message_for_users, str(row.reason), languages)


def package_table() -> dict[str, TableRow]:
    """Return code -> row, without the overrides and the settings of the project."""
    languages = table_languages()
    return {
        code: _table_row(code, meaning, meaning.message, str(meaning.reason), languages)
        for code, meaning in CODES.items()
    }


def is_answered(row: TableRow) -> bool:
    """Return True if an answer can have the code of the row; the code of a success can't be one."""
    return row.kind != Kind.SUCCESS


def sentence_in(language: str, text: Any) -> str:
    """Return a text of a row as users of a language read it."""
    while isinstance(text, TextByLanguage):
        if match := text.match(language):
            return match.text
        text = text.default
    with override(language_of_texts(language)):
        return str(text)


def _table_row(
    code: str, meaning: Meaning, message: Any, reason: str, languages: list[str]
) -> TableRow:
    title = meaning.title or KINDS[meaning.kind].title
    return TableRow(
        code=code,
        kind=str(meaning.kind),
        status=meaning.status,
        action=str(meaning.action),
        field=meaning.field,
        audience=str(meaning.audience),
        retry=meaning.retry,
        collapse=None if meaning.collapse is None else str(meaning.collapse),
        reason=reason,
        titles={language: sentence_in(language, title) for language in languages},
        sentences={language: sentence_in(language, message) for language in languages},
    )
