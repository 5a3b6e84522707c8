"""Find the ``Meaning`` of a code in the table and the settings."""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from django.conf import settings
from django.utils.functional import Promise
from django.utils.translation import get_language, override

from ciam_django.codes import ALIASES, CODES, COLLAPSE_TARGETS, UNKNOWN, Collapse, Meaning
from ciam_django.conf import cached_until_settings_change, conf
from ciam_django.kinds import DEFAULT_UPSTREAM_STATUS, KINDS, Action, Audience, Kind
from ciam_django.languages import similar_languages

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise

# The codes of the generic rows.
GENERIC_CODES: Final = frozenset(COLLAPSE_TARGETS.values())
FIELD: Final = re.compile(r"[a-z_]{1,40}")
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
# The segments of a `Params.*` code that name the owner of the parameter.
_OWNERS: Final = ("user", "device")


class MatchedRow(NamedTuple):
    """The row that matches a code.

    ``key`` is the row's key in the table or the settings, ``meaning`` is the row with the overrides
    of the project. ``matched_by`` is the step of the look-up: ``exact``, ``family``, ``type code``,
    ``status`` or ``unknown``. ``has_project_message`` is true if the settings have a message for
    the code, its alias or ``key``, and no ``collapse`` that hides the message. A message of a
    family or of a type code does not count.
    ``has_hidden_message`` is true if the settings say that the row is for developers: users then
    read the general sentence of the kind in place of the message.
    """

    key: str
    meaning: Meaning
    matched_by: str
    has_project_message: bool = False
    has_hidden_message: bool = False

    @property
    def message_for_users(self) -> str | StrPromise:
        """The row's message, or the general sentence of its kind."""
        meaning = self.meaning
        return KINDS[meaning.kind].sentence if self.has_hidden_message else meaning.message

    @property
    def reason(self) -> str | StrPromise:
        """The reason for developers; empty if users read all that the row says.

        A hidden message comes before the reason of the table. A message of the project is in
        ``LANGUAGE_CODE``, so that the log has one language.
        """
        if not self.has_hidden_message:
            return self.meaning.reason
        with override(settings.LANGUAGE_CODE):
            texts = (str(self.meaning.message), str(self.meaning.reason))
        return "; ".join(filter(None, texts))


def meaning_of(code: str, type_code: str = "") -> Meaning:
    """Return the meaning of a code; letter case does not matter.

    ``type_code`` is the ``code`` of CIAM's envelope. It is used only if no row matches ``code``.
    A code without any match has the meaning of ``unknown_error``.
    """
    return matched_row(code, type_code).meaning


@cached_until_settings_change("CIAM_ERROR_OVERRIDES", "CIAM_UPSTREAM_STATUS")
def matched_row(code: str, type_code: str = "", upstream_status: int | None = None) -> MatchedRow:
    """Return the first row that matches: exact row, family row, type code, HTTP status, unknown."""
    if row := _row_of_code(code):
        return row
    if type_code and (row := _row_of_code(type_code)):
        meaning = _meaning_with_derived_field(row.meaning, code)
        hides = row.has_hidden_message
        return MatchedRow(row.key, meaning, "type code", has_hidden_message=hides)
    if upstream_status == 429:
        return _row_of_key("too_many_requests", "status")
    return _row_of_key(UNKNOWN, "unknown")


def generic_row(collapse: Collapse) -> MatchedRow:
    """Return the row that users get instead of a row with this ``collapse``."""
    return matched_row(COLLAPSE_TARGETS[collapse])


def is_known(code: str) -> bool:
    """Return True if the code is a row, an alias or an override; a family is not enough."""
    folded = code.casefold()
    return folded in _keys_by_folded_code() or folded in _aliases() or folded in _overrides()


def valid_overrides() -> dict[str, Mapping[str, Any]]:
    """Return key -> fields of ``CIAM_ERROR_OVERRIDES``; the keys are as the project writes them.

    Fields with a wrong name or value are left out.
    """
    return dict(_overrides().values())


def applied_overrides(code: str) -> dict[str, Mapping[str, Any]]:
    """Return the keys of ``CIAM_ERROR_OVERRIDES`` that change the answer to a code.

    Each key, as the project has written it, has its valid fields. A later key overrides the fields
    of the keys before it.
    """
    folded = code.casefold()
    canonical = _aliases().get(folded, folded)
    keys = dict.fromkeys([*reversed(list(_families_of(canonical))), canonical, folded])
    overrides = _overrides()
    return dict(overrides[key] for key in keys if key in overrides)


def alias_target(code: str) -> str | None:
    """Return the key of the row that has this code as another spelling; None for other codes."""
    target = _aliases().get(code.casefold())
    return _keys_by_folded_code()[target] if target else None


def known_keys() -> list[str]:
    """Return all keys of the table and the settings, including families, in their order."""
    rows = _keys_by_folded_code()
    own = [key for folded, (key, _) in _overrides().items() if folded not in rows]
    return [*CODES, *own]


