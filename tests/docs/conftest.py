"""Fixtures of the tests of the documentation."""

from __future__ import annotations

import contextlib
import importlib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings
from django.urls import URLPattern, URLResolver

from ciam_django.testing import FakeCiam
from tests.docs.blocks import Block
from tests.docs.projects import running_project, variables_for


class Project:
    """A project that is made from code blocks, and signs users in at the fake CIAM."""

    def __init__(self, folder: Path, fake: FakeCiam, stack: contextlib.ExitStack) -> None:
        self.folder = folder
        self._fake = fake
        self._stack = stack

    def start(self, *blocks: Block, mode: str = "oidc", **replaced: Any) -> None:
        """Use the project until the end of the test; ``replaced`` replaces its settings.

        ``mode`` is ``oidc`` or ``ciam``.
        """
        # A busy machine can be slow.
        replaced.setdefault("CIAM_TIMEOUT", 30.0)
        variables = variables_for(blocks, self._fake, mode)
        self._stack.enter_context(running_project(self.folder, blocks, variables, **replaced))

    def module(self, name: str) -> Any:
        """Import a module of the project."""
        return importlib.import_module(name)

    def use_templates(self) -> None:
        """Let Django find the templates in the folder ``templates`` of the project."""
        templates = [{**settings.TEMPLATES[0], "DIRS": [self.folder / "templates"]}]
        self.change_settings(TEMPLATES=templates)

    def change_settings(self, **changed: Any) -> None:
        """Replace settings of the project until the end of the test."""
        self._stack.enter_context(override_settings(**changed))

    def use_urls(self, *patterns: URLPattern | URLResolver) -> None:
        """Replace the URLs of the project."""
        module = types.ModuleType("urls_of_the_test")
        module.urlpatterns = list(patterns)  # type: ignore[attr-defined]  # a module has any name
        self.change_settings(ROOT_URLCONF=module)


@pytest.fixture
def project(tmp_path: Path, fake_ciam: FakeCiam) -> Iterator[Project]:
    """A project without blocks, which a test starts."""
    with contextlib.ExitStack() as stack:
        yield Project(tmp_path, fake_ciam, stack)
