"""Tests that each cell of the matrix is answered in time and with its code."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest
from django.utils.html import escape

from ciam_django.answers import row_of
from ciam_django.errors import CiamError
from ciam_django.lookup import matched_row
from ciam_django.testing import FakeCiam
from ciam_django.testing.forgeries import FORGERIES
from tests.matrix.cells import ALLOWANCE, TRIED, CellResult, run_callback, run_cell
from tests.matrix.faults import FAULTS, MARKER, Fault
from tests.matrix.forgeries import CODES_OF_FORGERIES
from tests.matrix.stages import STAGES, SURFACES, MatrixStage
from tests.matrix.table import failure_table, forgery_table

pytestmark = pytest.mark.django_db
slow = pytest.mark.slow("failures at every stage")

# The kinds of the failures that users correct themselves: their pages have no reference.
QUIET = {"captcha", "consent", "credentials", "mfa", "token", "validation", "verification"}


@slow
@pytest.mark.parametrize(
    ("stage", "fault"), TRIED, ids=[f"{stage.name}-{fault.name}" for stage, fault in TRIED]
)
def test_a_failure_is_answered_with_its_code_on_each_surface(
    stage: MatrixStage, fault: Fault, fake_ciam: FakeCiam
) -> None:
    code = stage.other_codes.get(fault.name, fault.code)
    for surface in SURFACES:
        cell = run_cell(fake_ciam, stage, fault, surface)

        assert cell.seconds < (cell.timeout if fault.is_slow else 0) + ALLOWANCE
        if fault.is_slow:
            # Without a connection, the fake gets no request.
            assert cell.requested_stages.count(stage.fails_at) <= 1
        assert (cell.code, cell.stage) == (code, stage.logged_stage)
        assert [line.name for line in cell.log_lines] == ["ciam_django"]
        if stage.name == "logout" and surface != "rest":
            assert cell.response.status_code == 302
        else:
            check_answer(cell, surface)


@slow
@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forgery_signs_no_user_in(forgery: str, fake_ciam: FakeCiam) -> None:
    for surface in SURFACES:
        cell = run_callback(fake_ciam, surface, forgery=forgery)

        stage = "userinfo" if forgery.startswith("userinfo") else "id_token"
        assert (cell.code, cell.stage) == (CODES_OF_FORGERIES[forgery], stage)
        assert [line.name for line in cell.log_lines] == ["ciam_django"]
        check_answer(cell, surface)


@slow
@pytest.mark.parametrize("code", ["access_denied", "server_error", "Remote.Error", "brand_new"])
def test_a_failure_at_ciams_page_is_answered_with_its_code(code: str, fake_ciam: FakeCiam) -> None:
    # The surface "rest" is left out, because a REST client does not open CIAM's page.
    # A page leads back to the login page after a cancel.
    for surface in ("json",) if code == "access_denied" else ("page", "json"):
        cell = run_callback(fake_ciam, surface, username=f"fail:authorize:{code}")

        assert (cell.code, cell.stage) == (code, "callback")
        check_answer(cell, surface, upstream_status=None)


@slow
def test_an_enormous_body_is_not_held_in_memory(fake_ciam: FakeCiam) -> None:
    faults = {fault.name: fault for fault in FAULTS}
    stages = {stage.name: stage for stage in STAGES}
    for name in ("100 MB", "gzip bomb"):
        # The fake runs in this process too. Its memory is allocated before the measurement.
        run_cell(fake_ciam, stages["token"], faults[name], "json")
        tracemalloc.start()
        try:
            run_cell(fake_ciam, stages["token"], faults[name], "json")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 8 * 1024 * 1024


def test_the_readme_tables_match_the_code() -> None:
    def expected(stage: MatrixStage, fault: Fault) -> tuple[int, str]:
        code = stage.other_codes.get(fault.name, fault.code)
        signs_out = stage.name == "logout"
        return 302 if signs_out else matched_row(code).meaning.status, code

    readme = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
    assert failure_table(expected) in readme
    assert forgery_table(lambda code: matched_row(code).meaning.status) in readme


def check_answer(cell: CellResult, surface: str, upstream_status: int | None = 400) -> None:
    match = row_of(CiamError(cell.code, upstream_status=upstream_status))
    body = cell.response.content.decode()

    assert cell.response.status_code == match.meaning.status
    assert cell.response["Ciam-Error-Code"] == match.key
    is_quiet = match.meaning.kind in QUIET and match.meaning.audience == "user"
    has_reference = not (is_quiet or match.meaning.is_cancel)
    assert (cell.response["Ciam-Request-Id"] in body) is (has_reference or surface != "page")
    assert MARKER not in body
    if surface == "page":
        # A cancel is a notice, not an error.
        assert f'role="{"status" if match.meaning.is_cancel else "alert"}"' in body
        assert escape(str(match.meaning.message)) in body
    else:
        assert json.loads(body)["code"] == match.key
        assert json.loads(body)["detail"] == str(match.meaning.message)


def test_a_sign_in_without_a_forgery_succeeds(fake_ciam: FakeCiam) -> None:
    with pytest.raises(AssertionError, match="somebody has been signed in or out"):
        run_callback(fake_ciam, "page")


def test_the_variants_of_a_body_take_turns_at_the_stages() -> None:
    tried = {(stage.name, fault.name) for stage, fault in TRIED}
    variants = [fault.name for fault in FAULTS if fault.is_variant]
    assert len(variants) == 42

    for name in variants:
        assert len({stage for stage, fault in tried if fault == name}) >= 3
    for stage in STAGES:
        variants_here = [name.split(", ") for name in variants if (stage.name, name) in tried]
        # Both formats, all seven statuses and all three media types are tried at each stage.
        assert [len(set(parts)) for parts in zip(*variants_here, strict=True)] == [2, 7, 3]
        others = {fault.name for fault in FAULTS if not fault.is_variant}
        assert others - set(stage.impossible) <= {fault for at, fault in tried if at == stage.name}


def test_impossible_faults_and_other_codes_name_existing_faults() -> None:
    names = {fault.name for fault in FAULTS}

    for stage in STAGES:
        assert set(stage.impossible) | set(stage.other_codes) <= names
        assert all(stage.impossible.values())
