"""The OAuth client of the setting."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

import pytest
from pytest_django.fixtures import Settings

from ciam_django.client.app import ciam_app
from ciam_django.testing import FakeCiam

# Eight threads of a bare process ask for the client at the same time.
PROGRAM: Final = """
import sys, threading
import django
from django.conf import settings
settings.configure(
    SECRET_KEY="s",
    AUTHLIB_OAUTH_CLIENTS={"ciam": {"client_id": "x", "server_metadata_url": "https://login.shop.cn/"}},
)
django.setup()
from ciam_django.client.app import ciam_app

assert "authlib" not in sys.modules
barrier, found = threading.Barrier(8), []

def ask():
    barrier.wait()
    found.append(ciam_app().client_id)

threads = [threading.Thread(target=ask) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert "authlib" in sys.modules
print(found)
"""


@pytest.mark.slow("processes of bare projects")
def test_threads_that_load_authlib_at_the_same_time_all_get_the_client() -> None:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )

    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == str(["x"] * 8)


def test_the_client_is_the_same_object_until_the_setting_changes(
    ciam: FakeCiam, settings: Settings
) -> None:
    first = ciam_app()

    assert ciam_app() is first
    settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": ciam.client("oidc")}
    assert ciam_app() is not first
