"""drf-spectacular's document, with our answers and endpoints in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # drf-spectacular brings it, without types
import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import clear_script_prefix, include, path, set_script_prefix
from django.utils.translation import get_language
from drf_spectacular import generators, validation
from drf_spectacular import settings as theirs
from drf_spectacular.utils import extend_schema
from pytest_django.fixtures import Settings
from rest_framework.authentication import SessionAuthentication
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ciam_django import answers
from ciam_django.answers import BODY_MEMBERS, Answer, answer_to
from ciam_django.codes import CODES
from ciam_django.conf import clear_settings_caches
from ciam_django.drf import openapi_answers
from ciam_django.drf.authentication import CiamBearerAuthentication
from ciam_django.drf.permissions import HasScope
from ciam_django.errors import CiamError
from ciam_django.login.steps.table import STEPS
from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import PASSWORD
from tests.login.test_api import AGREED

# What has no types of its own.
Generator: Any = generators.SchemaGenerator
spectacular_settings: Any = theirs.spectacular_settings
validate: Any = validation.validate_schema

HOOKS = ["drf_spectacular.hooks.postprocess_schema_enums", "ciam_django.drf.schema.with_ciam"]
LOCKED = "Operation.Failure.User.Locked"


class OrdersView(APIView):
    """Orders."""

    authentication_classes = [CiamBearerAuthentication, SessionAuthentication]
    permission_classes = [HasScope]
    required_scopes = {"GET": ["orders.read", "orders.all"], "POST": []}

    @extend_schema(responses={200: None})
    def get(self, request: Request) -> Response:
        return Response()

    @extend_schema(description="", request=None, responses={200: None, 403: {"type": "string"}})
    def post(self, request: Request) -> Response:
        return Response()

    @extend_schema(exclude=True)
    def delete(self, request: Request) -> Response:
        return Response()


class PublicView(APIView):
    authentication_classes: list[Any] = []
    permission_classes: list[Any] = []

    @extend_schema(responses={200: None})
    def get(self, request: Request) -> Response:
        return Response()


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


views = [path("orders/", OrdersView.as_view()), path("public/", PublicView.as_view())]


class WithUrls:
    urlpatterns = [*views, path("", page), path("here/ciam/", include("ciam_django.urls"))]


class WithoutUrls:
    urlpatterns = views


def document(**patches: Any) -> dict[str, Any]:
    """The document of the project, with those of drf-spectacular's settings replaced."""
    spectacular_settings.apply_patches({"POSTPROCESSING_HOOKS": HOOKS, **patches})
    try:
        found: dict[str, Any] = Generator().get_schema(request=None, public=True)
    finally:
        spectacular_settings.clear_patches()
    return found


@pytest.fixture(params=["session", "token"])
def gives(request: pytest.FixtureRequest, settings: Settings) -> str:
    settings.ROOT_URLCONF = WithUrls
    settings.CIAM_API_SIGN_IN = request.param
    settings.CIAM_LOGIN_METHODS = ["password", "sms", "email", "recover", "sign_up"]
    settings.CIAM_SOCIAL_PROVIDERS = {
        "wechat": {"mini_program": {"app_id": "wx3", "source": "source_wechat_mini_program"}}
    }
    return str(request.param)


