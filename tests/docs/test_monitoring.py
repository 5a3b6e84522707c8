"""Run the code of docs/monitoring.md, and compare its tables with the instruments."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest
from django.test import RequestFactory

from ciam_django.events import CALLS_FULL, record
from ciam_django.metrics.table import span_of
from ciam_django.testing import FakeCiam
from tests.docs.blocks import DOCS, take
from tests.docs.conftest import Project
from tests.docs.new_project import NEW_PROJECT
from tests.metrics.reference import updated_page

pytestmark = pytest.mark.django_db

PAGE: Final = "monitoring.md"
VIEW: Final = take(PAGE, "shop/monitoring.py")
GUNICORN: Final = take(PAGE, "shop/gunicorn.conf.py")
TEXT: Final = (DOCS / PAGE).read_text(encoding="utf-8")


def test_the_tables_of_the_page_are_those_of_the_package() -> None:
    """Run ``python -m tests.metrics.reference`` after a change of an instrument or of an alert."""
    assert updated_page(TEXT) == TEXT


def test_the_page_has_each_attribute_of_a_span() -> None:
    table = TEXT.partition("| Attribute |")[2].partition("\n\n")[0]
    documented = re.findall(r"`((?:http|server|error|ciam)\.[\w.]+)`", table)
    span = span_of(
        {
            "endpoint": "token",
            "http_method": "POST",
            "server_address": "login.example.com",
            "server_port": 443,
            "http_status": 500,
            "row": "timeout",
        }
    )

    assert sorted(documented) == sorted(span.attributes)


def test_the_view_shows_the_metrics_of_one_process_or_of_all_processes(
    project: Project, fake_ciam: FakeCiam, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.start(*NEW_PROJECT, VIEW, CIAM_METRICS=["prometheus"])
    view = project.module("shop.monitoring").metrics
    record(CALLS_FULL, group="management")
    request = RequestFactory().get("/metrics/")
    sample = 'ciam_refused_calls_total{ciam_group="management"}'

    response = view(request)
    assert response["Content-Type"].startswith("text/plain")
    assert sample in response.content.decode()

    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    assert sample not in view(request).content.decode()


def test_the_hook_of_gunicorn_forgets_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    ended, running = (tmp_path / f"gauge_livemostrecent_{pid}.db" for pid in (17, 18))
    ended.touch()
    running.touch()
    names: dict[str, object] = {}
    exec(GUNICORN.text, names)  # noqa: S102  (the code of the page)
    hook = names["child_exit"]

    class Worker:
        pid = 17

    assert callable(hook)
    hook(None, Worker)
    assert not ended.exists()
    assert running.exists()
