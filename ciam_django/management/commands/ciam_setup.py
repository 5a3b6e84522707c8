"""``manage.py ciam_setup``: print the lines that the project is missing, with their places."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.management.base import BaseCommand
from django.urls import reverse

from ciam_django.checks.missing_lines import (
    ACCOUNTS_APP,
    LOGIN_URL,
    MissingLine,
    can_sign_users_in,
    clients_without_fix,
    missing_lines,
    typed_command,
)


class Command(BaseCommand):
    """Print each missing line with its file and its place; change no file."""

    help = (
        "Print the lines that this project is missing for ciam_django, with the file and the place "
        "of each line. Changes no file."
    )
    # The checks of a project that is only half set up fail.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add ``--check`` and ``--answers-only``."""
        parser.add_argument("--check", action="store_true", help="exit with 1 if a line is missing")
        parser.add_argument(
            "--answers-only",
            action="store_true",
            help="the project signs its users in itself, and uses only the answers to failures",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the missing lines, or the next command; with ``--check``, set the exit status."""
        answers_only = options["answers_only"]
        if not answers_only and not can_sign_users_in():
            answers_only = True
            self.stdout.write(
                "'django.contrib.auth' is not in INSTALLED_APPS, so this project has no users. "
                "Only the lines for the answers to failures are listed, as with --answers-only."
            )
        lines = list(missing_lines(answers_only=answers_only))
        if answers_only:
            self._write_clients_without_fix()
        if not lines:
            self.stdout.write(self.style.SUCCESS("No line is missing."))
            if not answers_only and settings.LOGIN_URL != LOGIN_URL:
                self.stdout.write(
                    f"LOGIN_URL is {settings.LOGIN_URL!r}, a page of yours. "
                    f"Link from this page to {reverse(LOGIN_URL)}"
                )
            self.stdout.write(f"Next: {typed_command('check')}")
            return
        self.stdout.write(f"Missing lines: {len(lines)}. This command changes no file.\n\n")
        for line in lines:
            self._write_line(line)
        if not answers_only and not apps.is_installed(ACCOUNTS_APP):
            self.stdout.write(
                "If the project signs its users in itself, and uses only the answers to failures: "
                f"{typed_command('ciam_setup --answers-only')}"
            )
        same_command = "ciam_setup --answers-only" if options["answers_only"] else "ciam_setup"
        self.stdout.write(f"Then run again: {typed_command(same_command)}")
        if options["check"]:
            sys.exit(1)

    def _write_clients_without_fix(self) -> None:
        """Write a sentence for each client of the project that may be the client of CIAM."""
        for name in clients_without_fix():
            self.stdout.write(
                self.style.WARNING(
                    f"The Authlib client {name!r} has no compliance_fix. If it is the client of "
                    "CIAM, register it with compliance_fix=ciam_compliance_fix, which "
                    "ciam_django.client has. Otherwise, a failure with the status 200 is taken for "
                    "a token."
                )
            )

    def _write_line(self, line: MissingLine) -> None:
        """Write the place of the lines, and the lines in an indented block."""
        file = str(line.path) if line.path else ""
        file += f":{line.line}" if line.path and line.line else ""
        place = f"{file}: {line.place}" if file else line.place
        self.stdout.write(self.style.MIGRATE_HEADING(place))
        for text in line.text.splitlines():
            self.stdout.write(f"    {text}" if text else "")
        self.stdout.write("")
