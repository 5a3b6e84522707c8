"""Add the package to an existing project, as docs/getting-started.md describes.

The project has a user model of its own, REST framework, allauth, ``i18n_patterns``, WhiteNoise,
Redis, a Content Security Policy and a base template.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import django
import pytest

from ciam_django.testing import FakeCiam
from tests.docs.blocks import DOCS, Block, blocks_in, take, taken
from tests.docs.new_project import SETTINGS, VIEWS
from tests.docs.projects import variables_for, write_project

pytestmark = pytest.mark.slow("processes of an existing project")

BASE_TEMPLATE: Final = take("recipes.md", "templates/base.html")
URLS: Final = take("getting-started.md", "shop/urls_with_languages.py")


def settings_of_the_section() -> list[Block]:
    """The blocks of settings in the section about existing projects."""
    text = (DOCS / "getting-started.md").read_text(encoding="utf-8")
    first = text.count("\n", 0, text.index("## An existing project"))
    last = text.count("\n", 0, text.index("## A project with an Authlib client of its own"))
    blocks = blocks_in(DOCS / "getting-started.md")
    return [block for block in blocks if block.is_settings and first < block.line < last]


SECTION: Final = settings_of_the_section()
taken.update(SECTION)

# The settings of the project before this package is added.
BEFORE: Final = """
AUTH_USER_MODEL = "people.User"
INSTALLED_APPS += ["people", "rest_framework"]
STATICFILES_DIRS = [BASE_DIR / "assets"]
ALLOWED_HOSTS = ["*"]
DEBUG = False
LOGIN_REDIRECT_URL = "/"
ROOT_URLCONF = "shop.urls_with_languages"
"""

MODELS: Final = """
import uuid
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models

class UserManager(BaseUserManager):
    pass

class User(AbstractBaseUser, PermissionsMixin):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    email = models.EmailField(unique=True)
    full_name = models.CharField(max_length=100, blank=True)
    is_staff = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    objects = UserManager()
    USERNAME_FIELD = EMAIL_FIELD = "email"
"""

# Sign in and fail with Django's test client, and print what the user gets.
PROGRAM: Final = """
import json, os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
import django
django.setup()
from django.contrib.auth import get_user_model
from django.core import checks
from django.core.management import call_command
from django.test import Client
from ciam_django.testing import FakeCiam

call_command("makemigrations", "people", verbosity=0)
call_command("migrate", verbosity=0)
call_command("collectstatic", interactive=False, verbosity=0)
told = {"checks": [str(message) for message in checks.run_checks()]}
client = Client(headers={"Accept": "text/html"})
page = client.get("/ciam/login/", secure=True)
told["login"] = page.content.decode()
told["policy"] = page["Content-Security-Policy"]
leave = client.post("/ciam/authorize/", {"next": "/"}, secure=True)
print(json.dumps({"leave": leave["Location"]}), flush=True)
callback = sys.stdin.readline().strip()
back = client.get(callback, secure=True)
told["back"] = [back.status_code, back.get("Location"), back.content.decode()]
user = get_user_model().objects.get()
told["user"] = [user.email, user.full_name, len(str(user.pk))]
failure = Client(headers={"Accept": "text/html"}).get("/ciam/callback/?code=a&state=b", secure=True)
told["failure"] = [failure.status_code, failure.content.decode()]
print(json.dumps(told))
"""


def test_an_existing_project_signs_users_in(tmp_path: Path, redis: Path) -> None:
    with FakeCiam() as fake:
        fake_url = fake.url
        fake.redirect_uris.add("https://testserver/ciam/callback/")
        # Django 6.0 has the policy itself; before, the project needs django-csp.
        other_policy = "csp.middleware.CSP" if django.VERSION >= (6, 0) else "SECURE_CSP"
        blocks = [block for block in SECTION if other_policy not in block.text]
        blocks = [
            block.with_text("http://127.0.0.1:8400", fake.url)
            if "http://127.0.0.1:8400" in block.text
            else block
            for block in blocks
        ]
        before = Block("", 0, "python", f"# shop/settings.py\n{BEFORE}")
        write_project(tmp_path, [SETTINGS, VIEWS, before, URLS, BASE_TEMPLATE, *blocks])
        files = {
            "people/__init__.py": "",
            "people/models.py": MODELS,
            "people/migrations/__init__.py": "",
            "assets/bootstrap.min.css": "",
            "program.py": PROGRAM,
        }
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text, encoding="utf-8")
        environment = {name: value for name, value in os.environ.items() if "DJANGO" not in name}
        environment |= variables_for([SETTINGS, *blocks], fake)
        environment |= {"REDIS_URL": f"unix://{redis}", "PYTHONPATH": f"{tmp_path}:{Path.cwd()}"}
        with subprocess.Popen(
            [sys.executable, "program.py"],
            cwd=tmp_path,
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdout
            leave = json.loads(process.stdout.readline() or "{}").get("leave")
            assert leave, "see the captured stderr"
            callback = fake.authorize(leave, username="li").removeprefix("https://testserver")
            output, _ = process.communicate(f"{callback}\n", timeout=120)

    told = json.loads(output)
    assert told["checks"] == []
    assert f"form-action 'self' https://*.aliyunidaas.com {fake_url}" in told["policy"]
    assert told["back"][:2] == [302, "/"], told["back"]
    assert told["user"] == ["li@example.com", "Li", 36]
    assert told["failure"][0] == 400
    for page in (told["login"], told["failure"][1]):
        assert 'class="container py-4"' in page
        # The manifest gives each file a name with a hash.
        assert "/static/ciam_django/ciam." in page
        assert "/static/ciam_django/ciam.css" not in page
