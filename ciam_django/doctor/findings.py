"""Define the finding of a question: what was asked, what came, and what to do."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ciam_django.errors import CiamError, cause_names_of


@enum.unique
class Status(enum.StrEnum):
    """The judgement of a finding, from the best to the worst."""

    OK = "ok"
    # The question does not apply to the settings, or needs the answer of a failed question.
    SKIPPED = "skipped"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding; ``advice`` is empty if there is nothing to do."""

    status: Status
    asked: str
    found: str
    advice: str = ""


def failure_text(error: CiamError) -> str:
    """Return the facts of the error's log line, which has no secrets and only redacted texts."""
    status = f"HTTP status {error.upstream_status}" if error.upstream_status else ""
    # The first cause is the exception of requests; the last cause is the reason.
    causes = [name.rpartition(".")[2] for name in cause_names_of(error)]
    cause = f"caused by {causes[-1]}" if causes else ""
    type_code = f"type code {error.type_code}" if error.type_code else ""
    parts = [f"failure {error}", type_code, status, cause, error.upstream_text]
    return ", ".join(part for part in parts if part)
