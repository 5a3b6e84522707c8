"""The public names of ``ciam_django.client``."""

from __future__ import annotations

import logging

import pytest

from ciam_django import client
from ciam_django.client import api, async_api, envelope, oauth


def test_the_public_names_are_those_of_their_modules() -> None:
    names: dict[str, object] = {}
    exec("from ciam_django.client import *", names)  # noqa: S102  (no other statement reads __all__)
    del names["__builtins__"]

    assert names == {
        "AsyncCiamClient": async_api.AsyncCiamClient,
        "CiamClient": api.CiamClient,
        "ciam_compliance_fix": oauth.ciam_compliance_fix,
        "raise_for_failure": envelope.raise_for_failure,
    }
    assert set(client.__all__) == set(client._MODULES)


def test_another_name_is_an_error() -> None:
    with pytest.raises(AttributeError, match=r"'ciam_django\.client' has no attribute 'no_name'"):
        getattr(client, "no_name")  # noqa: B009  (mypy knows that the name is missing)
    with pytest.raises(ImportError, match="no_name"):
        # As a text, because mypy refuses the statement: it knows that the name is missing.
        exec("from ciam_django.client import no_name")  # noqa: S102  (a constant text)


@pytest.mark.parametrize("name", ["sync_app", "async_app"])
def test_authlib_logs_no_secrets_at_debug(name: str, caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger(f"authlib.integrations.base_client.{name}")
    with caplog.at_level(logging.DEBUG, logger.name):
        logger.debug("Using code_verifier=%r", "secret")
        logger.info("shown")

    assert caplog.messages == ["shown"]
