"""Describe our JSON endpoints as OpenAPI, because no generator finds plain Django views."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from django.forms import Field
from django.urls import NoReverseMatch, reverse
from django.utils.translation import override

from ciam_django.conf import conf
from ciam_django.drf.openapi_answers import answer_statuses, response_reference
from ciam_django.login.api import load_step_availability
from ciam_django.login.providers import registrations
from ciam_django.login.steps.flow import Flow
from ciam_django.login.steps.forms import PROFILE_FIELDS
from ciam_django.login.steps.table import NATIVE, STEPS, Step

TAG: Final = "sign-in"
# The scheme of the CSRF header. A step needs the header where it starts a session.
CSRF_SCHEME: Final = "CiamCsrfToken"
# The schemas of the responses of a step -> the `status` that tells them apart.
_STATUSES: Final[Mapping[str, str]] = {
    "CiamStep": "step",
    "CiamSignedIn": "signed_in",
    "CiamDone": "done",
}

_TEXT: Final[Mapping[str, Any]] = {"type": "string"}
_TEXT_OR_NONE: Final[Mapping[str, Any]] = {"type": "string", "nullable": True}
_NUMBER_OR_NONE: Final[Mapping[str, Any]] = {"type": "integer", "nullable": True}
_TEXTS: Final[Mapping[str, Any]] = {"type": "array", "items": _TEXT}
_FIELDS: Final[Mapping[str, Any]] = {
    "type": "array",
    "items": {"$ref": "#/components/schemas/CiamField"},
}


def _object_schema(**members: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(members), "required": list(members)}


def _list_schema(**members: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": _object_schema(**members)}


def _constant_schema(value: str) -> dict[str, Any]:
    return {"type": "string", "enum": [value]}


def _token_members() -> dict[str, Mapping[str, Any]]:
    """RFC 6749, 5.1."""
    return {
        "access_token": _TEXT,
        "token_type": _constant_schema("Bearer"),
        "expires_in": _NUMBER_OR_NONE,
        "refresh_token": _TEXT_OR_NONE,
    }


# --- Requests and responses of our endpoints ----------------------------------------------------


def endpoint_components() -> dict[str, Any]:
    """Return the schemas of our endpoints' responses, by name."""
    returns_tokens = conf.CIAM_API_SIGN_IN == "token"
    session = {"next": _TEXT, "csrf_token": _TEXT}
    offered = {
        "methods": _TEXTS,
        "steps": _list_schema(step=_TEXT, title=_TEXT, fields=_FIELDS),
        "providers": _list_schema(
            name=_TEXT,
            label=_TEXT,
            url=_TEXT,
            icon=_TEXT_OR_NONE,
            group={"type": "string", "enum": ["first", "mark", "other"]},
        ),
        "providers_elsewhere": _list_schema(
            name=_TEXT,
            label=_TEXT,
            icon=_TEXT_OR_NONE,
            open_in={"type": "string", "enum": ["wechat", "browser"]},
        ),
        "last_method": _TEXT_OR_NONE,
        "consents": _list_schema(
            id=_TEXT,
            name=_TEXT,
            lang=_TEXT_OR_NONE,
            url=_TEXT_OR_NONE,
            is_required={"type": "boolean"},
        ),
        "phone_regions": _list_schema(id=_TEXT, calling_code=_TEXT, name=_TEXT),
        "captcha_for_codes": {"type": "boolean"},
    }
    return {
        "CiamOffered": _object_schema(
            **offered, **({} if returns_tokens else {"csrf_token": _TEXT})
        ),
        "CiamField": _object_schema(
            name=_TEXT,
            label=_TEXT,
            type=_TEXT,
            required={"type": "boolean"},
            autocomplete=_TEXT_OR_NONE,
            inputmode=_TEXT_OR_NONE,
            maxlength=_NUMBER_OR_NONE,
            choices={**_list_schema(value=_TEXT, label=_TEXT), "nullable": True},
        ),
        "CiamCaptcha": _object_schema(captcha_id=_TEXT, image=_TEXT),
        "CiamSignedIn": _object_schema(
            status=_constant_schema("signed_in"),
            **(_token_members() if returns_tokens else session),
        ),
        "CiamStep": _object_schema(
            status=_constant_schema("step"),
            step={"type": "string", "enum": list(STEPS)},
            flow=_TEXT,
            title=_TEXT,
            fields=_FIELDS,
            channels={"type": "object", "nullable": True, "additionalProperties": _TEXT},
            others=_TEXTS,
            sent_to=_TEXT_OR_NONE,
            wait=_NUMBER_OR_NONE,
            identity=_TEXT_OR_NONE,
        ),
        "CiamRedirect": _object_schema(status=_constant_schema("redirect"), url=_TEXT),
        "CiamDone": _object_schema(status=_constant_schema("done"), detail=_TEXT),
        **({"CiamTokens": _object_schema(**_token_members())} if returns_tokens else {}),
    }


