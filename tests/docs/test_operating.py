"""Run the code of docs/operating.md, and compare its log line with a real one."""

from __future__ import annotations

import io
import json
import logging
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from logging.config import dictConfig
from pathlib import Path
from typing import Final

import pytest
from django.conf import settings
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client

from benchmarks.bad_day import COLUMNS
from ciam_django.signals import login_failed, unknown_code
from ciam_django.testing import FakeCiam
from tests.browser import Browser
from tests.caches import SHARED_CACHE
from tests.docs.blocks import DOCS, Block, take, take_all
from tests.docs.conftest import Project
from tests.docs.new_project import NEW_PROJECT
from tests.docs.projects import check_messages
from tests.docs.test_blocks import check_command
from tests.silent_ciam import SERVERS

pytestmark = pytest.mark.django_db

PAGE: Final = "operating.md"
DEPLOYED, JSON_LOGGING, PLAIN_LOGGING = (
    take(PAGE, "shop/settings.py", index) for index in range(3)
)
METRICS: Final = take(PAGE, "shop/metrics.py")
SERVICE: Final = take(PAGE, "/etc/systemd/system/shop-clear.service")
TIMER: Final = take(PAGE, "/etc/systemd/system/shop-clear.timer")
LOG_LINE, EXPLANATION = take_all(PAGE, "text")
HEALTH, JSON_LINE = take_all(PAGE, "json")
(LOAD_BALANCER,) = take_all(PAGE, "none")
PROXIES: Final = [*take_all(PAGE, "nginx"), *take_all("recipes.md", "nginx")]


def test_the_deployed_project_passes_the_checks_of_a_deployment(project: Project) -> None:
    # A check of a deployment refuses the fake CIAM.
    tenant = "https://shop.login.aliyunidaas.com"
    client = {
        "client_id": "app_mxx4",
        "client_secret": "CSKZ7q9",
        "api_base_url": "https://shop.api.aliyunidaas.com",
        "server_metadata_url": f"{tenant}/oidc/app_mxx4/.well-known/openid-configuration",
    }
    project.start(*NEW_PROJECT, DEPLOYED, AUTHLIB_OAUTH_CLIENTS={"ciam": client})

    ours = [
        message
        for message in check_messages(include_deployment_checks=True)
        if str(message.id).startswith("ciam_django.")
    ]

    assert ours == []


def test_the_documented_log_line_is_a_real_one(
    project: Project, fake_ciam: FakeCiam, caplog: pytest.LogCaptureFixture
) -> None:
    project.start(*NEW_PROJECT)
    caplog.set_level(logging.INFO, "ciam_django")
    request_id = "1656572265429$49b433a9"
    fake_ciam.fail("token", code="Operation.Failure.User.Locked", status=500, request_id=request_id)

    Browser(fake_ciam).sign_in("li")

    assert [record.getMessage() for record in caplog.records] == [LOG_LINE.text.strip()]


def test_the_documented_explanation_is_a_real_one(project: Project, fake_ciam: FakeCiam) -> None:
    project.start(*NEW_PROJECT, CIAM_LOGIN_METHODS=["hosted"])
    project.change_settings(CACHES=SHARED_CACHE)
    cache.clear()
    request_id = "1656572265429$49b433a9"
    fake_ciam.fail("token", code="Operation.Failure.User.Locked", request_id=request_id)
    Browser(fake_ciam).sign_in("li")
    out = io.StringIO()
    call_command("ciam_errors", "explain", request_id, stdout=out)

    written, documented = (
        re.sub(r"at 20\d\d-.+ UTC:|(?<=sign_in             )[0-9a-f]+", "…", text)
        for text in (out.getvalue(), EXPLANATION.text)
    )
    assert written.strip() == documented.strip()


TRACE_ID: Final = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def logger_of_a_project() -> Iterator[logging.Logger]:
    """The logger of the package, without the handlers and the level that the test adds."""
    logger = logging.getLogger("ciam_django")
    yield logger
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    logger.setLevel(logging.NOTSET)


def test_a_line_as_json_has_the_documented_fields(
    project: Project,
    fake_ciam: FakeCiam,
    logger_of_a_project: logging.Logger,
    capsys: pytest.CaptureFixture[str],
    django_capture_on_commit_callbacks: Callable[..., AbstractContextManager[object]],
) -> None:
    project.start(*NEW_PROJECT, JSON_LOGGING)
    dictConfig(settings.LOGGING)

    with django_capture_on_commit_callbacks(execute=True):
        traceparent = f"00-{TRACE_ID}-00f067aa0ba902b7-01"
        Browser(fake_ciam).sign_in("li", traceparent=traceparent)

    (line,) = capsys.readouterr().err.splitlines()
    written, documented = json.loads(line), json.loads(JSON_LINE.text)
    random = {"asctime": "2026-", "ciam_sign_in": "9f86", "ciam_ms": 184}
    assert set(written) == set(documented)
    for name, value in written.items():
        if name in random:
            assert type(value) is type(documented[name])
        else:
            assert (name, value) == (name, documented[name])