def _row_of_code(code: str) -> MatchedRow | None:
    folded = code.casefold()
    canonical = _aliases().get(folded, folded)
    rows, overrides = _keys_by_folded_code(), _overrides()
    if canonical in rows:
        return _row_of_key(rows[canonical], "exact", folded)

    families = list(_families_of(folded))
    key = next((rows[family] for family in families if family in rows), None)
    if folded not in overrides and key is None and not any(f in overrides for f in families):
        return None
    shown_key = overrides[folded][0] if folded in overrides else key
    if shown_key is None:
        shown_key = next(overrides[family][0] for family in families if family in overrides)
    meaning = CODES[key] if key else CODES[UNKNOWN]
    meaning = _meaning_with_derived_field(meaning, code)
    matched_by = "exact" if folded in overrides else "family"
    return MatchedRow(
        shown_key,
        _meaning_with_overrides(meaning, folded),
        matched_by,
        _has_project_message(folded),
        _is_for_developers([*reversed(families), folded]),
    )


def _row_of_key(key: str, matched_by: str, requested_key: str = "") -> MatchedRow:
    """Return the row with the overrides of its own key and of ``requested_key``."""
    folded = key.casefold()
    meaning = _meaning_with_overrides(CODES[key], folded)
    if requested_key not in ("", folded):
        meaning = _meaning_with_overrides(meaning, requested_key, with_families=False)
    return MatchedRow(
        key,
        meaning,
        matched_by,
        _has_project_message(folded, requested_key),
        _is_for_developers([*reversed(list(_families_of(folded))), folded, requested_key]),
    )


def _meaning_with_overrides(
    meaning: Meaning, folded: str, *, with_families: bool = True
) -> Meaning:
    """Return the meaning with the overrides of the project, and with ``CIAM_UPSTREAM_STATUS``.

    The overrides of the families apply before the overrides of the key, or not at all.
    """
    overrides = _overrides()
    keys = [*reversed(list(_families_of(folded))), folded] if with_families else [folded]
    for key in keys:
        if key in overrides:
            fields = dict(overrides[key][1])
            if isinstance(message := fields.get("message"), Mapping):
                fields["message"] = TextByLanguage(message, meaning.message)
            if "message" in fields:
                fields["waiting"] = ""
            if "kind" in fields:
                row = KINDS[fields["kind"]]
                # The title of the row belongs to its kind.
                own = {"title": "", "is_cancel": False}
                fields = {"status": row.status, "action": row.action, **own, **fields}
            meaning = meaning._replace(**fields)
    if meaning.kind is Kind.UPSTREAM and meaning.status == DEFAULT_UPSTREAM_STATUS:
        meaning = meaning._replace(status=conf.CIAM_UPSTREAM_STATUS)
    return meaning


def _has_project_message(*folded_codes: str) -> bool:
    """Return True if a code has a message in the settings, and no explicit ``collapse`` hides it.

    The ``collapse`` of a family hides the message, too.
    """

    def fields_of(key: str) -> Mapping[str, Any]:
        return _overrides().get(key, ("", {}))[1]

    return any("message" in fields_of(code) for code in folded_codes) and not any(
        fields_of(key).get("collapse")
        for code in folded_codes
        for key in (code, *_families_of(code))
    )


def _is_for_developers(keys: Iterable[str]) -> bool:
    """Return True if the last of these keys whose override has an ``audience`` is for developers.

    Without such an override the result is False: the table's texts for developers' rows are general
    sentences, and a text of the project is for users.
    """
    fields = (_overrides().get(key, ("", {}))[1] for key in keys)
    audiences = [each["audience"] for each in fields if "audience" in each]
    return audiences[-1:] == [Audience.DEVELOPER]


def _families_of(folded: str) -> Iterator[str]:
    """Yield the families of a code: ``a.b.*``, ``a.*``, ``*.b.c`` and ``*.c`` for ``a.b.c``."""
    if folded.endswith(".*") or folded.startswith("*."):
        return
    parts = folded.split(".")
    for length in range(len(parts) - 1, 0, -1):
        yield ".".join([*parts[:length], "*"])
    for start in range(1, len(parts)):
        yield ".".join(["*", *parts[start:]])


def _meaning_with_derived_field(meaning: Meaning, code: str) -> Meaning:
    if meaning.field or meaning.kind is Kind.CONFIGURATION or code[:7].casefold() != "params.":
        return meaning
    return meaning._replace(field=_field_in(code))


def _field_in(code: str) -> str | None:
    """Return the field of an unpublished ``Params.*`` code: the end of the code in snake case."""
    parts = code.split(".")[2:]
    if len(parts) > 1 and parts[0].casefold() in _OWNERS:
        parts = parts[1:]
    name = _CAMEL.sub("_", "_".join(parts)).lower()
    return name if FIELD.fullmatch(name) else None


@functools.cache
def _keys_by_folded_code() -> Mapping[str, str]:
    return {key.casefold(): key for key in CODES}


