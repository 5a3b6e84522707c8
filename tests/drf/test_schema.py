"""Test our answers and endpoints in drf-spectacular's document."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import clear_script_prefix, include, path, set_script_prefix
from django.utils.translation import get_language
from drf_spectacular import generators, validation
from drf_spectacular import settings as their_settings
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
from tests.catalogues import write_catalogue
from tests.login.test_api import AGREED

pytestmark = pytest.mark.slow("the OpenAPI document")

# drf-spectacular has no types for these.
Generator: Any = generators.SchemaGenerator
spectacular_settings: Any = their_settings.spectacular_settings
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
    """Return the project's document, with the given settings of drf-spectacular."""
    spectacular_settings.apply_patches({"POSTPROCESSING_HOOKS": HOOKS, **patches})
    try:
        openapi: dict[str, Any] = Generator().get_schema(request=None, public=True)
    finally:
        spectacular_settings.clear_patches()
    return openapi


@pytest.fixture(params=["session", "token"])
def api_sign_in(request: pytest.FixtureRequest, settings: Settings) -> str:
    settings.ROOT_URLCONF = WithUrls
    settings.CIAM_API_SIGN_IN = request.param
    settings.CIAM_LOGIN_METHODS = ["password", "sms", "email", "recover", "sign_up"]
    settings.CIAM_SOCIAL_PROVIDERS = {
        "wechat": {"mini_program": {"app_id": "wx3", "source": "source_wechat_mini_program"}}
    }
    return str(request.param)


def resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema of the document as JSON Schema, with its references resolved."""

    def as_json_schema(node: Any) -> Any:
        if isinstance(node, list):
            return [as_json_schema(each) for each in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            name = node["$ref"].rpartition("/")[2]
            return as_json_schema(document["components"]["schemas"][name])
        inner = {name: as_json_schema(value) for name, value in node.items() if name != "nullable"}
        return {"anyOf": [inner, {"type": "null"}]} if node.get("nullable") else inner

    resolved_schema: dict[str, Any] = as_json_schema(dict(schema))
    return resolved_schema


def clear_nodes(node: Any) -> None:
    """Empty all dicts and lists of a document."""
    if isinstance(node, dict | list):
        for each in node.values() if isinstance(node, dict) else node:
            clear_nodes(each)
        node.clear()


def examples_in(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for name, response in document["components"]["responses"].items():
        for content in response["content"].values():
            for language, example in content["examples"].items():
                yield name, language, example["value"]


# --- The document -------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["3.0.3", "3.1.1"])
def test_the_document_is_valid(api_sign_in: str, version: str) -> None:
    openapi = document(OAS_VERSION=version)
    validate(openapi)

    assert ("nullable" in json.dumps(openapi)) == (version == "3.0.3")


def test_our_endpoints_are_documented_below_any_prefix(api_sign_in: str) -> None:
    paths = document()["paths"]
    ours = {name for name in paths if name.startswith("/here/ciam/api/")}
    # The step of a native app has a URL for each provider, and this project has no provider.
    steps = {f"/here/ciam/api/{name}/" for name in STEPS if name != "native"}

    others = {"/here/ciam/api/", "/here/ciam/api/captcha/"}
    others |= {"/here/ciam/api/renew/"} if api_sign_in == "token" else set()
    assert ours == steps | others
    needed: list[Any] = [{"CiamCsrfToken": []}]
    open_operations = [paths["/here/ciam/api/"]["get"], paths["/here/ciam/api/captcha/"]["get"]]
    open_operations += [paths["/here/ciam/api/renew/"]["post"]] if api_sign_in == "token" else []
    assert [operation["security"] for operation in open_operations] == [[]] * len(open_operations)
    assert paths["/here/ciam/api/sms/"]["post"]["security"] == (
        needed if api_sign_in == "session" else []
    )


def test_the_views_that_return_a_url_to_a_script_are_documented(
    api_sign_in: str, settings: Settings
) -> None:
    settings.CIAM_SOCIAL_PROVIDERS = {
        "wechat": {
            "website": {"app_id": "wx1", "source": "s1"},
            "mini_program": {"app_id": "wx3", "source": "s3"},
        },
        "qq": {"app_id": "1", "source": "s2"},
    }
    openapi = document()
    validate(openapi)
    names = ["authorize", "logout", "unlink", "with/wechat-website", "with/qq"]

    for name in names:
        operation = openapi["paths"][f"/here/ciam/{name}/"]["post"]
        assert operation["security"] == [{"CiamCsrfToken": []}]
        assert set(operation["responses"]) >= {"200", "302", "403"}
        assert "application/x-www-form-urlencoded" in operation["requestBody"]["content"]
    assert "/here/ciam/with/wechat-mini_program/" not in openapi["paths"]
    assert "CiamCsrfToken" in openapi["components"]["securitySchemes"]


def test_the_responses_of_a_step_are_told_apart_by_their_status(api_sign_in: str) -> None:
    openapi = document()
    content = openapi["paths"]["/here/ciam/api/sms/"]["post"]["responses"]["200"]["content"]
    schema = content["application/json"]["schema"]
    mapping = schema["discriminator"]["mapping"]

    assert schema["discriminator"]["propertyName"] == "status"
    assert sorted(mapping.values()) == sorted(each["$ref"] for each in schema["oneOf"])
    for status, reference in mapping.items():
        component = openapi["components"]["schemas"][reference.rpartition("/")[2]]
        assert component["properties"]["status"]["enum"] == [status]
        assert "status" in component["required"]


def test_a_step_that_is_not_offered_is_not_documented(api_sign_in: str, settings: Settings) -> None:
    settings.CIAM_LOGIN_METHODS = ["sms"]
    settings.CIAM_SOCIAL_PROVIDERS = {}
    paths = document()["paths"]

    assert "/here/ciam/api/sms/" in paths
    assert not {"/here/ciam/api/password/", "/here/ciam/api/mini_program/"} & set(paths)


def test_the_answer_is_documented_without_our_urls_too(settings: Settings) -> None:
    settings.ROOT_URLCONF = WithoutUrls
    openapi = document()
    validate(openapi)

    assert set(openapi["paths"]) == {"/orders/", "/public/"}
    assert "CiamProblem" in openapi["components"]["schemas"]
    assert "CiamStep" not in openapi["components"]["schemas"]


def add_own_schema(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Add a schema of the project with one of our names, as a postprocessing hook."""
    result["components"].setdefault("schemas", {})["CiamDone"] = {"type": "boolean"}
    return result