def load_available_steps() -> tuple[str, ...]:
    """Return the names of the steps that the project and CIAM's tenant offer."""
    return tuple(name for name in STEPS if load_step_availability(name))


def endpoint_paths() -> dict[str, Any]:
    """Return the operations of our endpoints, by path.

    The dict is empty where the project does not include ``ciam_django.urls``.
    """
    try:
        return dict(_endpoint_paths())
    except NoReverseMatch:
        return {}


def _endpoint_paths() -> Iterator[tuple[str, dict[str, Any]]]:
    returns_tokens = conf.CIAM_API_SIGN_IN == "token"
    # If CIAM fails, the endpoint answers from the settings, so 500 is its only failure.
    offered = _operation("offered", "List the login methods", "CiamOffered", failure_statuses=[500])
    yield reverse("ciam:api"), {"get": offered}
    yield (
        reverse("ciam:api_captcha"),
        {"get": _operation("captcha", "Get a CAPTCHA image and its id", "CiamCaptcha")},
    )
    for name in load_available_steps():
        operation = _step_operation(name, name, _english_title(STEPS[name]))
        yield reverse("ciam:api_step", args=[name]), {"post": operation}
    for name, registration in registrations().items():
        if registration.takes_native_codes:
            operation = _step_operation(
                NATIVE,
                f"native_{_identifier(name)}",
                f"Sign in with the code of an SDK, with {name}",
            )
            yield reverse("ciam:api_provider", args=[name]), {"post": operation}
    if returns_tokens:
        operation = _operation("renew", "Get new tokens for a refresh token", "CiamTokens")
        operation["requestBody"] = _request_body(
            _object_schema(refresh_token={**_TEXT, "minLength": 1})
        )
        yield reverse("ciam:api_renew"), {"post": operation}
    yield from _redirect_paths()


def _step_operation(step_name: str, name: str, summary: str) -> dict[str, Any]:
    returns_tokens = conf.CIAM_API_SIGN_IN == "token"
    operation = _operation(name, summary, "CiamStep", "CiamSignedIn", "CiamDone")
    operation["requestBody"] = _request_body(_step_schema(step_name, STEPS[step_name]))
    operation["security"] = [] if returns_tokens else [{CSRF_SCHEME: []}]
    return operation


def _identifier(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "_", name)


