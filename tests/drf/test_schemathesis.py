"""Test our endpoints against their document with the requests that schemathesis generates."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
import requests
from django.core.cache import cache
from pytest_django.fixtures import Settings
from pytest_django.live_server_helper import LiveServer

from ciam_django.testing import FakeCiam
from tests.drf.test_schema import document

pytestmark = pytest.mark.slow("schemathesis")

PROGRAM: Final = Path(sys.executable).with_name("schemathesis")
# All paths take 95 seconds. One step stands for all steps that differ only in a row of the table.
ONE_OF_EACH: Final = {
    "session": "|captcha/|password/|code/",
    "token": "|renew/|mini_program_phone/|with/wechat-app/",
}
CONFIGURATION: Final = """
[checks]
# The document does not know the code that was sent, nor the correct password.
positive_data_acceptance.enabled = false
# An ended flow is answered with 410, before the other members are validated.
negative_data_rejection.expected-statuses = ["4xx", "5xx"]
"""


@pytest.mark.skipif(not PROGRAM.exists(), reason="schemathesis is not installed")
@pytest.mark.parametrize("mode", ["ciam"])
@pytest.mark.parametrize("api_sign_in", ["session", "token"])
def test_schemathesis_finds_no_violation_of_the_document(  # noqa: PLR0917  (fixtures)
    ciam: FakeCiam,
    live_server: LiveServer,
    settings: Settings,
    tmp_path: Path,
    api_sign_in: str,
    mode: str,
) -> None:
    cache.clear()
    settings.CIAM_API_SIGN_IN = api_sign_in
    settings.CIAM_TRY_LIMITS = settings.CIAM_SEND_LIMITS = {}
    settings.CIAM_LOGIN_METHODS = ["password", "sms", "email", "recover", "sign_up"]
    settings.CIAM_SOCIAL_PROVIDERS = {
        "wechat": {
            "mini_program": {"app_id": "wx3", "source": "source_wechat_mini_program"},
            "app": {"app_id": "wx4", "source": "source_wechat_app"},
        }
    }
    (tmp_path / "openapi.json").write_text(json.dumps(document()), encoding="utf-8")
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION, encoding="utf-8")
    offered = requests.get(f"{live_server.url}/ciam/api/", timeout=60)
    headers = []
    if api_sign_in == "session":
        headers = ["-H", f"X-CSRFToken: {offered.json()['csrf_token']}"]
        headers += ["-H", f"Cookie: csrftoken={offered.cookies['csrftoken']}"]
    command = [str(PROGRAM), "run", "openapi.json", "--url", live_server.url, *headers]
    command += ["--seed", "1", "--max-examples", os.environ.get("CIAM_DJANGO_EXAMPLES", "10")]
    if "CIAM_DJANGO_EXAMPLES" not in os.environ:
        command += ["--include-path-regex", f"api/({ONE_OF_EACH[api_sign_in]})$"]
    completed = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=1200
    )

    assert completed.returncode == 0, completed.stdout[-6000:] + completed.stderr[-2000:]
