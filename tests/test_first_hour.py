"""Set up projects as their developers do: with the README, and with the lines of ``ciam_setup``."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
from django.core.checks import run_checks
from django.test import override_settings

from ciam_django import __version__
from ciam_django.checks.missing_lines import CLIENT_LINES, INCLUDE
from ciam_django.testing import FakeCiam

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FAKE_URL = "http://127.0.0.1:8400"
LOCKED = "Operation.Failure.User.Locked"
LOCKED_IN_CHINESE = "该账号已被锁定，请联系客服解锁。"
NO_VARIABLES: Mapping[str, str] = {}
FIXTURES = "ciam_django.testing.fixtures"


# --- The README -------------------------------------------------------------------------------


def step_of_readme(number: int) -> str:
    """The text of a numbered step of "Put it in"."""
    section = README.partition("## Put it in\n")[2].partition("\n## ")[0]
    match = re.search(rf"^{number}\. (.*?)(?=^\d\. |\Z)", section, re.MULTILINE | re.DOTALL)
    assert match
    return match[1]


def block_of_step(number: int) -> str:
    """The only code block of a numbered step."""
    (block,) = re.findall(
        r"^   ```\w*\n(.*?)^   ```$", step_of_readme(number), re.MULTILINE | re.DOTALL
    )
    return textwrap.dedent(block)


def block_of_section(heading: str) -> str:
    """The first block of Python code of a section."""
    match = re.search(rf"## {heading}\n.*?```python\n(.*?)```", README, re.DOTALL)
    assert match
    return textwrap.dedent(match[1])


# --- A project as processes -------------------------------------------------------------------


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables of a developer's shell, in which ``python`` is this Python."""
    kept = {name: value for name, value in os.environ.items() if "DJANGO" not in name}
    bin_folder = str(Path(sys.executable).parent)
    return {
        **kept,
        "PATH": os.pathsep.join([bin_folder, kept.get("PATH", "")]),
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "error",
        **variables,
    }