def _redirect_paths() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the operations that redirect a browser, and return the URL to a script.

    These views take forms, and start or need a session for each value of ``CIAM_API_SIGN_IN``.
    """
    begin = {"next": _TEXT, "link": _TEXT, "consent": _TEXTS}
    yield (
        reverse("ciam:authorize"),
        {"post": _redirect_operation("authorize", "Sign in on the page of CIAM", begin)},
    )
    for name, registration in registrations().items():
        if registration.provider.has_page:
            operation_name = f"with_{_identifier(name)}"
            operation = _redirect_operation(operation_name, f"Sign in with {name}", begin)
            yield reverse("ciam:provider", args=[name]), {"post": operation}
    yield (
        reverse("ciam:logout"),
        {"post": _redirect_operation("logout", "Sign out", {"next": _TEXT}, [403])},
    )
    yield (
        reverse("ciam:unlink"),
        {
            "post": _redirect_operation(
                "unlink",
                "Remove an identity of the signed-in user",
                {"identity": _TEXT, "next": _TEXT},
            )
        },
    )


def _redirect_operation(
    name: str, summary: str, members: Mapping[str, Any], failure_statuses: Sequence[int] = ()
) -> dict[str, Any]:
    operation = _operation(name, summary, "CiamRedirect", failure_statuses=failure_statuses)
    operation["security"] = [{CSRF_SCHEME: []}]
    operation["description"] = "Send `Accept: application/json` to get the URL as JSON."
    operation["responses"]["302"] = {"description": "The redirect of a client that prefers HTML."}
    schema = {"type": "object", "properties": dict(members)}
    operation["requestBody"] = {
        "content": {"application/x-www-form-urlencoded": {"schema": schema}}
    }
    return operation


def _operation(
    name: str, summary: str, *response_schemas: str, failure_statuses: Sequence[int] = ()
) -> dict[str, Any]:
    schemas = [{"$ref": f"#/components/schemas/{each}"} for each in response_schemas]
    schema: dict[str, Any] = schemas[0]
    if len(schemas) > 1:
        mapping = {_STATUSES[each]: schemas[i]["$ref"] for i, each in enumerate(response_schemas)}
        discriminator = {"propertyName": "status", "mapping": mapping}
        schema = {"oneOf": schemas, "discriminator": discriminator}
    # CIAM may answer any call with any code.
    failure_responses = {
        str(status): response_reference(status) for status in failure_statuses or answer_statuses()
    }
    return {
        "operationId": f"ciam_{name}",
        "summary": summary,
        "tags": [TAG],
        # Anyone may call the operation, whatever the project's other operations require.
        "security": [],
        "responses": {
            "200": {"description": "", "content": {"application/json": {"schema": schema}}},
            **failure_responses,
        },
    }


def _english_title(row: Step) -> str:
    with override("en"):
        return str(row.title)


def _request_body(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _step_schema(name: str, row: Step) -> dict[str, Any]:
    """Return the fields of the step's form and the members that every step accepts."""
    form = row.form(
        None, flow=Flow(name, "", step_data={"asked": list(PROFILE_FIELDS)}), has_captcha=True
    )
    members = {each: _field_schema(field) for each, field in form.fields.items()}
    members |= {"captcha_id": dict(_TEXT), "next": dict(_TEXT), "consent": dict(_TEXTS)}
    # CIAM decides which profile fields it needs, and when it needs a CAPTCHA.
    required = [
        each
        for each, field in form.fields.items()
        if field.required and each != "captcha" and name != "profile"
    ]
    flow_members = [] if row.starts_flow else ["flow"]
    if flow_members:
        members["flow"] = {**_TEXT, "minLength": 1}
    elif row.sends_code:
        # The flow of an earlier code to the same recipient.
        members["flow"] = dict(_TEXT)
    schema: dict[str, Any] = {"type": "object", "properties": members}
    if row.others:
        # The form's other buttons need none of its fields.
        members["do"] = {"type": "string", "enum": list(row.others)}
        schema["anyOf"] = [
            {"required": [*flow_members, *required]},
            {"required": [*flow_members, "do"]},
        ]
    else:
        schema["required"] = [*flow_members, *required]
    return schema


def _field_schema(field: Field) -> dict[str, Any]:
    member = {
        "type": "string",
        "title": str(field.label or ""),
        "maxLength": getattr(field, "max_length", None),
        "minLength": int(field.required) or None,
    }
    return {name: value for name, value in member.items() if value}
