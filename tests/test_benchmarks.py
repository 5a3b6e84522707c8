"""The logins that benchmarks time still sign somebody in; how long it takes is not asked here."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from ciam_django.testing import FakeCiam

ONCE = """
import django
from django.test import override_settings

django.setup()
from benchmarks import logins

with override_settings(ROOT_URLCONF=logins.__name__):
    for name, case in logins.cases().items():
        case(1)
        print(name)
"""


def test_the_logins_that_are_timed_go_well() -> None:
    with FakeCiam(https=True) as fake:
        # requests would take these before the certificate that a session is told.
        others = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
        environment = {name: it for name, it in os.environ.items() if name not in others}
        environment["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
        environment["BENCHMARKS_CIAM"] = json.dumps({"ciam": fake.client("oidc")})
        found = subprocess.run(
            [sys.executable, "-c", ONCE],
            check=False,
            env=environment,
            capture_output=True,
            text=True,
        )

    assert found.returncode == 0, found.stderr
    assert len(found.stdout.splitlines()) == 9
