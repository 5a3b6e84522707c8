"""Test the process that adds keys to the cache for ``ciam_doctor``."""

from __future__ import annotations

import io
import json
import runpy
import sys

import pytest
from django.conf import LazySettings

from ciam_django.doctor import cache_process


def test_a_process_writes_which_keys_it_has_added_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # ``ciam_doctor`` starts a new process, whose settings are not configured yet.
    task = json.dumps({"settings": {}, "prefix": "tests.process", "keys": 3})
    for is_first in (True, False):
        monkeypatch.setattr("django.conf.settings", LazySettings())
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"{task}\n\n"))
        runpy.run_path(cache_process.__file__, run_name="__main__")
        ready, results = capsys.readouterr().out.splitlines()

        assert f"{ready}\n" == cache_process.READY
        assert json.loads(results) == [is_first] * 3
