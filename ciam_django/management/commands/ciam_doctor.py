"""``manage.py ciam_doctor``: ask CIAM, the cache and the settings if a sign-in can work."""

from __future__ import annotations

import json
import math
from argparse import ArgumentParser
from typing import Any, ClassVar, Final

from django.core.management.base import BaseCommand, CommandError

from ciam_django.doctor.examination import Examination
from ciam_django.doctor.findings import Finding, Status
from ciam_django.doctor.table import QUESTIONS, findings

_WIDTH: Final = max(len(status) for status in Status)


class Command(BaseCommand):
    """Print what was asked, what came, and what to do."""

    help = (
        "Ask CIAM, the cache and the settings if a sign-in can work. Each line has a judgement "
        f"({', '.join(Status)}), what was asked, what came, and what to do. The exit status is 1 "
        "if there is an error, or if a question of --only was not asked, and 0 otherwise, also "
        "with warnings. No secret is printed. Each call of a question takes at most the seconds of "
        "CIAM_TIMEOUT."
    )
    # The first question reports the mistakes of the settings. Django would end the command.
    requires_system_checks: ClassVar[list[str]] = []  # type: ignore[misc]  # the stubs have no ClassVar

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add ``--json``, the facts about the server, and the choice of the questions."""
        parser.add_argument("--json", action="store_true", help="print one JSON document")
        parser.add_argument(
            "--worker-timeout",
            type=_seconds,
            metavar="SECONDS",
            help="the seconds after which the server kills a worker that has not answered; 0 for "
            "no limit",
        )
        parser.add_argument(
            "--gunicorn-config",
            default="",
            metavar="FILE",
            help="the configuration of gunicorn, which the question 'workers' runs",
        )
        parser.add_argument(
            "--only",
            action="append",
            choices=[question.name for question in QUESTIONS],
            metavar="NAME",
            help=f"ask only this question; may be repeated. Names: "
            f"{', '.join(question.name for question in QUESTIONS)}",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask the questions, print the findings, and fail if a finding is an error."""
        names = options["only"] or [question.name for question in QUESTIONS]
        chosen = [question for question in QUESTIONS if question.name in names]
        found = []
        examination = Examination(options["worker_timeout"], options["gunicorn_config"])
        for name, finding in findings(chosen, examination):
            found.append((name, finding))
            if not options["json"]:
                # A slow answer of CIAM must not hide the lines before it.
                self.stdout.write(_line_of(name, finding))
                self.stdout.flush()
        if options["json"]:
            self.stdout.write(json.dumps(_document_of(found), indent=2))
        errors = [name for name, finding in found if finding.status is Status.ERROR]
        if errors:
            raise CommandError(f"Questions with errors: {', '.join(dict.fromkeys(errors))}.")
        skipped = [name for name, finding in found if finding.status is Status.SKIPPED]
        if options["only"] and skipped:
            # A pipeline must not take a question without an answer for a good answer.
            raise CommandError(f"Questions that were not asked: {', '.join(skipped)}.")


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < math.inf:
        raise ValueError
    return seconds


# The name of the type in the error of argparse.
_seconds.__name__ = "number of seconds"


def _line_of(name: str, finding: Finding) -> str:
    start = f"{finding.status.upper():<{_WIDTH}} {name}:"
    if finding.status is Status.SKIPPED:
        return f"{start} not asked, because {finding.found.rstrip('.')}."
    line = f"{start} asked {finding.asked}. Came: {finding.found.rstrip('.')}."
    return f"{line} To do: {finding.advice}" if finding.advice else line


def _document_of(found: list[tuple[str, Finding]]) -> dict[str, Any]:
    """The JSON document: the worst status, and the findings."""
    order = list(Status)
    worst = max((finding.status for _, finding in found), key=order.index, default=Status.OK)
    return {
        "status": worst,
        "findings": [
            {
                "question": name,
                "status": finding.status,
                "asked": finding.asked,
                "found": finding.found,
                "advice": finding.advice,
            }
            for name, finding in found
        ],
    }
