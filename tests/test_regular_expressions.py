"""Each regular expression that meets foreign text is fast, also with 64 KB of the worst text."""

from __future__ import annotations

import ast
import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.test import RequestFactory

from ciam_django import errors, events, lookup, network, privacy, responses
from ciam_django.accounts import bearer, login
from ciam_django.client import envelope
from ciam_django.client import results as client_results
from ciam_django.client.person import Person
from ciam_django.error_table import differences, log_files
from ciam_django.login import api, captcha, hints, names, providers, redirects, social
from ciam_django.login.steps import forms, results

PACKAGE: Final = Path(__file__).parents[1] / "ciam_django"
_LENGTH: Final = 64 * 1024
# Seconds of CPU time.
_LONGEST: Final = 0.02


def _request(user_agent: str) -> HttpRequest:
    return RequestFactory().get("/", headers={"User-Agent": user_agent})


def _find_app(user_agent: str) -> object:
    return hints._in_app().search(hints.user_agent(_request(user_agent)))


def _find_browser(user_agent: str) -> object:
    return providers.browser_type(_request(user_agent))


def _find_own_app(user_agent: str) -> object:
    agent = hints.user_agent(_request(user_agent))
    return [providers._is_own_app(row, agent) for row in providers.PROVIDERS.values()]


def _check_content_type(text: str) -> object:
    request: Any = SimpleNamespace(content_type=f"application/{text}")
    with contextlib.suppress(errors.CiamError):
        api._refuse_other_content_types(request)
    return None


def _clean_code(text: str) -> object:
    with contextlib.suppress(ValidationError):
        return forms.CodeField(max_length=None).to_python(text)
    return None


def _find_view(text: str) -> object:
    return redirects.safe_next(RequestFactory().get("/"), f"/{text[: redirects._LONGEST - 1]}")


def _find_script_of_name(text: str) -> object:
    claims = names.cleaned_name({"given_name": text})
    return names.with_told_name(Person("issuer", "subject"), claims)


# Pattern -> a function that applies the pattern to a text as the package does, with the same limit
# of the text's length. All patterns of the package are here.
PATTERNS: Final[dict[str, Callable[[str], object]]] = {
    "accounts.bearer._HEADER": bearer._HEADER.fullmatch,
    "accounts.login._NO_TABLE": login._NO_TABLE.search,
    "client.envelope.LIFETIME": envelope.LIFETIME.fullmatch,
    "errors.REQUEST_ID": errors.REQUEST_ID.fullmatch,
    "errors._wechat_code_in": lambda text: errors.error_from_body({"errcode": text}),
    "errors._LEADING_CODE": errors.code_in,
    "events.traceparent": events.traceparent().fullmatch,
    "errors._SECRET_LIKE": errors.code_in,
    "login.api._is_trusted": api._is_trusted,
    "login.api._refuse_other_content_types": _check_content_type,
    "login.captcha._FORM_ID": captcha._FORM_ID.fullmatch,
    "login.hints._in_app": _find_app,
    "login.names._east_asian": _find_script_of_name,
    "login.providers._IN_WECHAT": _find_browser,
    "login.providers._NOT_WECHAT": _find_browser,
    "login.providers._PHONE": _find_browser,
    "login.providers._is_own_app": _find_own_app,
    "login.social._POSTED_CODE": social._POSTED_CODE.fullmatch,
    "login.social._POSTED_STATE": social._POSTED_STATE.fullmatch,
    "login.steps.forms._DIGIT_RUN": _clean_code,
    "ways_out._ESCAPED_DOT": _find_view,
    "ways_out.ciam_view_name": _find_view,
    # A page has the typed texts of the user.
    "responses._link_tag": responses._link_tag().findall,
    "login.steps.forms._grouped_code": _clean_code,
    # The lines of a log, and a list of codes from CIAM's page.
    "error_table.differences._CODE": differences._CODE.fullmatch,
    "error_table.log_files._VALUE": log_files._VALUE.fullmatch,
    # The language of a text that CIAM sends.
    "client.results._LANGUAGE": client_results._LANGUAGE.fullmatch,
    "login.steps.results._MASKED_RECIPIENT": results._MASKED_RECIPIENT.fullmatch,
    "login.steps.results._OPTION": results._OPTION.fullmatch,
    "lookup.FIELD": lookup.FIELD.fullmatch,
    "lookup._CAMEL": lambda text: lookup.meaning_of(f"Params.Illegal.{errors.code_in(text)}"),
    "network._WITH_PORT": lambda text: network._WITH_PORT.fullmatch(text[: network._MAX_LENGTH]),
    "privacy._CONTACT_NUMBER": privacy.masked_contact,
    "privacy.control_characters": privacy.own_text,
    "privacy._NOT_LOGGABLE": privacy.loggable_code,
    "privacy._plain_url": privacy.loggable_url,
    "privacy._redactions": privacy.redacted_text,
}
# Patterns for texts of the project's own settings and code, or of tests.
PATTERNS_FOR_OWN_TEXTS: Final = {
    "checks.client._PLACEHOLDER",
    "checks.client._PLACEHOLDER_HOST",
    "checks.client._PLACEHOLDER_IN_URL",
    "checks.client._shown",
    "checks.client._without_secrets",
    "checks.settings._HOST_SOURCE",
    "checks.settings._OVERRIDE_KEY",
    "conf.rate_format",
    "drf.openapi_endpoints._identifier",
    "drf.scopes._SCOPE",
    "error_table.explanations._CODE",
    "lookup._LANGUAGE",
    "testing.server._FORM_ACTION",
    "testing.server._HIDDEN_INPUT",
}

