"""Run the projects of docs/getting-started.md."""

from __future__ import annotations

import json
import re
import shlex
import sys
from typing import Any, Final

import pytest
from django.core.management import call_command
from django.test import Client, override_settings
from django.urls import reverse

from ciam_django.testing import FakeCiam
from tests.browser import HTML, Browser
from tests.docs.blocks import DOCS, Block, blocks_in, take, take_all
from tests.docs.conftest import Project
from tests.docs.new_project import NEW_PROJECT
from tests.docs.projects import check_messages

pytestmark = pytest.mark.django_db

PAGE: Final = "getting-started.md"
TESTS: Final = take(PAGE, "shop/tests.py")
WITH_LANGUAGES: Final = take(PAGE, "shop/urls_with_languages.py")
AUTHLIB: Final = [take(PAGE, f"authlib_shop/{name}.py") for name in ("settings", "views", "urls")]
(LOCKED_JSON,) = take_all(PAGE, "json")


def block_with(language: str, text: str) -> Block:
    """The block of the page that has this text."""
    (block,) = [
        each for each in blocks_in(DOCS / PAGE) if each.language == language and text in each.text
    ]
    return block


def test_the_new_project_passes_the_checks(project: Project) -> None:
    project.start(*NEW_PROJECT)

    assert check_messages() == []


def test_the_new_project_signs_a_user_in_and_explains_a_failure(
    project: Project, fake_ciam: FakeCiam
) -> None:
    project.start(*NEW_PROJECT)
    browser = Browser(fake_ciam)

    assert browser.client.get("/")["Location"] == "/ciam/login/?next=/"
    assert browser.sign_in("fail:Operation.Failure.User.Locked").status_code == 403
    assert browser.sign_in("li", next_url="/")["Location"] == "/"
    assert browser.client.get("/").content.startswith(b"You are signed in as ")


def test_the_new_project_answers_the_documented_page_and_json(
    project: Project,
) -> None:
    project.start(*NEW_PROJECT)
    command = shlex.split(block_with("shell", "curl").text)
    headers = dict(word.split(": ") for word in command if ": " in word)
    path = re.sub(r"^http://127.0.0.1:8000", "", command[-1])

    page = Client().get(path, headers={"accept": HTML, "accept-language": "zh-CN"})
    answer = Client().get(path, headers=headers)
    documented = json.loads(LOCKED_JSON.text)

    assert page.status_code == answer.status_code == documented["status"]
    assert documented["detail"] in page.content.decode()
    assert re.fullmatch("local-[0-9a-f]{16}", documented["request_id"])
    assert answer.json() == {**documented, "request_id": answer.json()["request_id"]}


def test_the_default_client_of_the_new_project_is_that_of_the_fake(
    project: Project, fake_ciam: FakeCiam, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.start(*NEW_PROJECT)
    del sys.modules["shop.settings"]
    for name in ("CLIENT_ID", "CLIENT_SECRET", "METADATA_URL", "API_URL"):
        monkeypatch.delenv(f"IDAAS_{name}")
    settings = project.module("shop.settings")

    expected = {
        name: value.replace(fake_ciam.url, "http://127.0.0.1:8400")
        for name, value in fake_ciam.client("oidc").items()
    }
    assert {"ciam": expected} == settings.AUTHLIB_OAUTH_CLIENTS


def test_the_test_of_the_new_project_passes(
    project: Project, fake_ciam: FakeCiam, client: Client, settings: Any
) -> None:
    project.start(*NEW_PROJECT)
    names: dict[str, Any] = {}
    exec(TESTS.text, names)  # noqa: S102  (the code of the documentation)
    (test,) = [value for name, value in names.items() if name.startswith("test_")]

    test(client=client, fake_ciam=fake_ciam, settings=settings)


def test_the_typed_names_of_the_new_project_have_the_documented_effects(
    project: Project, fake_ciam: FakeCiam
) -> None:
    project.start(*NEW_PROJECT)
    fake_ciam.slow_seconds = 0.3
    text = (DOCS / PAGE).read_text(encoding="utf-8")
    names = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)

    statuses = []
    for name in names:
        with override_settings(CIAM_TIMEOUT=0.15 if name.startswith("slow:") else 30.0):
            statuses.append(Browser(fake_ciam).sign_in(name).status_code)

    assert dict(zip(names, statuses, strict=True)) == {
        "li": 302,
        "fail:Operation.Failure.User.Locked": 403,
        "slow:token": 503,
    }


def test_the_urls_with_languages_pass_the_checks(project: Project) -> None:
    project.start(*NEW_PROJECT, WITH_LANGUAGES, ROOT_URLCONF="shop.urls_with_languages")

    assert check_messages() == []
    assert reverse("ciam:callback") == "/ciam/callback/"


def test_a_tenant_takes_the_place_of_the_fake(project: Project, fake_ciam: FakeCiam) -> None:
    project.start(*NEW_PROJECT)
    Browser(fake_ciam).sign_in("li")
    with FakeCiam() as tenant:
        clients = {"ciam": tenant.client("oidc")}
        project.change_settings(AUTHLIB_OAUTH_CLIENTS=clients)
        refused = Browser(tenant).sign_in("li")
        call_command("ciam_rekey", "--forget-test-people", "--apply", verbosity=0)
        accepted = Browser(tenant).sign_in("li")

    assert refused["Ciam-Error-Code"] == "bad_configuration"
    assert accepted.status_code == 302


# --- A project with an Authlib client of its own ----------------------------------------------


def open_callback(fake_ciam: FakeCiam) -> Any:
    client = Client(headers={"Accept": "application/json"})
    leave = client.get("/login/")
    return client.get(fake_ciam.authorize(leave["Location"], username="li"))


def test_the_views_with_authlib_sign_in(project: Project, fake_ciam: FakeCiam) -> None:
    project.start(*AUTHLIB, mode="ciam", ROOT_URLCONF="authlib_shop.urls")

    assert open_callback(fake_ciam).content == b"Hello Li"
    assert check_messages() == []


@pytest.mark.parametrize("stage", ["token", "api"])
def test_a_failure_in_the_views_with_authlib_is_answered_with_its_code(
    project: Project, fake_ciam: FakeCiam, stage: str
) -> None:
    project.start(*AUTHLIB, mode="ciam", ROOT_URLCONF="authlib_shop.urls")
    fake_ciam.fail(stage, code="Operation.Failure.User.Locked", status=200)

    answer = open_callback(fake_ciam)

    assert answer.status_code == 403
    assert answer.json()["code"] == "Operation.Failure.User.Locked"
