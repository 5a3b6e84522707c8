"""Compare the JSON of README.md with the package, and find the tests that run its blocks."""

from __future__ import annotations

import json
from typing import Final

import pytest
import requests
from pytest_django.fixtures import Settings

from ciam_django.answers import answer_to
from ciam_django.client import raise_for_failure
from ciam_django.errors import CiamError
from tests.docs.blocks import ROOT, Block, blocks_in

BLOCKS: Final = list(blocks_in(ROOT / "README.md"))
CIAMS_BODY, OUR_BODY = (block for block in BLOCKS if block.language == "json")

THIS_FILE: Final = "tests/docs/test_readme.py"
FIRST_HOUR: Final = "tests/test_first_hour.py"
NEW_PROJECT: Final = "test_a_new_project_with_the_lines_of_the_readme_signs_users_in"
# A text of a block -> the file and the name of the test that runs the block.
TESTS: Final[dict[str, tuple[str, str]]] = {
    '"success": false': (
        THIS_FILE,
        "test_the_body_of_ciam_in_the_readme_becomes_the_body_for_the_front_end",
    ),
    '"type": "about:blank"': (
        THIS_FILE,
        "test_the_body_of_ciam_in_the_readme_becomes_the_body_for_the_front_end",
    ),
    "tox run -q -e example": (
        "tests/test_docs.py",
        "test_the_readme_has_the_two_commands_that_ci_runs",
    ),
    "compliance_fix=ciam_compliance_fix": (
        "tests/client/test_own_clients.py",
        "test_the_views_of_the_readme_sign_in_and_call_the_api",
    ),
    "INSTALLED_APPS += ": (FIRST_HOUR, NEW_PROJECT),
    "urlpatterns += ": (FIRST_HOUR, NEW_PROJECT),
    "ciam_setup --check": (FIRST_HOUR, NEW_PROJECT),
    "CIAM_ERROR_OVERRIDES = ": (
        FIRST_HOUR,
        "test_the_first_override_of_the_readme_has_no_message_of_the_checks",
    ),
    "def test_a_locked_account_is_told_so": (FIRST_HOUR, NEW_PROJECT),
}


def test_each_block_of_the_readme_is_run_by_a_test() -> None:
    for block in BLOCKS:
        (text,) = [text for text in TESTS if text in block.text]
        file, name = TESTS[text]
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), block.place


def response_with(block: Block, status: int) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    response._content = block.text.encode()
    return response


@pytest.mark.parametrize("status", [200, 400, 500])
def test_the_body_of_ciam_in_the_readme_becomes_the_body_for_the_front_end(
    status: int, settings: Settings
) -> None:
    settings.CIAM_SUPPORT_URL = json.loads(OUR_BODY.text)["action_url"]

    with pytest.raises(CiamError) as raised:
        raise_for_failure(response_with(CIAMS_BODY, status))

    assert answer_to(raised.value).as_dict() == json.loads(OUR_BODY.text)
