"""Settings are read at use, with our defaults, and anew when one changes."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from typing import Any, get_type_hints

import pytest
from django.conf import settings as django_settings
from django.test import override_settings

from ciam_django import conf as module
from ciam_django.conf import Conf, cached_until_settings_change, clear_settings_caches, conf
from tests.rows import for_each_row

DEFAULTS: Mapping[str, Any] = {
    "CIAM_ERROR_OVERRIDES": {},
    "CIAM_GENERIC_ERRORS": True,
    "CIAM_UPSTREAM_STATUS": 503,
    "CIAM_ACTION_URLS": {},
    "CIAM_SUPPORT_URL": "",
    "CIAM_RETRY_AFTER": 60,
    "CIAM_TIMEOUT": 10.0,
    "CIAM_HANDLE_AUTHLIB_ERRORS": True,
    "CIAM_DRF_FALLBACK_HANDLER": "rest_framework.views.exception_handler",
    "CIAM_CALLBACK_URL": "",
    "CIAM_PROBLEM_TYPE_URL": "",
    "CIAM_BASE_TEMPLATE": "",
}


def has_default(name: str) -> bool:
    return bool(getattr(conf, name) == getattr(Conf, name))


@for_each_row("name", DEFAULTS)
def test_a_project_that_sets_nothing_has_the_default(name: str) -> None:
    assert not hasattr(django_settings, name)
    assert getattr(conf, name) == DEFAULTS[name]


def test_the_names_are_those_of_the_settings() -> None:
    assert set(DEFAULTS) <= set(conf.setting_names())
    assert all(has_default(name) for name in conf.setting_names())


@for_each_row("name", conf.setting_names())
def test_a_setting_has_a_type_and_one_sentence(name: str) -> None:
    body = ast.parse(inspect.getsource(Conf)).body[0]
    assert isinstance(body, ast.ClassDef)
    following = dict(zip(body.body, body.body[1:], strict=False))
    (place,) = [
        node
        for node in body.body
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name
    ]

    assert name in get_type_hints(Conf)
    said = following[place]
    assert isinstance(said, ast.Expr)
    assert isinstance(said.value, ast.Constant)
    assert str(said.value.value).endswith(".")


def test_a_setting_overridden_in_a_test_works_at_once_and_only_there() -> None:
    assert conf.CIAM_RETRY_AFTER == 60

    with override_settings(CIAM_RETRY_AFTER=5):
        assert conf.CIAM_RETRY_AFTER == 5
    assert conf.CIAM_RETRY_AFTER == 60


def test_a_value_is_remembered_until_it_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    assert conf.CIAM_TIMEOUT == 10.0
    # As no project does it: without the signal.
    monkeypatch.setattr(django_settings, "CIAM_TIMEOUT", 3.0, raising=False)
    before = conf.CIAM_TIMEOUT
    clear_settings_caches()
    after = conf.CIAM_TIMEOUT
    monkeypatch.undo()
    clear_settings_caches()

    assert (before, after) == (10.0, 3.0)


def test_what_is_worked_out_of_settings_is_worked_out_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    # Our own list of what to forget, so that this test leaves none of its own behind.
    monkeypatch.setattr(module, "_cache_clearers", [])
    calls: list[int] = []

    @cached_until_settings_change
    def squared(number: int) -> int:
        calls.append(number)
        return number * number

    assert [squared(3), squared(3)] == [9, 9]
    clear_settings_caches()
    assert squared(3) == 9
    assert calls == [3, 3]


def test_an_unknown_name_is_no_setting() -> None:
    with pytest.raises(AttributeError, match="CIAM_TIMEUOT"):
        getattr(conf, "CIAM_TIMEUOT")  # noqa: B009  (mypy would not let it pass otherwise)
