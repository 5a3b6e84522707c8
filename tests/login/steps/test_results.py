"""Tests of the data of the steps that CIAM asks for."""

from __future__ import annotations

import pytest
from pytest_django.fixtures import Settings

from ciam_django.client.results import NextStep
from ciam_django.errors import CiamError
from ciam_django.login.steps.flow import Flow
from ciam_django.login.steps.results import _account_of, next_flow
from ciam_django.testing import FakeCiam
from tests.rows import for_each_row
from tests.test_errors import JWT


def second_factor(**additional: object) -> NextStep:
    return NextStep("f-1", "NEED_TWO_FACTOR", {"additional": additional})


@for_each_row(
    "additional, account",
    [
        ({"phoneNumber": "138****1234"}, "138****1234 "),
        ({"phoneNumber": "138***123"}, "138***123 "),
        # Too many accounts have a mask with five visible characters.
        ({"phoneNumber": "138***12"}, ""),
        ({"email": "lihong***@example.com"}, " lihong***@example.com"),
        # The domain does not count.
        ({"email": "l***@example.com"}, ""),
        ({"phoneNumber": "138***12", "email": "l***@x.cn"}, "138***12 l***@x.cn"),
        # Upstream text that is no mask is not used.
        ({"phoneNumber": "call 13800001234"}, ""),
        ({"phoneNumber": "1" * 25}, ""),
        ({"email": "<b>lihong</b>@example.com"}, ""),
        ({"phoneNumber": 13800001234}, ""),
        ({}, ""),
    ],
)
def test_the_masks_of_a_step_name_its_account_if_few_accounts_have_them(
    additional: dict[str, object], account: str
) -> None:
    assert _account_of(second_factor(**additional)) == account


def test_a_second_factor_has_the_channels_of_the_tenant_with_their_masks(ciam: FakeCiam) -> None:
    step = second_factor(phoneNumber="138****1234")
    before = Flow(
        "new_password",
        "f-0",
        next="/cart/",
        counted_name="li",
        provider="qq",
        link_to_user="7",
        recipient={"type": "SMS"},
    )
    flow = next_flow(step, before)

    assert flow == Flow(
        "second_factor",
        "f-1",
        next="/cart/",
        counted_name="li",
        provider="qq",
        link_to_user="7",
        has_new_password=True,
        id=before.id,
        sign_in=before.sign_in,
        step_data={"channels": {"SMS": "138****1234", "PWD": ""}, "account": "138****1234 "},
    )


def test_an_unknown_step_is_an_error_with_its_name_for_operators(settings: Settings) -> None:
    with pytest.raises(CiamError, match="unsupported_step") as raised:
        next_flow(NextStep("f-1", "NEED_FACE", {}), Flow("password", ""))
    assert raised.value.upstream_text == "the flowType is NEED_FACE"

    settings.CIAM_FLOW_TYPES = {"NEED_FACE": "consent"}
    assert next_flow(NextStep("f-1", "NEED_FACE", {}), Flow("password", "")).step == "consent"


@for_each_row(
    "listed, options",
    [
        (["a", "b"], [["a"], ["b"]]),
        ([{"value": "m", "name": "男"}, {"value": "f"}], [["m", "男"], ["f"]]),
        ([{"value": "m", "name": "m"}, {"value": "f", "name": "<b>"}], [["m"], ["f"]]),
        ([{"value": "m", "name": 5}], [["m"]]),
        # One value that is no plain text makes the field a text box.
        (["a", "<script>"], None),
        (["a", 5], None),
        (["x" * 65], None),
        ([f"a long value {number}" for number in range(100)], None),
        ("ab", None),
        ([], None),
    ],
)
def test_a_detail_has_the_options_that_ciam_lists(listed: object, options: object) -> None:
    fields = ["email", {"name": "country", "options": listed}, {"name": "unknown"}, {}]
    step = NextStep("f-1", "NEED_COMPLETE", {"additional": {"fields": fields}})
    step_data = next_flow(step, Flow("password", "")).step_data

    assert step_data["asked"] == ["email", "country"]
    assert step_data.get("options", {}).get("country") == options


@for_each_row(
    "fields, asked",
    [
        (["email", "unknown", "gender"], ["email", "gender"]),
        (["unknown"], ["displayName"]),
        ("email", ["displayName"]),
        (None, ["displayName"]),
    ],
)
def test_a_profile_asks_for_the_known_fields_or_for_the_name(
    fields: object, asked: list[str]
) -> None:
    step = NextStep("f-1", "NEED_COMPLETE", {"additional": {"fields": fields}})
    flow = next_flow(step, Flow("password", ""))

    assert flow.step_data == {"asked": asked}


@pytest.mark.parametrize(
    ("flow_type", "shown"),
    [
        ("NEED_ADDITIONAL_IDENTITY_VERIFICATION", "NEED_ADDITIONAL_IDENTITY_VERIFICATION"),
        (JWT, "[token]"),
        ("li@shop.cn", "[email]"),
    ],
)
def test_the_error_of_an_unknown_step_names_the_step_but_no_secret(
    flow_type: str, shown: str
) -> None:
    with pytest.raises(CiamError) as raised:
        next_flow(NextStep("f-1", flow_type, {}), Flow("password", ""))

    assert raised.value.upstream_text == f"the flowType is {shown}"