def run(
    command: str, folder: Path, variables: Mapping[str, str] = NO_VARIABLES, status: int = 0
) -> str:
    """Run a command of a shell in a folder, and return its output."""
    result = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment(variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == status, result.stdout
    return result.stdout


@contextlib.contextmanager
def running_site(folder: Path, variables: Mapping[str, str] = NO_VARIABLES) -> Iterator[str]:
    """Run ``runserver``, and yield the address of the site."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "manage.py", "runserver", "--noreload", str(port)]
    log = (folder / "runserver.log").open("w")
    with (
        log,
        subprocess.Popen(
            command, cwd=folder, env=environment(variables), stdout=log, stderr=log
        ) as server,
    ):
        try:
            until = time.monotonic() + 60
            while not is_listening(port):
                assert server.poll() is None, (folder / "runserver.log").read_text()
                assert time.monotonic() < until
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def is_listening(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def sign_in(site: str, fake: FakeCiam, username: str, **headers: str) -> requests.Response:
    """Sign in as a user does, beginning at the login page; return the last response."""
    with requests.Session() as browser:
        browser.headers.update({"Accept": "text/html", "Accept-Language": "zh-CN"})
        page = browser.get(f"{site}/ciam/login/")
        assert page.status_code == 200, page.text
        (token,) = set(re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text))
        form = {"csrfmiddlewaretoken": token}
        leave = browser.post(f"{site}/ciam/authorize/", form, allow_redirects=False)
        assert leave.status_code == 302, leave.text
        callback = fake.authorize(leave.headers["Location"], username=username)
        return browser.get(callback, headers=headers)


def check_failures(site: str, fake: FakeCiam) -> str:
    """Fail to sign in with a browser and with a front end, in Chinese; return the page."""
    page = sign_in(site, fake, f"fail:{LOCKED}")
    assert page.status_code == 403
    assert LOCKED_IN_CHINESE in page.text
    assert page.headers["Content-Language"] == "zh-hans"
    (stylesheet,) = re.findall(r'<link rel="stylesheet" href="([^"]*ciam[^"]*)"', page.text)
    assert ".ciam-card" in requests.get(site + stylesheet, timeout=10).text

    body = sign_in(site, fake, f"fail:{LOCKED}", Accept="application/json").json()
    assert (body["status"], body["code"], body["detail"]) == (403, LOCKED, LOCKED_IN_CHINESE)
    return page.text


# --- The lines of ciam_setup -------------------------------------------------------------------

# A place that ciam_setup prints, and the lines below the place.
PRINTED = re.compile(r"^(/\S+?)(?::(\d+))?: (.+)\n((?:    .*\n)+)", re.MULTILINE)


def add_printed_lines(output: str) -> None:
    """Add each printed line to its file, as a developer does who follows the printed places."""
    texts: dict[Path, list[str]] = {}
    additions = []
    for name, number, place, block in PRINTED.findall(output):
        path = Path(name)
        texts.setdefault(path, path.read_text(encoding="utf-8").splitlines(keepends=True))
        index = int(number or len(texts[path]) + 1) - 1
        additions.append((path, index, place, textwrap.dedent(block)))
    # The last line of a file first, so that the numbers of the lines before it stay right.
    for path, index, place, block in sorted(additions, key=lambda each: each[1], reverse=True):
        lines = texts[path]
        if "move it" in place:
            # The line goes after its new neighbour, and the old line goes away.
            lines.insert(index + 1, textwrap.indent(block, " " * 4))
            lines.remove(next(each for each in lines if each.strip() == block.strip()))
        elif "in place of" in place:
            lines[index] = block
        elif ", after" in place or "first entry" in place:
            lines.insert(index + 1, block)
        else:
            lines.insert(index, block)
    for path, lines in texts.items():
        path.write_text("".join(lines), encoding="utf-8")


# --- A new project ----------------------------------------------------------------------------


@pytest.mark.slow("projects of newcomers")
def test_a_new_project_with_the_lines_of_the_readme_signs_users_in(
    fake_ciam: FakeCiam, tmp_path: Path
) -> None:
    (start,) = re.findall(r"`(django-admin startproject [^`]+)`", README)
    run(start, tmp_path)
    for name, number in (("settings", 2), ("urls", 3)):
        block = block_of_step(number).replace(FAKE_URL, fake_ciam.url)
        with (tmp_path / f"mysite/{name}.py").open("a", encoding="utf-8") as file:
            file.write(f"\n{block}")

    output = run(block_of_step(4), tmp_path)

    assert "No line is missing.\nNext: python manage.py check\n" in output
    assert "System check identified no issues (0 silenced)." in output
    with running_site(tmp_path) as site:
        assert sign_in(site, fake_ciam, "li").text.startswith("Signed in: ")
        check_failures(site, fake_ciam)
        ((header, value, url),) = re.findall(r'`curl -H "(.+?): (.+?)" "(.+?)"`', README)
        url = url.replace("http://127.0.0.1:8000", site)
        body = requests.get(url, headers={header: value}, timeout=60).json()
        assert (body["status"], body["title"]) == (400, "登录已中断")
    assert f"code={LOCKED}" in (tmp_path / "runserver.log").read_text(encoding="utf-8")

    (tmp_path / "test_sign_in.py").write_text(
        block_of_section("Test your project against the fake")
    )
    (pytest_command,) = re.findall(r"`(pytest --ds=[^`]+)`", README)
    values = [entry.value for entry in importlib.metadata.entry_points(group="pytest11")]
    options = "" if FIXTURES in values else f" -p {FIXTURES}"
    assert "1 passed" in run(pytest_command + options, tmp_path)


def test_the_readme_adds_the_lines_that_ciam_setup_prints() -> None:
    names: dict[str, Any] = {}
    exec(CLIENT_LINES, names)  # noqa: S102  (our own text)
    settings: dict[str, Any] = {"INSTALLED_APPS": [], "MIDDLEWARE": [""] * 3}
    exec(block_of_step(2), settings)  # noqa: S102  (our own text)

    assert settings["AUTHLIB_OAUTH_CLIENTS"] == names["AUTHLIB_OAUTH_CLIENTS"]
    assert f"{INCLUDE}," in block_of_step(3)


def test_the_first_override_of_the_readme_has_no_message_of_the_checks() -> None:
    names: dict[str, object] = {}
    exec(block_of_section("Change a text"), names)  # noqa: S102  (our own text)

    with override_settings(CIAM_ERROR_OVERRIDES=names["CIAM_ERROR_OVERRIDES"]):
        messages = run_checks(tags=["ciam_django"])

    assert [message for message in messages if "CIAM_ERROR_OVERRIDES" in message.msg] == []


def test_the_readme_names_the_wheel_of_this_version() -> None:
    assert f"ciam_django-{__version__}-py3-none-any.whl" in step_of_readme(1)


# --- An existing project ----------------------------------------------------------------------

# A project with split settings, values of the environment, users with an email address and a UUID,
# REST framework, URLs with a language prefix, and a base template of its own.
SHOP = {
    "manage.py": """\
        import os, sys
        from django.core.management import execute_from_command_line

        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.dev")
        execute_from_command_line(sys.argv)
    """,
    "config/__init__.py": "",
    "config/settings/__init__.py": "",
    "config/settings/base.py": """\
        import os
        from pathlib import Path

        BASE_DIR = Path(__file__).resolve().parents[2]
        SECRET_KEY = os.environ["SHOP_SECRET_KEY"]
        DJANGO_APPS = [
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            "django.contrib.staticfiles",
        ]
        INSTALLED_APPS = [
            *DJANGO_APPS,
            "rest_framework",
            "shop",
            "ciam_django",
        ]
        MIDDLEWARE = [
            "django.middleware.security.SecurityMiddleware",
            "django.middleware.locale.LocaleMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ]
        ROOT_URLCONF = "config.urls"
        TEMPLATES = [
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {"context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                ]},
            },
        ]
        DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db"}}
        DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
        AUTH_USER_MODEL = "shop.Customer"
        AUTHENTICATION_BACKENDS = [
            "django.contrib.auth.backends.ModelBackend",
        ]
        LANGUAGE_CODE = os.environ.get("SHOP_LANGUAGE", "en")
        LANGUAGES = [
            ("en", "English"),
            ("zh-cn", "简体中文"),
        ]
        LOGIN_REDIRECT_URL = "home"
        STATIC_URL = "static/"
        REST_FRAMEWORK = {
            "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
        }
        CIAM_BASE_TEMPLATE = "shop/ciam.html"
    """,
    "config/settings/dev.py": """\
        from .base import *

        DEBUG = True
        MIDDLEWARE += ["shop.views.shop_middleware"]
        LOGGING = {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"console": {"class": "logging.StreamHandler"}},
            "loggers": {
                "django.request": {"handlers": ["console"]},
            },
        }
    """,
    "config/urls.py": """\
        from django.conf.urls.i18n import i18n_patterns
        from django.urls import path

        from shop import views

        urlpatterns = i18n_patterns(
            path("", views.home, name="home"),
        )
    """,
    "shop/__init__.py": "",
    "shop/migrations/__init__.py": "",
    "shop/models.py": """\
        import uuid
        from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
        from django.contrib.auth.models import PermissionsMixin
        from django.db import models

        class Customer(AbstractBaseUser, PermissionsMixin):
            id = models.UUIDField(primary_key=True, default=uuid.uuid4)
            email = models.EmailField(unique=True)
            is_active = models.BooleanField(default=True)
            objects = BaseUserManager()
            USERNAME_FIELD = "email"
    """,
    "shop/views.py": """\
        from django.http import HttpResponse

        def home(request):
            return HttpResponse(f"Shop of {request.user.email or request.user.pk}")

        def shop_middleware(get_response):
            return get_response
    """,
    "shop/templates/shop/base.html": """\
        <!DOCTYPE html>
        <html><body class="shop">{% block main %}{% endblock %}</body></html>
    """,
    "shop/templates/shop/ciam.html": """\
        {% extends "shop/base.html" %}
        {% block main %}{% block content %}{% endblock %}{% endblock %}
    """,
}


@pytest.mark.slow("projects of newcomers")
def test_an_existing_project_with_the_lines_of_ciam_setup_signs_users_in(
    fake_ciam: FakeCiam, tmp_path: Path
) -> None:
    for name, text in SHOP.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
    secret = {"SHOP_SECRET_KEY": "for tests only"}
    run("python manage.py makemigrations -v 0 shop", tmp_path, secret)

    output = run("python manage.py ciam_setup --check", tmp_path, secret, status=1)
    # The command changes no file, and prints the same lines without --check.
    assert run("python manage.py ciam_setup", tmp_path, secret) == output
    add_printed_lines(output.replace(FAKE_URL, fake_ciam.url))
    output = run("python manage.py ciam_setup --check", tmp_path, secret, status=1)
    assert "Missing lines: 1." in output, output
    run("python manage.py migrate", tmp_path, secret)
    output = run("python manage.py ciam_setup --check", tmp_path, secret)

    assert output == "No line is missing.\nNext: python manage.py check\n"
    checked = run("python manage.py check", tmp_path, secret)
    assert "System check identified no issues (0 silenced)." in checked
    with running_site(tmp_path, secret) as site:
        assert sign_in(site, fake_ciam, "li").text.startswith("Shop of ")
        assert '<body class="shop">' in check_failures(site, fake_ciam)