def test_a_line_of_a_plain_formatter_has_the_id_of_the_sign_in(
    project: Project,
    fake_ciam: FakeCiam,
    logger_of_a_project: logging.Logger,
    capsys: pytest.CaptureFixture[str],
) -> None:
    project.start(*NEW_PROJECT, JSON_LOGGING, PLAIN_LOGGING)
    project.change_settings(CIAM_LOGIN_METHODS=["hosted"])
    configuration = settings.LOGGING
    configuration["handlers"]["console"]["formatter"] = "plain"
    dictConfig(configuration)

    fake_ciam.fail("token", code="Operation.Failure.User.Locked")
    Browser(fake_ciam).sign_in("li")
    logger_of_a_project.info("A line of another package.")

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2, lines
    failure, other = lines
    assert re.fullmatch(r"INFO Sign-in failure: .* sign_in=[0-9a-f]{16}", failure)
    assert other == "INFO A line of another package. sign_in=-"


def test_the_page_explains_each_field_of_the_log_line() -> None:
    text = (DOCS / PAGE).read_text(encoding="utf-8")
    explained = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    fields = re.findall(r"(\w+)=", LOG_LINE.text)

    assert [name for name in explained if name in fields] == fields
    assert set(explained) - set(fields) == {"upstream_request_id", "reason"}


def test_the_receivers_count_failures_and_unknown_codes(
    project: Project, fake_ciam: FakeCiam
) -> None:
    project.start(*NEW_PROJECT, METRICS)
    metrics = project.module("shop.metrics")

    for code in ("Operation.Failure.User.Locked", "Operation.Failure.Quite.New"):
        Browser(fake_ciam).sign_in(f"fail:{code}")

    assert sum(metrics.failures.values()) == 2
    assert metrics.failures["account_state", "token"] == 1
    assert metrics.unknown_codes == {"Operation.Failure.Quite.New"}
    assert login_failed.disconnect(metrics.count)
    assert unknown_code.disconnect(metrics.remember)


def test_the_table_of_a_bad_day_has_the_rows_and_columns_of_the_measurement() -> None:
    text = (DOCS / PAGE).read_text(encoding="utf-8")
    table = text[text.index("| server |") :].partition("\n\n")[0]
    head, _, *rows = ([cell.strip() for cell in row.split("|")] for row in table.splitlines())

    assert head[1:-1] == ["server", *(column.title for column in COLUMNS)]
    assert [row[1] for row in rows] == list(SERVERS)


def test_the_load_balancer_gets_the_health_that_the_page_shows(
    project: Project, fake_ciam: FakeCiam
) -> None:
    project.start(*NEW_PROJECT, DEPLOYED, CIAM_HEALTH=True, SECURE_SSL_REDIRECT=True)
    (send,) = re.findall(r"http-check send meth (\w+) uri (\S+)(.*)", LOAD_BALANCER.text)
    headers = {
        f"HTTP_{name.upper().replace('-', '_')}": value
        for name, value in re.findall(r"hdr (\S+) (\S+)", send[2])
    }
    response = Client().generic(send[0], send[1], **headers)

    shown = json.loads(HEALTH.text)
    assert response.status_code == 200
    assert response.json().keys() == shown.keys()
    assert response.json()["circuits"].keys() == shown["circuits"].keys()


def test_the_timer_runs_commands_that_exist() -> None:
    commands = re.findall(r"^ExecStart=/srv/shop/\.venv/bin/(.*)$", SERVICE.text, re.MULTILINE)

    assert [command.split()[2] for command in commands] == ["clearsessions", "ciam_clear"]
    for command in commands:
        check_command(command.split())
    # systemd starts the service of the same name.
    assert Path(SERVICE.file).stem == Path(TIMER.file).stem


@pytest.mark.parametrize("block", PROXIES, ids=lambda block: block.page)
def test_the_proxy_sends_the_headers_that_the_settings_read(block: Block) -> None:
    headers = dict(re.findall(r"proxy_set_header ([\w-]+) (\S+);", block.text))

    assert headers["X-Forwarded-For"] == "$proxy_add_x_forwarded_for"
    assert 'SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")' in DEPLOYED.text
    assert headers["X-Forwarded-Proto"] == "$scheme"
    assert headers["Host"] == "$host"


@pytest.mark.parametrize("block", PROXIES, ids=lambda block: block.page)
def test_nginx_accepts_the_block(block: Block, tmp_path: Path) -> None:
    program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if program is None:
        pytest.skip("nginx is not installed")
    configuration = tmp_path / "nginx.conf"
    configuration.write_text(
        f"pid {tmp_path}/pid; error_log stderr; events {{}} http {{ access_log off; "
        f"server {{ listen 127.0.0.1:8099; {block.text} }} }}",
        encoding="utf-8",
    )

    command = [program, "-t", "-p", str(tmp_path), "-c", str(configuration)]
    completed = subprocess.run(command, capture_output=True, text=True, check=False)

    assert completed.returncode == 0, completed.stderr
