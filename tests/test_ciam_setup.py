"""Test the command ``ciam_setup`` in projects whose settings are real files."""

from __future__ import annotations

import logging.config
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.core.checks import run_checks
from django.core.management import call_command

from ciam_django.management.commands.ciam_setup import Command
from tests.checks.test_missing_lines import SETTINGS, URLS, project, restore_loggers

pytestmark = pytest.mark.django_db
__all__ = ["restore_loggers"]

LOGIN_URL_LINE = 'LOGIN_URL = "ciam:login"\n'
ANSWERS_ONLY = """\
SECRET_KEY = "for tests only"
INSTALLED_APPS = ["ciam_django"]
MIDDLEWARE = [
    "ciam_django.middleware.CiamErrorMiddleware",
]
LANGUAGES = [("zh-hans", "简体中文")]
LOGGING = {
    "version": 1,
    "loggers": {"ciam_django": {"level": "INFO"}},
}
"""


def output_of(folder: Path, settings: str, *arguments: str, urls: str = URLS) -> tuple[str, int]:
    """The output and the exit status of the command; ``{folder}`` is the folder of the files."""
    output, status = StringIO(), 0
    with project(folder, settings, urls) as place:
        logging.config.dictConfig(django_settings.LOGGING)
        try:
            call_command("ciam_setup", *arguments, stdout=output, no_color=True)
        except SystemExit as error:
            status = int(str(error.code))
    return output.getvalue().replace(str(place), "{folder}"), status


@pytest.mark.parametrize("arguments", [(), ("--check",)])
def test_a_complete_project_is_told_the_next_command(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    output, status = output_of(tmp_path, SETTINGS, *arguments)

    assert output == "No line is missing.\nNext: python manage.py check\n"
    assert status == 0


@pytest.mark.parametrize(("arguments", "expected_status"), [((), 0), (("--check",), 1)])
def test_a_missing_line_is_printed_and_sets_the_status_of_check(
    arguments: tuple[str, ...], expected_status: int, tmp_path: Path
) -> None:
    settings = SETTINGS.replace(LOGIN_URL_LINE, "")

    output, status = output_of(tmp_path, settings, *arguments)

    assert output == (
        "Missing lines: 1. This command changes no file.\n\n"
        "{folder}/settings.py: at the end of the file\n"
        f"    {LOGIN_URL_LINE}\n"
        "Then run again: python manage.py ciam_setup\n"
    )
    assert status == expected_status


def test_a_project_without_accounts_reads_of_the_option_for_the_answers(tmp_path: Path) -> None:
    settings = SETTINGS.replace('    "ciam_django.accounts",\n', "")

    output, _ = output_of(tmp_path, settings)

    assert output.endswith(
        "If the project signs its users in itself, and uses only the answers to failures: "
        "python manage.py ciam_setup --answers-only\n"
        "Then run again: python manage.py ciam_setup\n"
    )


def test_a_login_page_of_the_project_is_told_to_link_to_ours(tmp_path: Path) -> None:
    settings = SETTINGS.replace(LOGIN_URL_LINE, 'LOGIN_URL = "account"\n')

    output, status = output_of(tmp_path, settings, "--check")

    assert output == (
        "No line is missing.\n"
        "LOGIN_URL is 'account', a page of yours. Link from this page to /ciam/login/\n"
        "Next: python manage.py check\n"
    )
    assert status == 0


def test_the_answers_alone_can_be_asked_for(tmp_path: Path) -> None:
    settings = SETTINGS.replace(LOGIN_URL_LINE, "")

    output, status = output_of(tmp_path, settings, "--answers-only", "--check")

    assert (output, status) == ("No line is missing.\nNext: python manage.py check\n", 0)


def test_a_project_without_users_is_known_to_use_only_the_answers(tmp_path: Path) -> None:
    output, status = output_of(tmp_path, ANSWERS_ONLY, "--check")

    assert "'django.contrib.auth' is not in INSTALLED_APPS" in output
    assert output.endswith("No line is missing.\nNext: python manage.py check\n")
    assert status == 0


def test_a_missing_line_of_the_answers_names_the_command_to_run_again(tmp_path: Path) -> None:
    settings = SETTINGS.replace('    "ciam_django.middleware.CiamErrorMiddleware",\n', "")

    output, status = output_of(tmp_path, settings, "--answers-only", "--check")

    assert output == (
        "Missing lines: 1. This command changes no file.\n\n"
        "{folder}/settings.py:16: in MIDDLEWARE, at the end\n"
        '    "ciam_django.middleware.CiamErrorMiddleware",\n\n'
        "Then run again: python manage.py ciam_setup --answers-only\n"
    )
    assert status == 1


def test_a_client_of_the_project_without_the_compliance_fix_is_named(tmp_path: Path) -> None:
    urls = """\
from authlib.integrations.django_client import OAuth
from ciam_django.client import ciam_compliance_fix

oauth = OAuth()
oauth.register("idaas")
oauth.register("ciam", compliance_fix=ciam_compliance_fix)
urlpatterns = []
"""

    output, status = output_of(tmp_path, SETTINGS, "--answers-only", "--check", urls=urls)
    other_output, _ = output_of(tmp_path, SETTINGS, "--check", urls=urls)

    first_line, *others = output.splitlines()
    assert first_line.startswith("The Authlib client 'idaas' has no compliance_fix.")
    assert others == ["No line is missing.", "Next: python manage.py check"]
    assert (status, "compliance_fix" in other_output) == (0, False)


def test_the_command_runs_although_the_checks_of_the_project_fail(tmp_path: Path) -> None:
    settings = SETTINGS + 'CIAM_TIMEOUT = "5"\n'
    output = StringIO()
    options = {"check": False, "answers_only": False, "skip_checks": False, "no_color": True}

    with project(tmp_path, settings):
        assert [message.id for message in run_checks(tags=["ciam_django"])] != []
        Command(stdout=output).execute(**options, force_color=False)

    assert output.getvalue()
