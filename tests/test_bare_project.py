"""Test a project with one app and one middleware, without database and REST framework."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow("processes of bare projects")

ROOT = Path(__file__).parents[1]
LOCKED = "Operation.Failure.User.Locked"

# None in sys.modules makes an import fail. Each project defines SETTINGS and QUERY.
PROGRAM = """
import asyncio, io, json, sys
sys.modules["rest_framework"] = None
import django
from django.conf import settings
settings.configure(
    ALLOWED_HOSTS=["*"], INSTALLED_APPS=["ciam_django"], DATABASES={}, **SETTINGS
)
django.setup()
from django.http import HttpResponse
from django.urls import path
from ciam_django.errors import CiamError

def sync_view(request):
    raise CiamError(request.GET["code"], stage="password", request_id="abc")

async def async_view(request):
    raise CiamError(request.GET["code"], stage="password", request_id="abc")

urlpatterns = [path("sync/", sync_view), path("async/", async_view)]

def over_wsgi(place, query, headers):
    from django.core.wsgi import get_wsgi_application
    environ = {
        "REQUEST_METHOD": "GET", "PATH_INFO": place, "QUERY_STRING": query,
        "SERVER_NAME": "example.com", "SERVER_PORT": "80", "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr, "wsgi.url_scheme": "http",
        **{"HTTP_" + name.upper().replace("-", "_"): value for name, value in headers.items()},
    }
    seen = {}
    def start_response(status, headers):
        seen.update(status=int(status.split()[0]), headers=dict(headers))
    body = b"".join(get_wsgi_application()(environ, start_response))
    return {**seen, "body": body.decode()}

def over_asgi(place, query, headers):
    from django.core.asgi import get_asgi_application
    seen = {"body": ""}
    scope = {
        "type": "http", "method": "GET", "path": place, "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "server": ("example.com", 80), "asgi": {"version": "3.0"}, "http_version": "1.1",
    }
    requests = asyncio.Queue()
    async def send(message):
        if message["type"] == "http.response.start":
            headers = {name.decode(): value.decode() for name, value in message["headers"]}
            seen.update(status=message["status"], headers=headers)
        else:
            seen["body"] += message["body"].decode()
    async def main():
        await requests.put({"type": "http.request", "body": b""})
        await get_asgi_application()(scope, requests.get, send)
    asyncio.run(main())
    return seen

answers = {
    f"{place} {accept} {over.__name__}": over(
        place, QUERY, {"accept": accept, "accept-language": "zh-hans", "host": "example.com"}
    )
    for place in ("/sync/", "/async/")
    for accept in ("text/html", "application/json")
    for over in (over_wsgi, over_asgi)
}
print(json.dumps(answers))
"""

MIDDLEWARE = ["ciam_django.middleware.CiamErrorMiddleware"]
LOCALE_MIDDLEWARE = "django.middleware.locale.LocaleMiddleware"

PROJECTS: dict[str, dict[str, Any]] = {
    "bare": {"LANGUAGE_CODE": "zh-hans", "MIDDLEWARE": MIDDLEWARE},
    "locale": {"MIDDLEWARE": [LOCALE_MIDDLEWARE, *MIDDLEWARE]},
    "untranslated": {"USE_I18N": False, "MIDDLEWARE": MIDDLEWARE},
}


def run_program(program: str) -> str:
    """Run the program, which must raise no warnings, and return its output."""
    environment = {name: value for name, value in os.environ.items() if "DJANGO" not in name}
    result = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stderr
    return result.stdout


@cache
def answers_of(project: str) -> dict[str, Any]:
    """The answers of a project for each path, Accept header and interface."""
    settings = {**PROJECTS[project], "ROOT_URLCONF": "__main__"}
    query = f"code={LOCKED}&x=<script>unmistakable"
    program = f"SETTINGS = {settings!r}\nQUERY = {query!r}\n{PROGRAM}"
    answers: dict[str, Any] = json.loads(run_program(program))
    return answers


each_interface = pytest.mark.parametrize("over", ["over_wsgi", "over_asgi"])
each_place = pytest.mark.parametrize("place", ["/sync/", "/async/"])


@each_interface
@each_place
@pytest.mark.parametrize("project", ["bare", "locale"])
def test_a_bare_project_answers_json_requests_in_chinese(
    project: str, place: str, over: str
) -> None:
    answer = answers_of(project)[f"{place} application/json {over}"]
    body = json.loads(answer["body"])

    assert answer["status"] == body["status"] == 401
    assert answer["headers"]["Content-Type"] == "application/json"
    assert answer["headers"]["Content-Language"] == "zh-hans"
    assert answer["headers"]["WWW-Authenticate"] == "Bearer"
    assert body["code"] == "Operation.Failure.Username.Or.Password.Error", (
        "a bare project has no users"
    )
    assert body["request_id"].startswith("local-")
    assert "密码" in body["detail"]
    assert body["detail"].endswith("。")


@each_interface
@each_place
@pytest.mark.parametrize("project", ["bare", "locale"])
def test_a_bare_project_answers_browsers_with_a_chinese_page(
    project: str, place: str, over: str
) -> None:
    answer = answers_of(project)[f"{place} text/html {over}"]

    assert answer["status"] == 401
    assert answer["headers"]["Content-Type"] == "text/html; charset=utf-8"
    assert '<html lang="zh-hans" dir="ltr">' in answer["body"]
    assert 'role="alert"' in answer["body"]
    assert "密码" in answer["body"]
    assert "unmistakable" not in answer["body"]
    assert "stylesheet" not in answer["body"]


@each_interface
@each_place
def test_a_project_without_translations_answers_in_english(place: str, over: str) -> None:
    answers = answers_of("untranslated")

    body = json.loads(answers[f"{place} application/json {over}"]["body"])
    assert body["detail"] == "The username or password is incorrect. Check them and try again."
    assert body["detail"] in answers[f"{place} text/html {over}"]["body"]


def test_an_answer_needs_no_root_urlconf() -> None:
    program = """
