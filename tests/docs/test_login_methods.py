"""Run the code of docs/login-methods.md, and compare its lists with the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.contrib.auth.models import User
from django.test import Client
from django.urls import include, path

from ciam_django.conf import SETTINGS as SETTINGS_TABLE
from ciam_django.login.providers import PROVIDERS
from ciam_django.testing import FakeCiam
from tests.browser import HTML, Browser
from tests.docs.blocks import DOCS, ROOT, take
from tests.docs.conftest import Project
from tests.docs.new_project import NEW_PROJECT, SETTINGS
from tests.docs.projects import check_messages

pytestmark = pytest.mark.django_db

PAGE: Final = "login-methods.md"
KEY_SETTINGS: Final = take(PAGE, "shop/settings.py", index=5)
STYLES: Final = take(PAGE, "shop.css")
LOGIN_TEMPLATE: Final = take(PAGE, "templates/ciam_django/login.html")
PROFILE: Final = (take(PAGE, "shop/profile.py"), take(PAGE, "templates/profile.html"))


def test_the_client_can_have_a_private_key(
    project: Project, fake_ciam: FakeCiam, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    file = tmp_path / "key.pem"
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    assert 'os.environ["IDAAS_KEY_FILE"]' in KEY_SETTINGS.text
    changed = KEY_SETTINGS.with_text('os.environ["IDAAS_KEY_FILE"]', repr(str(file)))

    project.start(SETTINGS, changed, ROOT_URLCONF="tests.docs.urls")

    assert check_messages() == []


def test_the_variables_of_the_styles_are_variables_of_the_package() -> None:
    ours = (ROOT / "ciam_django/static/ciam_django/ciam.css").read_text(encoding="utf-8")
    names = re.findall(r"(--[\w-]+):", STYLES.text)

    assert names
    assert all(f"{name}:" in ours for name in names)
    assert re.findall(r"^(\.[\w-]+) ", STYLES.text, re.MULTILINE) == [".ciam-card"]


def test_a_template_of_the_project_changes_a_block_of_the_login_page(project: Project) -> None:
    project.start(*NEW_PROJECT, LOGIN_TEMPLATE)
    project.use_templates()

    page = Client().get("/ciam/login/", headers={"accept": HTML}).content.decode()

    assert "Staff members sign in with the button below." in page


def test_a_failure_is_shown_at_the_field_of_the_own_form(
    project: Project, fake_ciam: FakeCiam
) -> None:
    project.start(SETTINGS, *PROFILE, mode="oidc")
    project.use_templates()
    profile = project.module("shop.profile")

    project.use_urls(
        path("ciam/", include("ciam_django.urls")),
        path("profile/", profile.profile),
        path("", profile.profile, name="home"),
    )
    browser = Browser(fake_ciam)
    browser.sign_in("li")

    fake_ciam.fail("api", code="Params.Illegal.User.PhoneNumber")
    refused = browser.client.post("/profile/", {"mobile": "1"})
    accepted = browser.client.post("/profile/", {"mobile": "13800001234"})

    assert refused.status_code == 400
    assert list(refused.context["form"].errors) == ["mobile"]
    assert accepted.content == b"Saved."
    assert User.objects.count() == 1


def test_the_page_lists_all_login_methods_and_providers() -> None:
    text = (DOCS / PAGE).read_text(encoding="utf-8")
    section, _, rest = text.partition("## Social accounts")
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", section, re.MULTILINE)
    sentence = re.search(r"^- The providers are (.*?)\.\n", rest, re.MULTILINE | re.DOTALL)

    assert sentence
    methods = set(re.findall(r"`(\w+)`", " ".join(rows)))
    assert methods == set(SETTINGS_TABLE["CIAM_LOGIN_METHODS"].allowed.items.names)  # type: ignore[attr-defined]  # a list of choices
    assert set(re.findall(r"`(\w+)`", sentence[1])) == {name.split(".")[0] for name in PROVIDERS}
