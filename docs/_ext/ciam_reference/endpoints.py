"""The reference of the URLs and of the JSON endpoints."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from django.urls import reverse
from django.utils.translation import override

import ciam_django.urls
from ciam_django.codes import CODES
from ciam_django.drf.openapi_endpoints import endpoint_components, endpoint_paths
from ciam_django.login.steps.flow import Flow
from ciam_django.login.steps.forms import CODES_OF_FIELDS, PROFILE_FIELDS
from ciam_django.login.steps.table import STEPS, Step
from ciam_django.lookup import matched_row
from ciam_reference.codes import file_name
from ciam_reference.markdown import escaped, literal, literals, page, table
from ciam_reference.site import example_settings
from ciam_reference.sources import calls_in, first_sentence, name_of

_MODULE: Final = "ciam_django.login.api"
_COMPONENT: Final = "#/components/schemas/"
# The values of CIAM_API_SIGN_IN.
_RESULTS: Final = ("session", "token")
# Members that are no fields of a form.
_EXTRA_MEMBERS: Final[Mapping[str, str]] = {
    "flow": "The `flow` of the last response",
    "next": "The URL after the sign-in or the sign-out",
    "do": "The name of another button of the step",
    "captcha_id": "The id of the CAPTCHA whose characters are in `captcha`",
    "consent": "The ids of the terms that the user agrees to",
    "code_verifier": "The verifier of the code (PKCE), if the `proofs` name it",
    "nonce": "The nonce of the code, if the `proofs` name it",
    "given_name": "The first name of a new user, if the provider tells it",
    "family_name": "The last name of a new user, if the provider tells it",
    "link": "`1` adds the identity to the signed-in user",
    "identity": "The primary key of the identity",
    "refresh_token": "The last refresh token",
}
# Members that each step accepts.
_COMMON_MEMBERS: Final = ("captcha", "captcha_id", "consent", "next")


def urls_reference() -> str:
    """Return the table of the URL patterns."""
    with example_settings(), override("en"):
        return table(
            ["name", "URL", "view"],
            (
                [
                    literal(f"ciam:{pattern.name}"),
                    literal(f"…/{pattern.pattern}"),
                    first_sentence(pattern.callback.__doc__ or ""),
                ]
                for pattern in ciam_django.urls.urlpatterns
            ),
        )


def endpoints_reference() -> str:
    """Return a section for each JSON endpoint, its responses and its errors."""
    with example_settings(), override("en"):
        return page(
            "## Endpoints",
            "Each step also accepts these members:",
            _request_table(_COMMON_MEMBERS, *_step_request("password")),
            *(_endpoint_section(*endpoint) for endpoint in endpoints()),
            "## Responses",
            *(_component_section(name) for name in components()),
            "## Errors of the endpoints",
            "Each endpoint can also answer with the codes that CIAM sends for its call: see "
            "[all codes](../codes/index.md). These codes are of the endpoints themselves:",
            _errors_table(),
        )


def endpoints() -> list[tuple[str, str, dict[str, Any]]]:
    """Return method, path and OpenAPI operation of each endpoint, for a sign-in of each result."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for paths in _paths_by_result().values():
        for path, methods in paths.items():
            for method, operation in methods.items():
                found.setdefault((method.upper(), path), operation)
    return [(method, path, operation) for (method, path), operation in found.items()]


@functools.cache
def _paths_by_result() -> Mapping[str, Mapping[str, Any]]:
    """Return value of ``CIAM_API_SIGN_IN`` -> OpenAPI paths."""
    found = {}
    for result in _RESULTS:
        with example_settings(CIAM_API_SIGN_IN=result):
            found[result] = endpoint_paths()
    return found


def components() -> dict[str, dict[str, Mapping[str, Any]]]:
    """Return schema -> value of ``CIAM_API_SIGN_IN`` -> members."""
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for result in _RESULTS:
        with example_settings(CIAM_API_SIGN_IN=result):
            for name, schema in endpoint_components().items():
                found.setdefault(name, {})[result] = schema["properties"]
    return found


# --- An endpoint ------------------------------------------------------------------------------


def _endpoint_section(method: str, path: str, operation: Mapping[str, Any]) -> str:
    step = _step_at(path)
    summary = escaped(operation["summary"])
    return page(
        f"### {literal(f'{method} {path}')}",
        f"{summary}{'' if summary.endswith('?') else '.'} {_step_sentences(step)}",
        _result_sentence(path),
        operation.get("description", ""),
        _request_section(operation, step),
        f"Responses: {', '.join(map(_component_link, _component_names(operation)))}.",
    )


def _step_at(path: str) -> Step | None:
    return next(
        (row for name, row in STEPS.items() if path == reverse("ciam:api_step", args=[name])), None
    )