import django
from django.conf import settings
settings.configure(INSTALLED_APPS=["ciam_django"], DATABASES={})
django.setup()
from ciam_django.answers import answer_to
from ciam_django.errors import CiamError
print(answer_to(CiamError("invalid_grant")).as_dict())
"""

    assert "'action_url': None" in run_program(program)


def test_a_bare_project_passes_the_checks() -> None:
    program = f"""
import django
from django.conf import settings
settings.configure(INSTALLED_APPS=["ciam_django"], DATABASES={{}}, MIDDLEWARE={MIDDLEWARE!r})
django.setup()
from django.core.checks import run_checks
print(run_checks())
"""

    assert run_program(program) == "[]\n"


def test_the_checks_of_a_bare_project_report_each_wrong_setting_without_authlib() -> None:
    wrong_settings = {
        "CIAM_TIMEOUT": "5",
        "CIAM_LOGIN_METHODS": ["pasword"],
        "CIAM_TRY_LIMITS": {"receiver": ["5 a day"]},
        "CIAM_PHONE_REGION": "China",
    }
    program = f"""
import sys
sys.modules["authlib"] = sys.modules["requests"] = None
import django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["ciam_django"], DATABASES={{}}, MIDDLEWARE={MIDDLEWARE!r}, **{wrong_settings!r}
)
django.setup()
from django.core.checks import run_checks
print(sorted(message.id[-4:] for message in run_checks()))
"""

    assert run_program(program) == "['E002', 'E020', 'E022', 'E024']\n"


def test_the_checks_report_a_missing_accounts_app_although_the_settings_name_its_classes() -> None:
    program = """
import django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "ciam_django",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "ciam_django.accounts.middleware.CiamSessionMiddleware",
        "ciam_django.middleware.CiamErrorMiddleware",
    ],
    AUTHENTICATION_BACKENDS=["ciam_django.accounts.backends.CiamBackend"],
    AUTHLIB_OAUTH_CLIENTS={
        "ciam": {
            "client_id": "x",
            "client_secret": "y",
            "server_metadata_url": "https://x.invalid/.well-known/openid-configuration",
        }
    },
    LANGUAGES=[("en", "English")],
    ROOT_URLCONF="__main__",
)
django.setup()
from django.core.checks import run_checks
from django.urls import include, path
urlpatterns = [path("ciam/", include("ciam_django.urls"))]
print([message.id for message in run_checks(tags=["ciam_django"])])
"""

    assert run_program(program) == "['ciam_django.E014']\n"
