"""No cell is an error of Django's own, none takes too long, and each names its code."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest
from django.utils.html import escape

from ciam_django.lookup import finding_of
from ciam_django.testing import FakeCiam
from ciam_django.testing.forgeries import FORGERIES
from tests.matrix.cells import PATIENT_TIMEOUT, TIMEOUT, Answered, answered, come_back
from tests.matrix.faults import FAULTS, MARKER, Fault
from tests.matrix.forgeries import FORGED
from tests.matrix.stages import STAGES, SURFACES, Stage
from tests.matrix.table import lies, table

pytestmark = pytest.mark.django_db
slow = pytest.mark.slow("failures at every stage")


@slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_failure_becomes_an_answer(stage: Stage, fault: Fault, fake_ciam: FakeCiam) -> None:
    if fault.name in stage.without:
        return
    code = stage.codes.get(fault.name, fault.code)
    longest = (TIMEOUT if fault.is_slow else PATIENT_TIMEOUT) + 0.5
    for surface in SURFACES:
        cell = answered(fake_ciam, stage, fault, surface)
        if fault.is_slow and (cell.seconds >= longest or cell.stage != stage.label):
            # So short a time a busy machine takes as well; what is no accident happens again.
            cell = answered(fake_ciam, stage, fault, surface)

        assert cell.seconds < longest
        assert (cell.code, cell.stage) == (code, stage.label)
        assert [line.name for line in cell.lines] == ["ciam_django"]
        if stage.name == "logout" and surface != "rest":
            assert cell.response.status_code == 302
        else:
            check_answer(cell, surface)


@slow
@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_lie_about_who_it_is_signs_nobody_in(forgery: str, fake_ciam: FakeCiam) -> None:
    for surface in SURFACES:
        cell = come_back(fake_ciam, surface, forgery=forgery)

        stage = "userinfo" if forgery.startswith("userinfo") else "id_token"
        assert (cell.code, cell.stage) == (FORGED[forgery], stage)
        assert [line.name for line in cell.lines] == ["ciam_django"]
        check_answer(cell, surface)


@slow
@pytest.mark.parametrize("code", ["access_denied", "server_error", "Remote.Error", "brand_new"])
def test_a_failure_at_ciams_page_comes_back_as_its_code(code: str, fake_ciam: FakeCiam) -> None:
    # A browser alone comes back so: programs and REST clients have no page to fail at.
    for surface in ("page", "json"):
        cell = come_back(fake_ciam, surface, username=f"fail:authorize:{code}")

        assert (cell.code, cell.stage) == (code, "callback")
        check_answer(cell, surface)


@slow
def test_an_enormous_body_is_not_held_in_memory(fake_ciam: FakeCiam) -> None:
    faults = {fault.name: fault for fault in FAULTS}
    stages = {stage.name: stage for stage in STAGES}
    for name in ("100 MB", "gzip bomb"):
        # The fake's own part of it, which is in this process as well, comes before.
        answered(fake_ciam, stages["token"], faults[name], "json")
        tracemalloc.start()
        try:
            answered(fake_ciam, stages["token"], faults[name], "json")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 8 * 1024 * 1024


def test_the_docs_say_what_is_so() -> None:
    def expected(stage: Stage, fault: Fault) -> tuple[int, str]:
        code = stage.codes.get(fault.name, fault.code)
        signs_out = stage.name == "logout"
        return 302 if signs_out else finding_of(code).meaning.status, code

    readme = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
    assert table(expected) in readme
    assert lies(lambda code: finding_of(code).meaning.status) in readme


def check_answer(cell: Answered, surface: str) -> None:
    finding = finding_of(cell.code)
    body = cell.response.content.decode()

    assert cell.response.status_code == finding.meaning.status
    assert cell.response["Ciam-Error-Code"] == finding.key
    assert cell.response["Ciam-Request-Id"] in body
    assert MARKER not in body
    if surface == "page":
        assert 'role="alert"' in body
        assert escape(str(finding.meaning.message)) in body
    else:
        assert json.loads(body)["code"] == finding.key
        assert json.loads(body)["detail"] == str(finding.meaning.message)


def test_honest_people_sign_in(fake_ciam: FakeCiam) -> None:
    with pytest.raises(AssertionError, match="somebody has been signed in or out"):
        come_back(fake_ciam, "page")


def test_what_can_not_happen_is_named_as_such() -> None:
    names = {fault.name for fault in FAULTS}

    for stage in STAGES:
        assert set(stage.without) | set(stage.codes) <= names
        assert all(stage.without.values())
