"""Test the logins and the README of the benchmarks. The tests do not measure times."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import benchmarks
from ciam_django.testing import FakeCiam

PROGRAM = """
import django
from django.test import override_settings

django.setup()
from benchmarks import logins

with override_settings(ROOT_URLCONF=logins.__name__):
    for name, case in logins.cases().items():
        case(1)
        print(name)
"""


@pytest.mark.slow("the logins of the benchmarks")
def test_all_logins_of_the_benchmarks_succeed() -> None:
    with FakeCiam(https=True) as fake:
        # In requests, these variables take precedence over the certificate of a session.
        ca_bundles = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
        environment = {name: value for name, value in os.environ.items() if name not in ca_bundles}
        environment["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
        environment["BENCHMARKS_CIAM"] = json.dumps({"ciam": fake.client("oidc")})
        result = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            check=False,
            env=environment,
            capture_output=True,
            text=True,
        )

    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 13


def test_the_readme_ends_with_the_reasons_for_missed_targets() -> None:
    folder = Path(benchmarks.__file__).parent
    reasons = (folder / "missed_targets.md").read_text(encoding="utf-8")

    assert (folder / "README.md").read_text(encoding="utf-8").endswith(f"\n\n{reasons}")
