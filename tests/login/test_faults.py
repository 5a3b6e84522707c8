"""Whatever CIAM or the network does to a form, the person is back at it with one sentence."""

from __future__ import annotations

import time

import pytest
from pytest_django.fixtures import Settings

from ciam_django.lookup import matched_row
from ciam_django.testing.accounts import CODE, PASSWORD
from tests.login.person import FormBrowser
from tests.matrix.cells import ALLOWANCE, PATIENT_TIMEOUT, TIMEOUT
from tests.matrix.faults import FAULTS, MARKER, Fault

pytestmark = pytest.mark.slow("forms that fail")

LOCKED = "Operation.Failure.User.Locked"
GENERIC = "Operation.Failure.Username.Or.Password.Error"
# Those of a place where nobody is: the matrix has them, and here the form comes from there, too.
NOWHERE = ("refused", "no TLS", "an untrusted certificate", "silence in place of TLS")
AT_THE_CALL = [fault for fault in FAULTS if fault.name not in NOWHERE]

STEPS = {
    "password": {"username": "li", "password": PASSWORD},
    "verify_code": {"code": CODE},
}


@pytest.fixture
def mode() -> str:
    return "ciam"


@pytest.mark.parametrize("fault", AT_THE_CALL, ids=lambda fault: fault.name)
@pytest.mark.parametrize("stage", STEPS)
def test_a_form_that_fails_is_shown_again(
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
    began = time.monotonic()
    answer = person.submit_form(**STEPS[stage])

    page = answer.content.decode()
    code = GENERIC if fault.code == LOCKED else fault.code
    found = matched_row(code)
    assert time.monotonic() - began < (TIMEOUT if fault.is_slow else 0) + ALLOWANCE
    assert (answer["Ciam-Error-Code"], answer.status_code) == (found.key, found.meaning.status)
    assert str(found.meaning.message)[:12] in page.replace("&#x27;", "'")
    assert "data-ciam-form" in page
    assert 'role="alert"' in page
    assert MARKER not in page
    assert person.user_id is None