def _step_sentences(step: Step | None) -> str:
    if step is None:
        return ""
    sentences = ["Starts a flow." if step.starts_flow else "Continues a flow."]
    if step.sends_code:
        sentences.append("Sends a code.")
    return " ".join(sentences)


def _result_sentence(path: str) -> str:
    """Return a sentence if only one value of ``CIAM_API_SIGN_IN`` has this endpoint."""
    results = [result for result, paths in _paths_by_result().items() if path in paths]
    return f"Only if `CIAM_API_SIGN_IN` is {literals(results)}." if len(results) == 1 else ""


def _request_section(operation: Mapping[str, Any], step: Step | None) -> str:
    content = operation.get("requestBody", {}).get("content", {})
    if not content:
        return ""
    ((media_type, body),) = content.items()
    common = _COMMON_MEMBERS if step else ()
    names = [name for name in body["schema"]["properties"] if name not in common]
    return page(
        f"Request body ({literal(media_type)}):", _request_table(names, body["schema"], step)
    )


def _step_request(name: str) -> tuple[Mapping[str, Any], Step]:
    """Return the schema of the request of a step, and the step."""
    operation = _paths_by_result()["session"][reverse("ciam:api_step", args=[name])]["post"]
    return operation["requestBody"]["content"]["application/json"]["schema"], STEPS[name]


def _request_table(names: Iterable[str], schema: Mapping[str, Any], step: Step | None) -> str:
    required = schema.get("required", schema.get("anyOf", [{}])[0].get("required", ()))
    rows = [
        [
            literal(name),
            _type_of(schema["properties"][name]) + (", required" if name in required else ""),
            _member_meaning(name, schema["properties"][name]),
            *([_codes_of_member(name, step)] if step else ()),
        ]
        for name in names
    ]
    errors = ["errors: blank, not valid"] if step else []
    return table(["member", "type", "meaning", *errors], rows)


def _member_meaning(name: str, member: Mapping[str, Any]) -> str:
    return _EXTRA_MEMBERS.get(name) or escaped(str(member.get("title", ""))) or "–"


def _codes_of_member(name: str, step: Step) -> str:
    """Return links to the code of a blank value and the code of a value that is not valid."""
    # A field of the form can stand for several fields of the table of codes.
    flow = Flow("", "", step_data={"asked": list(PROFILE_FIELDS)})
    aliases = step.form(None, flow=flow).field_aliases
    keys = [key for key, alias in aliases.items() if alias == name] or [name]
    codes = dict.fromkeys(code for key in keys for code in CODES_OF_FIELDS.get(key, ()))
    return ", ".join(map(_code_link, codes)) or "–"


def _code_link(code: str) -> str:
    """Return a link to the page of the code, or of its family."""
    return f"[{literal(code)}](<../codes/{file_name(matched_row(code).key)}.md>)"


def _component_names(operation: Mapping[str, Any]) -> Iterator[str]:
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    for each in schema.get("oneOf", [schema]):
        yield each["$ref"].removeprefix(_COMPONENT)


# --- Responses and errors ---------------------------------------------------------------------


def _component_section(name: str) -> str:
    variants = components()[name]
    members = {member: schema for each in variants.values() for member, schema in each.items()}
    rows = [
        [literal(member), _type_of(schema), _variant_of(member, variants)]
        for member, schema in members.items()
    ]
    return page(
        f"(response-{name.lower()})=\n### {literal(name)}",
        table(["member", "type", "with `CIAM_API_SIGN_IN`"], rows),
    )


def _variant_of(member: str, variants: Mapping[str, Mapping[str, Any]]) -> str:
    results = [result for result, members in variants.items() if member in members]
    return literals(results) if len(results) < len(_RESULTS) else "each value"


def _component_link(name: str) -> str:
    return f"[{literal(name)}](#response-{name.lower()})"


def _type_of(schema: Mapping[str, Any]) -> str:
    if names := schema.get("enum"):
        return literals(names)
    name = str(schema["type"])
    if name == "array":
        items = schema["items"]
        name = f"list of {literals(items['properties'])}" if "properties" in items else "list"
    return f"{name} or null" if schema.get("nullable") else name


def _errors_table() -> str:
    found: dict[str, list[str]] = {}
    for call in calls_in(_MODULE):
        is_error = name_of(call.node.func) == "CiamError"
        code = call.text(call.argument(0, "code")) if is_error else ""
        if code in CODES:
            texts = found.setdefault(code, [])
            texts += [text for text in _upstream_texts(call.node) if text not in texts]
    return table(
        ["code", "status", "in the log line (`upstream_text`)"],
        (
            [_code_link(code), str(CODES[code].status), "; ".join(map(literal, texts)) or "–"]
            for code, texts in found.items()
        ),
    )


def _upstream_texts(node: ast.Call) -> Iterator[str]:
    for keyword in node.keywords:
        match keyword:
            case ast.keyword(arg="upstream_text", value=ast.Constant(value=str(text))):
                yield text