def test_definitions_of_the_project_with_our_names_stay(api_sign_in: str) -> None:
    hooks = [f"{__name__}.add_own_schema", "ciam_django.drf.schema.with_ciam"]
    openapi = document(POSTPROCESSING_HOOKS=hooks)

    assert openapi["components"]["schemas"]["CiamDone"]["type"] == "boolean"
    assert "CiamStep" in openapi["components"]["schemas"]


# --- The answer ---------------------------------------------------------------------------------


def test_every_possible_code_is_documented(api_sign_in: str, settings: Settings) -> None:
    settings.CIAM_ERROR_OVERRIDES = {"Shop.Closed": "We open at nine.", LOCKED: {"status": 423}}
    openapi = document()
    problem = openapi["components"]["schemas"]["CiamProblem"]
    answered = {answer_to(CiamError(code)).code for code in [*CODES, "Shop.Closed"]}

    known, other = problem["properties"]["code"]["anyOf"]

    assert set(known["enum"]) == answered
    # A code of a later version is valid, too.
    assert other == {"type": "string"}
    assert problem["required"] == list(problem["properties"]) == list(BODY_MEMBERS)
    assert "423" in openapi["paths"]["/here/ciam/api/password/"]["post"]["responses"]


def test_the_answers_are_computed_once_for_all_languages(
    api_sign_in: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[str | None] = []
    possible_answers = answers.possible_answers

    def recorded_answers() -> dict[str, Answer]:
        computed.append(get_language())
        return possible_answers()

    monkeypatch.setattr(openapi_answers, "possible_answers", recorded_answers)
    clear_settings_caches()
    document()
    document()

    assert computed == ["en"]


def test_a_change_of_a_document_does_not_change_the_next_document(api_sign_in: str) -> None:
    first = document()
    before = json.dumps(first)
    clear_nodes(first)

    assert json.dumps(document()) == before


def test_a_changed_setting_changes_the_next_document(api_sign_in: str, settings: Settings) -> None:
    def documented() -> tuple[bool, str]:
        openapi = document()
        examples = openapi["components"]["responses"]["CiamProblem403"]["content"]
        detail = examples["application/json"]["examples"]["en"]["value"]["detail"]
        code = openapi["components"]["schemas"]["CiamProblem"]["properties"]["code"]
        codes = code["anyOf"][0]["enum"]
        return "Shop.Closed" in codes, str(detail)

    before = documented()
    settings.CIAM_ERROR_OVERRIDES = {"Shop.Closed": "We open at nine.", LOCKED: "Call us."}
    changed = documented()
    settings.CIAM_ERROR_OVERRIDES = {}

    assert before == (False, "This account is locked. Contact support to unlock it.")
    assert changed == (True, "Call us.")
    assert documented() == before


def test_the_action_url_of_an_example_has_the_script_prefix(api_sign_in: str) -> None:
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


def test_an_example_is_not_logged(api_sign_in: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG", "ciam_django"):
        document()

    assert not caplog.records


def test_every_answer_fits_the_component(api_sign_in: str) -> None:
    openapi = document()
    schema = resolved(openapi, openapi["components"]["schemas"]["CiamProblem"])
    validator_of = jsonschema.validators.validator_for(schema)
    validator_of.check_schema(schema)
    validator = validator_of(schema)
    for code in CODES:
        validator.validate(answer_to(CiamError(code, stage="password")).as_dict())
    seen = [(name, language) for name, language, value in examples_in(openapi)]
    for _, _, value in examples_in(openapi):
        validator.validate(value)

    assert {language for _, language in seen} == {"en", "zh-hans", "zh-hant"}
    assert len({name for name, _ in seen}) >= 8


def test_an_example_is_in_its_language(api_sign_in: str) -> None:
    texts = {(name, language): value["detail"] for name, language, value in examples_in(document())}

    assert texts["CiamProblem403", "en"] == "This account is locked. Contact support to unlock it."
    assert texts["CiamProblem403", "zh-hans"] == "该账号已被锁定，请联系客服解锁。"


def test_examples_are_in_a_language_of_the_project_and_under_an_old_code(
    settings: Settings, tmp_path: Path
) -> None:
    texts = {"Account unavailable": "الحساب غير متاح"}
    settings.LANGUAGES = [("ar", "العربيّة"), ("de", "Deutsch"), ("zh-cn", "简体中文")]
    settings.LOCALE_PATHS = [write_catalogue(tmp_path, "ar", texts)]
    titles = {(language, value["title"]) for _, language, value in examples_in(document())}

    assert {language for language, _ in titles} == {"ar", "zh-cn"}
    assert {("ar", "الحساب غير متاح"), ("zh-cn", "账号无法使用")} <= titles


def test_examples_are_in_english_if_no_language_is_translated(
    api_sign_in: str, settings: Settings
) -> None:
    settings.LANGUAGES = [("fr", "Français")]

    assert {language for _, language, _ in examples_in(document())} == {"en"}


# --- The endpoints and their document -------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("mode", ["ciam"])
def test_responses_of_the_endpoints_fit_the_document(api_sign_in: str, ciam: FakeCiam) -> None:
    openapi = document()
    client = Client(headers={"Accept": "application/json"})

    def call(name: str, code: str = "", **body: Any) -> int:
        """Call an endpoint, validate the response against the document, return the status."""
        if code:
            ciam.fail("password", code=code)
        url = f"/here/ciam/api/{name}"
        response = (
            client.post(url, json.dumps(body), content_type="application/json")
            if body
            else client.get(url)
        )
        return validated(url, response, "post" if body else "get")

    def validated(url: str, response: Any, method: str) -> int:
        operation = openapi["paths"][url][method]
        documented = operation["responses"][str(response.status_code)]
        if "$ref" in documented:
            documented = openapi["components"]["responses"][documented["$ref"].rpartition("/")[2]]
            assert set(documented["headers"]) <= set(response.headers)
        schema = documented["content"]["application/json"]["schema"]
        jsonschema.validate(response.json(), resolved(openapi, schema))
        return int(response.status_code)

    assert call("") == 200
    assert call("captcha/") == 200
    account: dict[str, Any] = {"username": "li", "password": PASSWORD, "consent": AGREED}
    assert call("password/", **account) == 200
    assert call("password/", **{**account, "username": "careful"}) == 200
    assert call("password/", **{**account, "password": "wrong"}) == 401
    assert call("password/", username="li") == 400
    assert call("password/", "Operation.Denied", **account) == 403
    assert call("password/", "timeout", **account) == 503
    # Each name needs a CAPTCHA after some failures.
    account["username"] = "wang"
    assert call("password/", "Operation.Failure.Password.Too.Frequency", **account) in (429, 503)
    assert call("code/", code="1", flow="x") == 410
    for name, status in (("unlink", (401, 404)), ("authorize", (200,)), ("logout", (200,))):
        url = f"/here/ciam/{name}/"
        assert validated(url, client.post(url), "post") in status


# --- A project's own views ------------------------------------------------------------------------


def test_a_view_with_bearer_tokens_documents_their_failures(api_sign_in: str) -> None:
    openapi = document()
    get, post = (openapi["paths"]["/orders/"][method] for method in ("get", "post"))

    assert {"200", "401", "403", "429", "500", "503"} <= set(get["responses"])
    assert {"CiamBearer": []} in get["security"]
    assert openapi["components"]["securitySchemes"]["CiamBearer"] == {
        "type": "http",
        "scheme": "bearer",
    }
    assert get["description"].endswith("A bearer token needs: `orders.read`, `orders.all`.")
    assert post["description"].endswith("A bearer token needs: nothing.")
    # The project's own response for a status stays.
    assert "$ref" not in post["responses"]["403"]
    assert "delete" not in openapi["paths"]["/orders/"]


def test_a_view_without_bearer_tokens_is_unchanged(api_sign_in: str) -> None:
    get = document()["paths"]["/public/"]["get"]

    assert set(get["responses"]) == {"200"}
    assert "bearer" not in get.get("description", "")


def test_the_documentation_names_the_schema_class_and_the_hook(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/rest-framework.md").read_text(encoding="utf-8")

    for line in ("ciam_django.drf.schema.CiamAutoSchema", "ciam_django.drf.schema.with_ciam"):
        assert line in page
