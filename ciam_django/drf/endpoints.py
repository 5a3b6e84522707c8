"""Our JSON endpoints as OpenAPI: plain Django views, which no generator sees by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from django.forms import Field
from django.urls import NoReverseMatch, reverse
from django.utils.translation import override

from ciam_django.conf import conf
from ciam_django.drf.problems import reference_to, statuses
from ciam_django.login.api import is_offered
from ciam_django.login.steps.flow import Flow
from ciam_django.login.steps.forms import PROFILE
from ciam_django.login.steps.table import STEPS, Step

TAG: Final = "sign-in"
# Of a form's own header, where a session comes of it.
CSRF: Final = "CiamCsrfToken"

_TEXT: Final[Mapping[str, Any]] = {"type": "string"}
_TEXT_OR_NONE: Final[Mapping[str, Any]] = {"type": "string", "nullable": True}
_NUMBER_OR_NONE: Final[Mapping[str, Any]] = {"type": "integer", "nullable": True}
_TEXTS: Final[Mapping[str, Any]] = {"type": "array", "items": _TEXT}


def _object(**members: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(members), "required": list(members)}


def _list_of(**members: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": _object(**members)}


def _constant(value: str) -> dict[str, Any]:
    return {"type": "string", "enum": [value]}


def _tokens() -> dict[str, Mapping[str, Any]]:
    """RFC 6749, 5.1."""
    return {
        "access_token": _TEXT,
        "token_type": _constant("Bearer"),
        "expires_in": _NUMBER_OR_NONE,
        "refresh_token": _TEXT_OR_NONE,
    }


# --- What our endpoints take and give -----------------------------------------------------------


def components() -> dict[str, Any]:
    """Name -> schema of what our endpoints give."""
    gives_tokens = conf.CIAM_API_SIGN_IN == "token"
    session = {"next": _TEXT, "csrf_token": _TEXT}
    offered = {
        "methods": _TEXTS,
        "providers": _list_of(name=_TEXT, label=_TEXT, url=_TEXT),
        "consents": _list_of(
            id=_TEXT, name=_TEXT, url=_TEXT_OR_NONE, is_required={"type": "boolean"}
        ),
        "captcha_for_codes": {"type": "boolean"},
    }
    return {
        "CiamOffered": _object(**offered, **({} if gives_tokens else {"csrf_token": _TEXT})),
        "CiamCaptcha": _object(captcha_id=_TEXT, image=_TEXT),
        "CiamSignedIn": _object(
            status=_constant("signed_in"), **(_tokens() if gives_tokens else session)
        ),
        "CiamStep": _object(
            status=_constant("step"),
            step={"type": "string", "enum": list(STEPS)},
            flow=_TEXT,
            title=_TEXT,
            fields=_list_of(name=_TEXT, label=_TEXT),
            channels={"type": "object", "nullable": True, "additionalProperties": _TEXT},
            others=_TEXTS,
            sent_to=_TEXT_OR_NONE,
            wait=_NUMBER_OR_NONE,
        ),
        "CiamDone": _object(status=_constant("done"), detail=_TEXT),
        **({"CiamTokens": _object(**_tokens())} if gives_tokens else {}),
    }


def paths() -> dict[str, Any]:
    """Path -> its operations; none where the project does not include ``ciam_django.urls``."""
    try:
        return dict(_paths())
    except NoReverseMatch:
        return {}


def _paths() -> Iterator[tuple[str, dict[str, Any]]]:
    gives_tokens = conf.CIAM_API_SIGN_IN == "token"
    # Without CIAM's answer it offers what the settings do.
    offered = _operation("offered", "What there is to sign in with", "CiamOffered", refuses=[500])
    yield reverse("ciam:api"), {"get": offered}
    yield (
        reverse("ciam:api_captcha"),
        {"get": _operation("captcha", "A picture, and its id", "CiamCaptcha")},
    )
    for name, row in STEPS.items():
        if is_offered(name):
            operation = _operation(name, _summary(row), "CiamStep", "CiamSignedIn", "CiamDone")
            operation["requestBody"] = _body(_asked(name, row))
            if not gives_tokens:
                operation["security"] = [{CSRF: []}]
            yield reverse("ciam:api_step", args=[name]), {"post": operation}
    if gives_tokens:
        operation = _operation("renew", "New tokens for a refresh token", "CiamTokens")
        operation["requestBody"] = _body(_object(refresh_token={**_TEXT, "minLength": 1}))
        yield reverse("ciam:api_renew"), {"post": operation}


def _operation(name: str, summary: str, *gives: str, refuses: Sequence[int] = ()) -> dict[str, Any]:
    schemas = [{"$ref": f"#/components/schemas/{each}"} for each in gives]
    schema: dict[str, Any] = {"oneOf": schemas} if len(schemas) > 1 else schemas[0]
    # What CIAM is asked it may answer with any code.
    refused = {str(status): reference_to(status) for status in refuses or statuses()}
    return {
        "operationId": f"ciam_{name}",
        "summary": summary,
        "tags": [TAG],
        "responses": {
            "200": {"description": "", "content": {"application/json": {"schema": schema}}},
            **refused,
        },
    }


def _summary(row: Step) -> str:
    """The page's words, in English."""
    with override("en"):
        return str(row.title)


def _body(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _asked(name: str, row: Step) -> dict[str, Any]:
    """The fields of the step's form, and what goes along with every step."""
    form = row.form(None, flow=Flow(name, "", more={"asked": list(PROFILE)}), has_captcha=True)
    members = {each: _member(field) for each, field in form.fields.items()}
    members |= {"captcha_id": dict(_TEXT), "next": dict(_TEXT), "consent": dict(_TEXTS)}
    # Of a profile CIAM says what it wants; a picture is asked for now and then.
    required = [
        each
        for each, field in form.fields.items()
        if field.required and each != "captcha" and name != "profile"
    ]
    begins = [] if row.begins else ["flow"]
    if begins:
        members["flow"] = {**_TEXT, "minLength": 1}
    schema: dict[str, Any] = {"type": "object", "properties": members}
    if row.others:
        # Another button needs nothing of the form.
        members["do"] = {"type": "string", "enum": list(row.others)}
        schema["anyOf"] = [{"required": [*begins, *required]}, {"required": [*begins, "do"]}]
    else:
        schema["required"] = [*begins, *required]
    return schema


def _member(field: Field) -> dict[str, Any]:
    member = {
        "type": "string",
        "title": str(field.label or ""),
        "maxLength": getattr(field, "max_length", None),
        "minLength": int(field.required) or None,
    }
    return {name: value for name, value in member.items() if value}
