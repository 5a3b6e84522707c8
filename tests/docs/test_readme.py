"""Compare the JSON of README.md with the package."""

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