def resolved(found: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema of the document as one of JSON Schema's."""

    def plain(node: Any) -> Any:
        if isinstance(node, list):
            return [plain(each) for each in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return plain(found["components"]["schemas"][node["$ref"].rpartition("/")[2]])
        inner = {name: plain(it) for name, it in node.items() if name != "nullable"}
        return {"anyOf": [inner, {"type": "null"}]} if node.get("nullable") else inner

    resolved_schema: dict[str, Any] = plain(dict(schema))
    return resolved_schema


def examples_in(found: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for name, response in found["components"]["responses"].items():
        for content in response["content"].values():
            for language, example in content["examples"].items():
                yield name, language, example["value"]


# --- The document -------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["3.0.3", "3.1.1"])
def test_it_is_valid(gives: str, version: str) -> None:
    found = document(OAS_VERSION=version)
    validate(found)

    assert ("nullable" in json.dumps(found)) == (version == "3.0.3")


def test_our_endpoints_are_in_it_wherever_they_are(gives: str) -> None:
    paths = document()["paths"]
    ours = {name for name in paths if name.startswith("/here/ciam/api/")}
    steps = {f"/here/ciam/api/{name}/" for name in STEPS}

    more = {"/here/ciam/api/", "/here/ciam/api/captcha/"}
    more |= {"/here/ciam/api/renew/"} if gives == "token" else set()
    assert ours == steps | more
    assert ("security" in paths["/here/ciam/api/sms/"]["post"]) == (gives == "session")


def test_a_step_that_is_not_offered_is_not_in_it(gives: str, settings: Settings) -> None:
    settings.CIAM_LOGIN_METHODS = ["sms"]
    settings.CIAM_SOCIAL_PROVIDERS = {}
    paths = document()["paths"]

    assert "/here/ciam/api/sms/" in paths
    assert not {"/here/ciam/api/password/", "/here/ciam/api/mini_program/"} & set(paths)


def test_without_our_urls_the_answer_is_in_it_all_the_same(settings: Settings) -> None:
    settings.ROOT_URLCONF = WithoutUrls
    found = document()
    validate(found)

    assert set(found["paths"]) == {"/orders/", "/public/"}
    assert "CiamProblem" in found["components"]["schemas"]
    assert "CiamStep" not in found["components"]["schemas"]


def with_its_own(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """A project's own hook."""
    result["components"].setdefault("schemas", {})["CiamDone"] = {"type": "boolean"}
    return result


def test_what_a_project_has_by_our_names_stays(gives: str) -> None:
    hooks = [f"{__name__}.with_its_own", "ciam_django.drf.schema.with_ciam"]
    found = document(POSTPROCESSING_HOOKS=hooks)

    assert found["components"]["schemas"]["CiamDone"]["type"] == "boolean"
    assert "CiamStep" in found["components"]["schemas"]


# --- The answer ---------------------------------------------------------------------------------


def test_every_code_that_can_be_answered_is_in_it(gives: str, settings: Settings) -> None:
    settings.CIAM_ERROR_OVERRIDES = {"Shop.Closed": "We open at nine.", LOCKED: {"status": 423}}
    found = document()
    problem = found["components"]["schemas"]["CiamProblem"]
    answered = {answer_to(CiamError(code)).code for code in [*CODES, "Shop.Closed"]}

    assert set(problem["properties"]["code"]["enum"]) == answered
    assert problem["required"] == list(problem["properties"]) == list(BODY_MEMBERS)
    assert "423" in found["paths"]["/here/ciam/api/password/"]["post"]["responses"]


def test_the_answers_are_computed_once_for_a_language(
    gives: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[str | None] = []
    possible_answers = answers.possible_answers

    def counted() -> dict[str, Answer]:
        computed.append(get_language())
        return possible_answers()

    monkeypatch.setattr(openapi_answers, "possible_answers", counted)
    clear_settings_caches()
    document()
    document()

    assert sorted(map(str, computed)) == ["en", "zh-hans", "zh-hant"]


def test_a_setting_that_changes_changes_the_next_document(gives: str, settings: Settings) -> None:
    def documented() -> tuple[bool, str]:
        found = document()
        examples = found["components"]["responses"]["CiamProblem403"]["content"]
        detail = examples["application/json"]["examples"]["en"]["value"]["detail"]
        codes = found["components"]["schemas"]["CiamProblem"]["properties"]["code"]["enum"]
        return "Shop.Closed" in codes, str(detail)

    before = documented()
    settings.CIAM_ERROR_OVERRIDES = {"Shop.Closed": "We open at nine.", LOCKED: "Call us."}
    changed = documented()
    settings.CIAM_ERROR_OVERRIDES = {}

    assert before == (False, "This account is locked. Contact support to unlock it.")
    assert changed == (True, "Call us.")
    assert documented() == before


def test_an_address_of_an_answer_is_below_the_prefix_of_the_request(gives: str) -> None:
    addresses = []
    for prefix in ("/", "/shop/"):
        set_script_prefix(prefix)
        try:
            examples = examples_in(document())
        finally:
            clear_script_prefix()
        addresses.append({value["action_url"] for _, _, value in examples} - {None})

    assert addresses[0]
    assert addresses[1] == {f"/shop{address}" for address in addresses[0]}


def test_nothing_is_logged_or_told_for_an_example(
    gives: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG", "ciam_django"):
        document()

    assert not caplog.records


def test_each_answer_is_as_the_component_says(gives: str) -> None:
    found = document()
    schema = resolved(found, found["components"]["schemas"]["CiamProblem"])
    validator_of = jsonschema.validators.validator_for(schema)
    validator_of.check_schema(schema)
    validator = validator_of(schema)
    for code in CODES:
        validator.validate(answer_to(CiamError(code, stage="password")).as_dict())
    seen = [(name, language) for name, language, value in examples_in(found)]
    for _, _, value in examples_in(found):
        validator.validate(value)

    assert {language for _, language in seen} == {"en", "zh-hans", "zh-hant"}
    assert len({name for name, _ in seen}) >= 8


def test_an_example_is_in_its_language(gives: str) -> None:
    told = {(name, language): value["detail"] for name, language, value in examples_in(document())}

    assert told["CiamProblem403", "en"] == "This account is locked. Contact support to unlock it."
    assert told["CiamProblem403", "zh-hans"] == "该账号已被锁定，请联系客服解锁。"


def test_without_a_language_of_ours_there_is_english(gives: str, settings: Settings) -> None:
    settings.LANGUAGES = [("fr", "Français")]

    assert {language for _, language, _ in examples_in(document())} == {"en"}


# --- The endpoints give what it says --------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("mode", ["ciam"])
def test_what_they_give_is_in_it(gives: str, ciam: FakeCiam) -> None:
    found = document()
    client = Client(headers={"Accept": "application/json"})

    def gave(name: str, code: str = "", **given: Any) -> int:
        if code:
            ciam.fail("password", code=code)
        url = f"/here/ciam/api/{name}"
        response = (
            client.post(url, json.dumps(given), content_type="application/json")
            if given
            else client.get(url)
        )
        operation = found["paths"][url]["post" if given else "get"]
        said = operation["responses"][str(response.status_code)]
        if "$ref" in said:
            said = found["components"]["responses"][said["$ref"].rpartition("/")[2]]
            assert set(said["headers"]) <= set(response.headers)
        schema = said["content"]["application/json"]["schema"]
        jsonschema.validate(response.json(), resolved(found, schema))
        return int(response.status_code)

    assert gave("") == 200
    assert gave("captcha/") == 200
    who: dict[str, Any] = {"username": "li", "password": PASSWORD, "consent": AGREED}
    assert gave("password/", **who) == 200
    assert gave("password/", **{**who, "username": "careful"}) == 200
    assert gave("password/", **{**who, "password": "wrong"}) == 401
    assert gave("password/", username="li") == 400
    assert gave("password/", "Operation.Denied", **who) == 403
    assert gave("password/", "timeout", **who) == 503
    assert gave("password/", "Operation.Failure.Password.Too.Frequency", **who) in (429, 503)
    assert gave("code/", code="1", flow="x") == 410


# --- A project's own views ------------------------------------------------------------------------


def test_a_view_that_takes_tokens_says_what_they_can_come_to(gives: str) -> None:
    found = document()
    get, post = (found["paths"]["/orders/"][method] for method in ("get", "post"))

    assert {"200", "401", "403", "429", "500", "503"} <= set(get["responses"])
    assert {"CiamBearer": []} in get["security"]
    assert found["components"]["securitySchemes"]["CiamBearer"] == {
        "type": "http",
        "scheme": "bearer",
    }
    assert get["description"].endswith("A bearer token needs: `orders.read`, `orders.all`.")
    assert post["description"].endswith("A bearer token needs: nothing.")
    # What the project has said of a status stays.
    assert "$ref" not in post["responses"]["403"]
    assert "delete" not in found["paths"]["/orders/"]


def test_a_view_that_takes_none_is_left_alone(gives: str) -> None:
    get = document()["paths"]["/public/"]["get"]

    assert set(get["responses"]) == {"200"}
    assert "bearer" not in get.get("description", "")


def test_the_document_of_the_readme_is_made_without_a_warning(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "example_project/README.md").read_text(encoding="utf-8")

    for line in ("ciam_django.drf.schema.CiamAutoSchema", "ciam_django.drf.schema.with_ciam"):
        assert line in readme
