"""The table of the adapters."""

from __future__ import annotations

import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path
from typing import Final

import pytest
from pytest_django.fixtures import Settings

from ciam_django.conf import SETTINGS
from ciam_django.metrics.adapters import ADAPTERS, adapter_names
from tests.rows import for_each_row

ROOT: Final = Path(__file__).parents[2]


def test_the_setting_allows_each_adapter_and_each_adapter_has_an_extra() -> None:
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")

    assert SETTINGS["CIAM_METRICS"].allowed.items.names == tuple(ADAPTERS)  # type: ignore[attr-defined]  # a list of names
    assert set(ADAPTERS) <= set(parser["options.extras_require"])


@for_each_row(
    "setting, names",
    [
        ([], []),
        (["prometheus", "otel"], ["otel", "prometheus"]),
        (("otel", "datadog"), ["otel"]),
        ("otel", []),
        (None, []),
        ([["otel"]], []),
    ],
)
def test_only_names_of_a_list_count(settings: Settings, setting: object, names: list[str]) -> None:
    settings.CIAM_METRICS = setting

    assert adapter_names() == names


@pytest.mark.slow("processes of bare projects")
def test_a_project_without_the_setting_imports_no_metrics_and_needs_no_package() -> None:
    # None in sys.modules makes an import fail.
    program = """
import sys
sys.modules["opentelemetry"] = sys.modules["prometheus_client"] = None
import django
from django.conf import settings
settings.configure(INSTALLED_APPS=["ciam_django"], DATABASES={})
django.setup()
import ciam_django.middleware
from ciam_django.events import CALL_FINISHED, SIGNED_IN, record
record(SIGNED_IN)
loaded = [name for name in sys.modules if name.startswith("ciam_django.metrics.")]
assert not loaded, loaded
assert not CALL_FINISHED.observers
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=ROOT, check=True)
