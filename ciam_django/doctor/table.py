"""The table of the questions: name, function, and what the question needs.

A new question is a new row. Its function takes the examination and yields findings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from django.apps import apps

from ciam_django.checks.settings import are_urls_included
from ciam_django.client.app import ciam_app
from ciam_django.doctor.examination import Examination
from ciam_django.doctor.findings import Finding, Status, failure_text
from ciam_django.doctor.production import (
    examine_cache_processes,
    examine_database_clock,
    examine_replication,
    examine_workers,
)
from ciam_django.doctor.site import (
    examine_cache,
    examine_callback,
    examine_cookies,
    examine_identities,
    examine_proxy,
    examine_settings,
)
from ciam_django.doctor.upstream import (
    examine_application_token,
    examine_authorize_page,
    examine_client,
    examine_clock,
    examine_keys,
    examine_metadata,
)
from ciam_django.errors import CiamError


def _client_problem(examination: Examination) -> str:
    try:
        ciam_app()
    except CiamError as error:
        return failure_text(error)
    return ""


def _oidc_problem(examination: Examination) -> str:
    return "" if examination.client.is_oidc else "CIAM's own mode has no metadata and no keys"


def _metadata_problem(examination: Examination) -> str:
    is_missing = examination.client.is_oidc and isinstance(examination.metadata, CiamError)
    return "the question 'metadata' has failed" if is_missing else ""


def _api_problem(examination: Examination) -> str:
    has_api = bool(examination.client.api_base_url)
    return "" if has_api else 'AUTHLIB_OAUTH_CLIENTS["ciam"] has no "api_base_url"'


def _urls_problem(examination: Examination) -> str:
    return "" if are_urls_included() else "ciam_django.urls is not included"


def _accounts_problem(examination: Examination) -> str:
    is_installed = apps.is_installed("ciam_django.accounts")
    return "" if is_installed else "'ciam_django.accounts' is not in INSTALLED_APPS"


# The need of a question -> the function that says why the need is missing.
NEEDS: Final[Mapping[str, Callable[[Examination], str]]] = {
    "client": _client_problem,
    "oidc": _oidc_problem,
    "metadata": _metadata_problem,
    "api": _api_problem,
    "urls": _urls_problem,
    "accounts": _accounts_problem,
}


@dataclass(frozen=True, slots=True)
class Question:
    """A row of the table; ``needs`` are names of ``NEEDS``, which are tried in this order."""

    name: str
    examine: Callable[[Examination], Iterable[Finding]]
    needs: tuple[str, ...] = ()


QUESTIONS: Final = (
    Question("settings", examine_settings),
    # Before the calls to CIAM, which use the cache.
    Question("cache", examine_cache),
    Question("metadata", examine_metadata, ("client", "oidc")),
    Question("keys", examine_keys, ("client", "oidc", "metadata")),
    Question("client", examine_client, ("client", "urls", "accounts", "metadata")),
    Question("application token", examine_application_token, ("client", "api")),
    Question("callback", examine_callback, ("urls", "accounts")),
    Question("login page", examine_authorize_page, ("client", "urls", "accounts", "metadata")),
    Question("clock", examine_clock, ("client",)),
    Question("identities", examine_identities, ("accounts", "client")),
    Question("proxy", examine_proxy),
    Question("cookies", examine_cookies, ("urls", "accounts")),
    Question("cache processes", examine_cache_processes),
    Question("workers", examine_workers),
    Question("database clock", examine_database_clock, ("accounts",)),
    Question("replication", examine_replication, ("accounts",)),
)


def findings(
    questions: Iterable[Question] = QUESTIONS, examination: Examination | None = None
) -> Iterator[tuple[str, Finding]]:
    """Ask the questions, and yield the name of each question with its findings."""
    examination = examination or Examination()
    for question in questions:
        for finding in _findings_of(question, examination):
            yield question.name, finding


def _findings_of(question: Question, examination: Examination) -> Iterator[Finding]:
    try:
        for need in question.needs:
            if problem := NEEDS[need](examination):
                yield Finding(Status.SKIPPED, question.name, problem)
                return
        yield from question.examine(examination)
    except Exception as error:  # noqa: BLE001  (one broken part of a site must not end the command)
        # The text of the exception may have personal data or secrets.
        yield Finding(
            Status.ERROR,
            question.name,
            f"the exception {type(error).__module__}.{type(error).__name__}",
            "The question has no answer. Correct the errors of the other questions, and ask again. "
            "If there are none, manage.py check or a sign-in shows the traceback of the exception.",
        )