@functools.cache
def _aliases() -> Mapping[str, str]:
    return {alias.casefold(): key.casefold() for alias, key in ALIASES.items()}


@cached_until_settings_change("CIAM_ERROR_OVERRIDES")
def _overrides() -> Mapping[str, tuple[str, Mapping[str, Any]]]:
    """Return folded key -> the key as the project wrote it, and the fields that it replaces."""
    # The value of the project may have another type than the declared type.
    setting: Any = conf.CIAM_ERROR_OVERRIDES
    items = setting.items() if isinstance(setting, Mapping) else ()
    return {
        key.casefold(): (key, _valid_fields(value)) for key, value in items if isinstance(key, str)
    }


def _valid_fields(value: Any) -> Mapping[str, Any]:
    """Return the fields with an allowed name and value.

    ``manage.py check`` reports the other fields. A mistake in the settings must not raise an
    exception at each failed sign-in. A ``collapse`` with a wrong value still hides the row.
    """
    fields = value if isinstance(value, Mapping) else {"message": value}
    if not OVERRIDABLE_FIELDS["collapse"].is_allowed(fields.get("collapse")):
        fields = {**fields, "collapse": Collapse.SIGN_IN}
    return {
        name: OVERRIDABLE_FIELDS[name].convert(field)
        for name, field in fields.items()
        if name in OVERRIDABLE_FIELDS and OVERRIDABLE_FIELDS[name].is_allowed(field)
    }


def _unchanged(value: Any) -> Any:
    return value


class OverridableField(NamedTuple):
    """A field that ``CIAM_ERROR_OVERRIDES`` can replace, and the values that are allowed there.

    ``allowed_text`` describes the allowed values; ``convert`` makes the row's value from the value
    of the setting.
    """

    is_allowed: Callable[[Any], bool]
    allowed_text: str
    convert: Callable[[Any], Any] = _unchanged


def _is_text(value: object) -> bool:
    return isinstance(value, str | Promise) and bool(value)


def _is_message(value: object) -> bool:
    if isinstance(value, Mapping):
        return bool(value) and all(
            isinstance(name, str) and _LANGUAGE.fullmatch(name) and _is_text(text)
            for name, text in value.items()
        )
    return _is_text(value)


def _choice_field(choices: Iterable[enum.StrEnum], *, or_none: bool = False) -> OverridableField:
    by_value: dict[object, enum.StrEnum | None] = {str(choice): choice for choice in choices}
    words = f"one of: {', '.join(map(str, by_value))}"
    if or_none:
        by_value[None] = None
        words = f"None or {words}"
    return OverridableField(
        lambda value: isinstance(value, str | None) and value in by_value,
        words,
        by_value.__getitem__,
    )


OVERRIDABLE_FIELDS: Final[dict[str, OverridableField]] = {
    "message": OverridableField(
        _is_message, "a text, or texts by language code ({'zh-hans': '…'})"
    ),
    "status": OverridableField(
        lambda value: isinstance(value, int) and 400 <= value <= 599,
        "an HTTP status from 400 to 599",
    ),
    "kind": _choice_field(kind for kind in Kind if kind is not Kind.SUCCESS),
    "action": _choice_field(Action),
    "field": OverridableField(
        lambda value: value is None or (isinstance(value, str) and bool(FIELD.fullmatch(value))),
        "None or up to 40 letters a to z and _",
    ),
    "audience": _choice_field(Audience),
    "retry": OverridableField(lambda value: isinstance(value, bool), "True or False"),
    "collapse": _choice_field(Collapse, or_none=True),
}


class TextByLanguage(Promise):
    """A lazy text of the project: a dict of language code -> text.

    ``str()`` returns the text in the active language or in a fallback of the language, else the
    text in ``LANGUAGE_CODE``, else ``default``.
    """

    def __init__(self, texts: Mapping[str, Any], default: Any) -> None:
        self._texts = {name.lower(): text for name, text in texts.items()}
        self.default = default

    def __str__(self) -> str:
        match = self.match(get_language() or settings.LANGUAGE_CODE)
        return match.text if match else str(self.default)

    def match(self, language: str) -> MatchedText | None:
        """Return the text for users of a language; None if the text is ``default``."""
        for wanted_language in (language, settings.LANGUAGE_CODE):
            for name in similar_languages(wanted_language):
                if name in self._texts:
                    with override(name):
                        return MatchedText(str(self._texts[name]), name, wanted_language)
        return None


class MatchedText(NamedTuple):
    """A text of the project in ``language``, for users of ``wanted_language``."""

    text: str
    language: str
    wanted_language: str


def matched_text(value: Any, language: str) -> MatchedText | None:
    """Return the text of a setting for users of a language, or None if there is no text.

    The value is a text, a lazy text, or a dict of language code -> text.
    """
    if isinstance(value, Mapping):
        return TextByLanguage(value, "").match(language)
    with override(language):
        return MatchedText(str(value), language, language) if value else None
