"""Describe the answers as OpenAPI: the component of the body, and the responses that use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.conf import settings
from django.urls import get_script_prefix, get_urlconf
from django.utils.translation import override

from ciam_django.answers import BODY_MEMBERS, Answer, example_answer, possible_answers
from ciam_django.conf import SETTINGS, cached_until_settings_change
from ciam_django.languages import similar_language_with_texts

PROBLEM: Final = "CiamProblem"
_MEDIA_TYPES: Final = ("application/json", "application/problem+json")

# Our part of a document depends on these settings: on all of the package, and on Django's.
SETTINGS_OF_DOCUMENT: Final = (
    *SETTINGS,
    "AUTHLIB_OAUTH_CLIENTS",
    "INSTALLED_APPS",
    "LANGUAGES",
    "LANGUAGE_CODE",
    "LOCALE_PATHS",
    "LOGIN_URL",
)
# The most instructive code of each status.
_EXAMPLE_CODES: Final = (
    "Operation.Failure.SMS.Code.Error",
    "Operation.Failure.Username.Or.Password.Error",
    "Operation.Failure.User.Locked",
    "Operation.Failure.Send.SMS.Too.Frequency",
    "bad_configuration",
    "timeout",
)
_TEXT: Final[Mapping[str, Any]] = {"type": "string"}
_MEMBER_SCHEMAS: Final[Mapping[str, Mapping[str, Any]]] = {
    "type": {**_TEXT, "description": "A URI that identifies the kind or the code, or about:blank."},
    "title": {**_TEXT, "description": "The title of the kind, in the language of the request."},
    "status": {"type": "integer", "description": "The HTTP status."},
    "detail": {**_TEXT, "description": "A sentence for the user, in the request's language."},
    "code": {**_TEXT, "description": "A stable code of the failure, for programs."},
    "kind": {**_TEXT, "description": "The kind of the failure."},
    "field": {**_TEXT, "nullable": True, "description": "The input field with the failure."},
    "action": {**_TEXT, "description": "The next action of the user."},
    "action_url": {**_TEXT, "nullable": True, "description": "The URL of the action."},
    "retry_after": {"type": "integer", "nullable": True, "description": "The seconds to wait."},
    "request_id": {**_TEXT, "description": "An id to quote to support. The log line has it, too."},
}
_HEADER_DESCRIPTIONS: Final[Mapping[str, str]] = {
    "Ciam-Error-Code": "The `code` of the body.",
    "Ciam-Request-Id": "The `request_id` of the body.",
    "Content-Language": "The language of `detail`.",
    "WWW-Authenticate": "The challenge (RFC 6750, 3).",
    "Retry-After": "The seconds to wait.",
}


def answer_statuses() -> list[int]:
    """Return all statuses that an answer can have; CIAM may answer any call with any code."""
    return list(_statuses(get_urlconf(), get_script_prefix()))


def problem_component() -> dict[str, Any]:
    """Return the schema of the body (RFC 9457), with all possible codes, kinds and actions.

    ``code`` also allows other texts, because a later version of this package has more codes.
    """
    answers = _english_answers(get_urlconf(), get_script_prefix()).values()
    members = {name: dict(_MEMBER_SCHEMAS[name]) for name in BODY_MEMBERS}
    for name in ("code", "kind", "action"):
        members[name]["enum"] = list(dict.fromkeys(getattr(answer, name) for answer in answers))
    members["code"]["anyOf"] = [{**_TEXT, "enum": members["code"].pop("enum")}, _TEXT]
    return {"type": "object", "properties": members, "required": list(BODY_MEMBERS)}


def problem_responses() -> dict[str, Any]:
    """Return a response for each status, by name, with an example in every language."""
    return {f"{PROBLEM}{status}": _response_of(status) for status in answer_statuses()}


def response_reference(status: int) -> dict[str, str]:
    """Return a reference to the document's response for a status."""
    return {"$ref": f"#/components/responses/{PROBLEM}{status}"}


@cached_until_settings_change(*SETTINGS_OF_DOCUMENT)
def _english_answers(urlconf: Any, prefix: str) -> Mapping[str, Answer]:
    """Return the answers, which depend on the arguments and on the settings."""
    with override("en"):
        return possible_answers()


@cached_until_settings_change(*SETTINGS_OF_DOCUMENT)
def _statuses(urlconf: Any, prefix: str) -> Sequence[int]:
    return sorted({answer.status for answer in _english_answers(urlconf, prefix).values()})


def _response_of(status: int) -> dict[str, Any]:
    answers = _english_answers(get_urlconf(), get_script_prefix())
    preferred = [answers[code] for code in _EXAMPLE_CODES if code in answers]
    candidates = (*preferred, *answers.values())
    english = next(answer for answer in candidates if answer.status == status)
    examples = {}
    for language in _translated_languages():
        with override(language):
            answer = example_answer(english.code)
            # drf-spectacular and validators accept JSON's types only, no lazy texts.
            value = {name: _json_value(value) for name, value in answer.as_dict().items()}
        examples[language] = {"summary": answer.title, "value": value}
    schema = {"$ref": f"#/components/schemas/{PROBLEM}"}
    content = {"schema": schema, "examples": examples}
    return {
        "description": f"{english.title}.",
        "headers": {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in _HEADER_DESCRIPTIONS.items()
            if name in english.headers
        },
        "content": dict.fromkeys(_MEDIA_TYPES, content),
    }


def _json_value(value: object) -> object:
    return value if value is None or isinstance(value, int) else str(value)


def _translated_languages() -> list[str]:
    """Return the project's languages for which we have texts, or English."""
    translated = [code for code, _ in settings.LANGUAGES if similar_language_with_texts(code)]
    return translated or ["en"]