# Each text is a start, then a part that is repeated up to 64 KB, then an end that does not match.
_STARTS: Final = ("", 'a"', "Bearer ")
_PARTS: Final = (
    "a", "A1", "é", "密", " ", " a", "\n", "\x00", ".", "a.", "_", "-", "=", "/", ":", "@", "a@",
    "\"", "(", "+1", "*", "eyJ", "eyJ.", "https://", "code", "code=", "token: '", "密码", "(iPhone",
    "; wv", "MicroMessenger", " Safari/", "1(", "12 ", "Aa", "Bearer ", "<link ",
)  # fmt: skip


def _worst_texts() -> Iterator[str]:
    for start, part in itertools.product(_STARTS, _PARTS):
        yield start + (part * (_LENGTH // len(part)))[: _LENGTH - len(start) - 1] + "!"


def _cpu_seconds(apply: Callable[[str], object], text: str) -> float:
    """Return the CPU time of a call, the shortest of ten if the first takes long."""
    shortest = _LONGEST
    for _ in range(10):
        began = time.thread_time()
        apply(text)
        shortest = min(shortest, time.thread_time() - began)
        if shortest < _LONGEST:
            break
    return shortest


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_takes_little_time_for_the_worst_text(name: str) -> None:
    slow = [
        f"{text[:20]!r}...{text[-20:]!r}"
        for text in _worst_texts()
        if _cpu_seconds(PATTERNS[name], text) >= _LONGEST
    ]

    assert slow == []


@pytest.mark.slow("the source code of all modules")
def test_the_tables_have_all_patterns_of_the_package() -> None:
    found = {name for path in PACKAGE.rglob("*.py") for name in patterns_in(path)}

    assert found == PATTERNS.keys() | PATTERNS_FOR_OWN_TEXTS


def patterns_in(path: Path) -> Iterator[str]:
    """Yield the name of each constant, function or class of a module that has patterns."""
    module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        for node in ast.walk(statement):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name("re"))):
                    yield f"{module}.{_name_of(statement)}"


def _name_of(statement: ast.stmt) -> str:
    match statement:
        case ast.AnnAssign(target=ast.Name(name)) | ast.Assign(targets=[ast.Name(name)]):
            return name
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return name
    return f"line {statement.lineno}"
