"""Time importing both entry points in a process that has imported Django and REST framework."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Final

from benchmarks.cases import Case, Row

ROWS = [Row("Importing both doors, over Django and REST framework", "doors", "nothing", 5, "ms")]

# The modules that a project has imported before its first request.
_BEFORE: Final = """
import time
import django
from django.conf import settings
apps = ["django.contrib.auth", "django.contrib.contenttypes", "rest_framework"]
settings.configure(INSTALLED_APPS=apps)
django.setup()
from django.core.wsgi import get_wsgi_application
import django.template.loader, django.template.backends.django
import rest_framework.views
get_wsgi_application()
"""
_TIMED: Final = """
began = time.process_time()
{}
print(time.process_time() - began)
"""
_ENTRY_POINTS: Final = "import ciam_django.middleware, ciam_django.drf"


def cases() -> Mapping[str, Case]:
    return {
        "doors": _process_case(_BEFORE + _TIMED.format(_ENTRY_POINTS)),
        "nothing": _process_case(_BEFORE + _TIMED.format("pass")),
    }


def profile_imports() -> str:
    """Return the slowest modules by ``-X importtime``, each without the modules that it imports."""
    program = (
        _BEFORE
        + "import sys\nprint('the entry points:', file=sys.stderr, flush=True)\n"
        + _ENTRY_POINTS
    )
    output = _run(program, "-X", "importtime").stderr.partition("the entry points:\n")[2]
    times = [line.removeprefix("import time:").split("|") for line in output.splitlines()]
    slowest = sorted(times, key=lambda row: -int(row[0]))[:12]
    return "\n".join([" in µs  module", *(f"{int(row[0]):6}  {row[2].strip()}" for row in slowest)])


def _process_case(program: str) -> Case:
    return lambda loops: sum(float(_run(program).stdout) for _ in range(loops))


def _run(program: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-c", program],
        # Python may write compiled files, because an installed package has them.
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""},
        check=True,
        capture_output=True,
        text=True,
    )
