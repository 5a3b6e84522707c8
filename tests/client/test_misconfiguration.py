"""The setting that an error of a call to CIAM names."""

from __future__ import annotations

from ciam_django.client.misconfiguration import misconfiguration, name_setting
from ciam_django.errors import CiamError


def test_only_an_address_of_this_machine_is_taken_for_a_fake() -> None:
    error = CiamError("no_connection")
    name_setting(error, "api_base_url", "https://login.shop.cn/")

    assert error.upstream_text.endswith('["api_base_url"], host login.shop.cn: no_connection')


def test_a_misconfiguration_keeps_the_facts_of_the_failed_call() -> None:
    failed = CiamError(
        "Resource.NotFound", stage="token", request_id="1$a", upstream_status=404, upstream_text="x"
    )
    error = misconfiguration(failed)

    assert (error.code, error.type_code) == ("bad_configuration", "Resource.NotFound")
    assert (error.stage, error.request_id, error.upstream_status) == ("token", "1$a", 404)
    assert error.upstream_text == "x"
    assert misconfiguration(failed, "HTTP status 404").upstream_text == "HTTP status 404"
