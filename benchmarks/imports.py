"""Time the imports of a project's start, in a process with Django and REST framework."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Final

from benchmarks.cases import Case, Row, Seconds

ROWS = [
    Row("Importing both entry points, over Django and REST framework", "doors", "nothing", 3, "ms"),
    Row("What the first error imports, over both entry points", "first error", "doors", None, "ms"),
    Row(
        "Starting with `ciam_django.urls` and accounts, over Authlib's Django client alone; both "
        "without the time of Django and REST framework",
        "urls",
        "Authlib",
        1.2,
        over="nothing",
    ),
    Row(
        "… also with all that a first sign-in imports later",
        "first sign-in",
        "Authlib",
        None,
        over="nothing",
    ),
]

# The modules that a project has imported before its first request.
_BEFORE: Final = """
import time
import django
from django.conf import settings
names = "auth", "contenttypes", "sessions"
apps = [*("django.contrib." + name for name in names), "rest_framework"]
settings.configure(INSTALLED_APPS=apps, ROOT_URLCONF="django.contrib.auth.urls")
django.setup()
from django.core.wsgi import get_wsgi_application
import django.template.loader, django.template.backends.django
import django.contrib.sessions.models, django.contrib.auth.views
import rest_framework.views
get_wsgi_application()
"""
_TIMED: Final = """
began = time.process_time(), time.perf_counter()
{}
print(time.process_time() - began[0], time.perf_counter() - began[1])
"""
_DOORS: Final = "import ciam_django.middleware, ciam_django.drf"
_URLS: Final = """
settings.INSTALLED_APPS += ["ciam_django", "ciam_django.accounts"]
from django.apps import apps
apps.set_installed_apps(settings.INSTALLED_APPS)
import ciam_django.middleware, ciam_django.accounts.middleware, ciam_django.urls
"""
# The statements that a case adds to the start of a project.
_STATEMENTS: Final = {
    "doors": _DOORS,
    "first error": f"""{_DOORS}
import ciam_django.answers, ciam_django.reporting, ciam_django.responses, ciam_django.drf.scopes""",
    "urls": _URLS,
    "first sign-in": f"{_URLS}import ciam_django.client.oauth, phonenumbers",
    "Authlib": "from authlib.integrations.django_client import OAuth",
    "nothing": "pass",
}


def cases() -> Mapping[str, Case]:
    return {
        name: _process_case(_BEFORE + _TIMED.format(statement))
        for name, statement in _STATEMENTS.items()
    }


def profile_imports(name: str) -> str:
    """Return the slowest modules by ``-X importtime``, each without the modules that it imports."""
    program = (
        _BEFORE
        + "import sys\nprint('the case:', file=sys.stderr, flush=True)\n"
        + _STATEMENTS[name]
    )
    output = _run(program, "-X", "importtime").stderr.partition("the case:\n")[2]
    times = [line.removeprefix("import time:").split("|") for line in output.splitlines()]
    slowest = sorted(times, key=lambda row: -int(row[0]))[:12]
    return "\n".join([" in µs  module", *(f"{int(row[0]):6}  {row[2].strip()}" for row in slowest)])


def _process_case(program: str) -> Case:
    def case(loops: int) -> Seconds:
        seconds = Seconds(0.0, 0.0)
        for _ in range(loops):
            cpu, wall = map(float, _run(program).stdout.split())
            seconds = seconds.plus(Seconds(cpu, wall))
        return seconds

    return case


def _run(program: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-c", program],
        # Python may write compiled files, because an installed package has them.
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""},
        check=True,
        capture_output=True,
        text=True,
    )
