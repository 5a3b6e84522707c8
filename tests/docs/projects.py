"""Make a project of ``startproject`` from code blocks, and run it in the process of the tests."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from unittest import mock

from django.apps import apps
from django.conf import global_settings
from django.core.checks import CheckMessage, run_checks
from django.core.management import call_command
from django.test import override_settings

from ciam_django.testing import FakeCiam
from tests import settings as test_settings
from tests.docs.blocks import Block

# These settings of the tests stay. The receivers of django-axes read AXES_ENABLED in each project.
_KEPT: Final = {
    "AXES_ENABLED",
    "DATABASES",
    "SECRET_KEY",
    "WSGI_APPLICATION",
}
_PACKAGE: Final = "shop"
_VARIABLE: Final = re.compile(r'os\.environ\["(\w+)"\]')
# Environment variable of the documentation -> the member of the OAuth client.
_CLIENT_VARIABLES: Final = {
    "IDAAS_CLIENT_ID": "client_id",
    "IDAAS_CLIENT_SECRET": "client_secret",
    "IDAAS_METADATA_URL": "server_metadata_url",
    "IDAAS_AUTHORIZE_URL": "authorize_url",
    "IDAAS_TOKEN_URL": "access_token_url",
    "IDAAS_API_URL": "api_base_url",
}


@functools.cache
def startproject_files() -> Mapping[str, str]:
    """Name of a file -> its text, as ``django-admin startproject shop`` writes the file."""
    with tempfile.TemporaryDirectory() as folder:
        call_command("startproject", _PACKAGE, folder)
        return {
            str(path.relative_to(folder)): path.read_text(encoding="utf-8")
            for path in Path(folder).rglob("*.py")
        }


def variables_for(blocks: Sequence[Block], fake: FakeCiam, mode: str = "oidc") -> dict[str, str]:
    """The environment variables that the blocks read; the client is that of the fake CIAM."""
    text = "".join(block.text for block in blocks)
    client = fake.client(mode)
    values = {name: client[key] for name, key in _CLIENT_VARIABLES.items() if key in client}
    return {name: f"value-of-{name}" for name in _VARIABLE.findall(text)} | values


def write_project(folder: Path, blocks: Sequence[Block]) -> None:
    """Write the files of ``startproject`` and the blocks.

    A block is added to the settings, and replaces any other file of ``startproject``. The next
    block with the name of this file is added to the file.
    """
    files = dict(startproject_files())
    written = {"shop/settings.py"}
    for block in blocks:
        name = "shop/settings.py" if block.is_settings else block.file
        before = files.get(name, "") if name in written else ""
        files[name] = f"{before}\n{block.text}" if before else block.text
        written.add(name)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


@contextlib.contextmanager
def running_project(
    folder: Path, blocks: Sequence[Block], variables: Mapping[str, str], **settings: Any
) -> Iterator[None]:
    """Write the project into an empty folder, and use its settings and modules in this process.

    ``settings`` replace the settings of the project.
    """
    write_project(folder, blocks)
    with mock.patch.dict(os.environ, variables), _importable(folder):
        module = importlib.import_module(f"{_PACKAGE}.settings")
        values = {
            name: value
            for name, value in vars(module).items()
            if name.isupper() and name not in _KEPT
        }
        # Django's test runner adds this host, too.
        values["ALLOWED_HOSTS"] = [*values["ALLOWED_HOSTS"], "testserver"]
        # A setting of the tests that the project lacks has Django's default, or is an empty dict.
        # Without the setting, REST framework would not read its settings again.
        names = {name for name in vars(test_settings) if name.isupper()} - _KEPT
        defaults = {name: value for name, value in vars(global_settings).items() if name in names}
        empty: dict[str, Any] = {name: {} for name in names - set(defaults)}
        with override_settings(**{**empty, **defaults, **values, **settings}):
            yield


def check_messages(**options: Any) -> list[CheckMessage]:
    """The messages of ``manage.py check``, without those of packages that only the tests have."""
    messages = run_checks(**options)
    if apps.is_installed("axes"):
        return messages
    return [message for message in messages if not str(message.id).startswith("axes.")]


@contextlib.contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let the modules of the folder be imported, and forget them afterwards."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder)):
                del sys.modules[name]
