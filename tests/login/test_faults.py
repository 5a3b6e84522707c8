"""Tests that a form is shown again with one sentence for each fault of CIAM or the network."""

from __future__ import annotations

import time

import pytest
from pytest_django.fixtures import Settings

from ciam_django.kinds import KINDS
from ciam_django.lookup import matched_row
from ciam_django.testing.accounts import CODE, PASSWORD
from tests.login.person import FormBrowser
from tests.matrix.cells import ALLOWANCE, PATIENT_TIMEOUT, TIMEOUT
from tests.matrix.faults import FAULTS, MARKER, Fault

pytestmark = pytest.mark.slow("forms that fail")

LOCKED = "Operation.Failure.User.Locked"
# Stage -> the generic code of a closed account: the code of wrong credentials at this stage.
GENERIC = {
    "password": "Operation.Failure.Username.Or.Password.Error",
    "verify_code": "Operation.Failure.SMS.Code.Error",
}
# Faults of a server that is not CIAM. The matrix tests these faults; here CIAM must serve the form
# before the fault.
CONNECTION_FAULTS = ("refused", "no TLS", "an untrusted certificate", "silence in place of TLS")
CALL_FAULTS = [fault for fault in FAULTS if fault.name not in CONNECTION_FAULTS]

STEPS = {
    "password": {"username": "li", "password": PASSWORD},
    "verify_code": {"code": CODE},
}


@pytest.fixture
def mode() -> str:
    return "ciam"


@pytest.mark.parametrize("fault", CALL_FAULTS, ids=lambda fault: fault.name)
@pytest.mark.parametrize("stage", STEPS)
def test_a_form_is_shown_again_after_each_fault(
    stage: str, fault: Fault, person: FormBrowser, settings: Settings
) -> None:
    settings.CIAM_LOGIN_METHODS = ["password", "sms"]
    person.open_page("/ciam/login/?method=sms&next=/cart/")
    if stage == "verify_code":
        person.submit_form(phone_number="138 0000 1234")
    else:
        person.open_page("/ciam/login/?next=/cart/")
    settings.CIAM_TIMEOUT = TIMEOUT if fault.is_slow else PATIENT_TIMEOUT
    fault.plan(person.ciam, stage)
    started_at = time.monotonic()
    answer = person.submit_form(**STEPS[stage])

    page = answer.content.decode()
    code = GENERIC[stage] if fault.code == LOCKED else fault.code
    row = matched_row(code)
    assert time.monotonic() - started_at < (TIMEOUT if fault.is_slow else 0) + ALLOWANCE
    assert (answer["Ciam-Error-Code"], answer.status_code) == (row.key, row.meaning.status)
    # A response of CIAM's API is no cancel by the user.
    is_cancel = row.meaning.is_cancel
    text = KINDS[row.meaning.kind].sentence if is_cancel else row.meaning.message
    assert str(text)[:12] in page.replace("&#x27;", "'")
    assert "Sign-in was cancelled" not in page
    assert "data-ciam-form" in page
    errors = [f'id="ciam_{field}_error"' for field in STEPS[stage]]
    assert any(mark in page for mark in ['role="alert"', *errors])
    assert MARKER not in page
    assert person.user_id is None
