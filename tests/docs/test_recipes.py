"""Try the recipes of docs/recipes.md."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any, Final

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.management import call_command
from django.template import engines
from django.test import Client, RequestFactory, override_settings
from pytest_django.live_server_helper import LiveServer
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.views import APIView
from rest_framework_simplejwt import authentication
from rest_framework_simplejwt.tokens import AccessToken

from ciam_django.accounts.models import CiamIdentity
from ciam_django.errors import CiamError
from ciam_django.responses import render_page
from ciam_django.testing import FakeCiam
from ciam_django.testing.accounts import PASSWORD
from ciam_django.testing.tenant import Forgery
from tests.browser import HTML, Browser
from tests.docs.blocks import DOCS, ROOT, Block, blocks_in, take, take_all
from tests.docs.conftest import Project
from tests.docs.new_project import NEW_PROJECT, SETTINGS
from tests.docs.projects import check_messages
from tests.drf.test_authentication import token_for
from tests.test_responses import templates_setting

pytestmark = pytest.mark.django_db

PAGE: Final = "recipes.md"
LOCKED: Final = "Operation.Failure.User.Locked"


def settings_with(text: str) -> Block:
    """The block of settings of the page that has this text."""
    blocks = [block for block in blocks_in(DOCS / PAGE) if block.is_settings]
    (block,) = [block for block in blocks if text in block.text]
    return take(PAGE, block.file, [b for b in blocks if b.file == block.file].index(block))


OTHER_NAME: Final = settings_with("AUTH_HEADER_TYPES")
BOTH: Final = (settings_with("OwnJWTAuthentication"), take(PAGE, "shop/authentication.py"))
EXISTING: Final = (settings_with("shop.existing"), take(PAGE, "shop/existing.py"))
THIRD_LANGUAGE: Final = settings_with("LOCALE_PATHS")
BASE_TEMPLATE: Final = (settings_with("CIAM_BASE_TEMPLATE"), take(PAGE, "templates/base.html"))
OTHER_BLOCK: Final = take(PAGE, "templates/ciam_base.html")
BASE_PATH: Final = settings_with("FORCE_SCRIPT_NAME")
OTHER_ORIGIN: Final = settings_with("CORS_ALLOWED_ORIGINS")
OTHER_DOMAIN: Final = settings_with("SESSION_COOKIE_SAMESITE")
OWN_BODY: Final = (settings_with("own_failure_body"), take(PAGE, "shop/middleware.py"))
POPUP: Final = (settings_with("OPENER_POLICY"), take(PAGE, "templates/popup.html"))
LOAD: Final = (settings_with("CIAM_TRY_LIMITS"), take(PAGE, "load.py"))
(PEOPLE_CSV,) = take_all(PAGE, "text")
(CATALOGUE,) = take_all(PAGE, "po")


@pytest.fixture(autouse=True)
def reload_simple_jwt() -> Iterator[None]:
    yield
    importlib.reload(authentication)


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    cache.clear()


# --- Simple JWT -------------------------------------------------------------------------------


def answers_with_tokens(user: User, own_scheme: str) -> tuple[Any, Any, Any]:
    """The answers to a token of Simple JWT, to a token of CIAM, and to a token of nobody."""

    class UserView(APIView):
        authentication_classes: Any = api_settings.DEFAULT_AUTHENTICATION_CLASSES

        def get(self, request: Any) -> Response:
            if not request.user.is_authenticated:
                raise CiamError("login_required")
            return Response({"user": request.user.pk})

    view = UserView.as_view()
    own, ciams = str(AccessToken.for_user(user)), token_for("li")

    def answer(authorization: str) -> Any:
        return view(RequestFactory().get("/", headers={"authorization": authorization}))

    return (
        answer(f"{own_scheme} {own}"),
        answer(f"Bearer {ciams}"),
        answer("Bearer of-nobody"),
    )


# The key of the tests is short.
@pytest.mark.filterwarnings("ignore:The HMAC key is")
@pytest.mark.parametrize(
    ("blocks", "own_scheme"), [((OTHER_NAME,), "JWT"), (BOTH, "Bearer")], ids=["name", "both"]
)
def test_simple_jwt_and_ciam_authenticate_the_same_view(
    project: Project, blocks: tuple[Block, ...], own_scheme: str
) -> None:
    project.start(SETTINGS, *blocks, ROOT_URLCONF="tests.docs.urls")
    # Simple JWT reads its settings when it is imported.
    importlib.reload(authentication)
    staff = User.objects.create_user("staff")

    own, ciams, refused = answers_with_tokens(staff, own_scheme)

    assert own.data == {"user": staff.pk}
    assert ciams.data == {"user": CiamIdentity.objects.get().user.pk}
    assert (refused.status_code, refused.data["code"]) == (401, "invalid_token")
    assert check_messages() == []


# --- Users ------------------------------------------------------------------------------------


def test_the_file_links_the_users_by_their_unique_field(project: Project) -> None:
    project.start(*NEW_PROJECT)
    # The user model of the tests has no unique email field: the user names are the addresses.
    for name in ("li@example.com", "wang@example.com"):
        User.objects.create_user(name)
    file = project.folder / "people.csv"
    file.write_text(PEOPLE_CSV.text)

    call_command("ciam_link", str(file), "--apply", verbosity=0)

    assert CiamIdentity.objects.count() == 2


@pytest.mark.parametrize("verified", [True, False])
@pytest.mark.parametrize("is_staff", [True, False])
def test_only_a_verified_address_finds_a_user_and_never_a_staff_user(
    project: Project, fake_ciam: FakeCiam, verified: bool, is_staff: bool
) -> None:
    project.start(*NEW_PROJECT, *EXISTING)
    existing = User.objects.create_user("old", "Li@example.com", is_staff=is_staff)
    claims = {"email_verified": verified}
    fake_ciam.forgery = Forgery(claims=claims, userinfo=claims)

    Browser(fake_ciam).sign_in("li")

    is_found = CiamIdentity.objects.get().user == existing
    assert is_found is (verified and not is_staff), (verified, is_staff)
    assert check_messages() == []


# --- Languages and templates ------------------------------------------------------------------


def test_a_catalogue_of_the_project_adds_a_language(project: Project) -> None:
    if shutil.which("msgfmt") is None:
        pytest.skip("gettext is not installed, so that no catalogue can be compiled")
    folder = project.folder / "locale/fr/LC_MESSAGES"
    folder.mkdir(parents=True)
    header = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n\n'
    (folder / "django.po").write_text(header + CATALOGUE.text, encoding="utf-8")
    subprocess.run(["msgfmt", "-o", folder / "django.mo", folder / "django.po"], check=True)
    project.start(*NEW_PROJECT, THIRD_LANGUAGE)

    answer = Client().get("/locked/", headers={"accept-language": "fr", "accept": "*/*"})

    texts = re.findall(r'^msgstr "(.+)"$', CATALOGUE.text, re.MULTILINE)
    assert [answer["Content-Language"], answer.json()["title"], answer.json()["detail"]] == texts
    ours = (ROOT / "ciam_django/locale/zh_Hans/LC_MESSAGES/django.po").read_text(encoding="utf-8")
    for message in re.findall(r'^msgid "(.+)"$', CATALOGUE.text, re.MULTILINE):
        assert f'msgid "{message}"' in ours


def test_the_base_template_of_the_project_surrounds_the_pages(project: Project) -> None:
    project.start(*NEW_PROJECT, *BASE_TEMPLATE)

    for address, status in (("/ciam/login/", 200), ("/locked/", 403)):
        page = Client().get(address, headers={"accept": HTML})
        html = page.content.decode()
        assert page.status_code == status
        assert 'class="container py-4"' in html
        assert html.count("/static/ciam_django/ciam.css") == 1
        assert re.search(r"<title>.+ · Shop</title>", html)
    assert check_messages() == []


def test_a_template_puts_the_pages_into_a_block_with_another_name() -> None:
    base = "<main>{% block main %}{% endblock %}</main>"
    templates = templates_setting(**{"shop/base": base, "ciam_base": OTHER_BLOCK.text})

    with override_settings(TEMPLATES=templates, CIAM_BASE_TEMPLATE="ciam_base.html"):
        html = render_page(RequestFactory().get("/"), "ciam_django/login.html", {})

    assert html.strip().startswith("<main>")
    assert 'class="ciam-card"' in html


def test_the_link_of_the_popup_opens_the_login_page_with_the_last_page_of_a_popup(
    project: Project, fake_ciam: FakeCiam
) -> None:
    project.start(*NEW_PROJECT, *POPUP)
    html = engines["django"].from_string(POPUP[1].text).render()
    popup = re.search(r'data-ciam-popup="([^"]*)"', html)

    assert popup
    assert "/static/ciam_django/ciam.js" in html
    client = Client(headers={"Accept": HTML})
    page = client.get(popup[1])
    assert page["Cross-Origin-Opener-Policy"] != "same-origin-allow-popups"
    assert '<input type="hidden" name="next" value="/ciam/done/?next=/cart/">' in (
        page.content.decode()
    )


# --- Addresses --------------------------------------------------------------------------------


def test_a_sign_in_works_below_a_base_path(project: Project, fake_ciam: FakeCiam) -> None:
    project.start(*NEW_PROJECT, BASE_PATH, ALLOWED_HOSTS=["example.com"])
    fake_ciam.redirect_uris.add("https://example.com/shop/ciam/callback/")
    client = Client(headers={"Accept": HTML})
    options: Any = {"secure": True, "headers": {"host": "example.com"}}
    leave = client.post("/ciam/authorize/", {"next": "/shop/"}, **options)
    callback = fake_ciam.authorize(leave["Location"], username="li")

    answer = client.get(callback.removeprefix("https://example.com/shop"), **options)

    assert answer["Location"] == "/shop/"
    assert check_messages() == []


@pytest.mark.parametrize("blocks", [(), (OTHER_DOMAIN,)], ids=["same domain", "other domain"])
def test_a_front_end_on_another_origin_signs_in(
    project: Project, blocks: tuple[Block, ...]
) -> None:
    origin = "https://app.example.com"
    assert f'CSRF_TRUSTED_ORIGINS = ["{origin}"]' in OTHER_ORIGIN.text
    project.start(*NEW_PROJECT, OTHER_ORIGIN, *blocks, CIAM_LOGIN_METHODS=["password"])
    client = Client(enforce_csrf_checks=True, headers={"Origin": origin})
    offered = client.get("/ciam/api/", secure=True)

    signed_in = client.post(
        "/ciam/api/password/",
        {
            "username": "li",
            "password": PASSWORD,
            "consent": [each["id"] for each in offered.json()["consents"]],
        },
        content_type="application/json",
        secure=True,
        headers={"X-CSRFToken": offered.json()["csrf_token"]},
    )

    assert signed_in.json()["status"] == "signed_in"
    assert signed_in["Access-Control-Allow-Origin"] == origin
    assert (signed_in.cookies["sessionid"]["samesite"] == "None") is bool(blocks)
    assert check_messages() == []


def test_the_changes_for_another_origin_fit_the_module() -> None:
    module = take("json.md", "sign-in.js").text

    assert 'const API = "/ciam/api/";' in module
    assert 'credentials: "same-origin"' in module


# --- Answers ----------------------------------------------------------------------------------


def test_the_middleware_changes_the_body_of_each_failure(project: Project) -> None:
    project.start(*NEW_PROJECT, *OWN_BODY)
    client = Client(headers={"Accept": "application/json"})

    of_view, of_endpoint = client.get("/locked/"), client.get("/ciam/api/nothing/")
    page = client.get("/locked/", headers={"accept": HTML})

    assert (of_view.status_code, of_endpoint.status_code) == (403, 405)
    for answer in (of_view, of_endpoint):
        body = json.loads(answer.content)
        assert set(body) == {"ok", "error", "trace"}
        assert body["error"]["id"] == answer["Ciam-Error-Code"]
        assert body["trace"] == answer["Ciam-Request-Id"]
    assert "<!DOCTYPE html>" in page.content.decode()
    assert check_messages() == []


@pytest.mark.slow("a live server")
@pytest.mark.django_db(transaction=True)
def test_the_load_test_signs_users_in(
    project: Project, live_server: LiveServer, capsys: pytest.CaptureFixture[str]
) -> None:
    project.start(*NEW_PROJECT, *LOAD, ALLOWED_HOSTS=["localhost"])
    names: dict[str, Any] = {"__name__": "load"}
    exec(LOAD[1].text, names)  # noqa: S102  (the code of the documentation)

    names["main"](live_server.url, users=3, at_a_time=1)

    assert "3 sign-ins, 0 failures" in capsys.readouterr().out
    assert User.objects.count() == 3
