"""``manage.py ciam_clear``: delete the tokens and the rows of sessions past their end."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import Any, Final

from django.core.management.base import BaseCommand

from ciam_django.accounts.session_clearing import clear_sessions

_DEFAULT_DAYS: Final = 30
# Python's dates do not reach back further than this number of days.
_MAX_DAYS: Final = 365 * 1000


class Command(BaseCommand):
    """Clear the CIAM sessions, and print the numbers of rows."""

    help = (
        "Delete the tokens of CIAM sessions past their end at once, and their rows later. Run this "
        "command regularly beside Django's clearsessions, also while the site runs. A session that "
        "continues, or whose tokens are being refreshed, stays unchanged. The time of the last "
        "sign-in of each person stays stored."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add ``--days``, ``--dry-run`` and ``--json``."""
        parser.add_argument(
            "--days",
            type=_days,
            default=_DEFAULT_DAYS,
            metavar="N",
            help=f"delete a row N days after the end of its session; default: {_DEFAULT_DAYS}",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="change nothing, and print the numbers"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        """Clear the sessions, and print the numbers."""
        days, is_dry_run = options["days"], options["dry_run"]
        counts = clear_sessions(days=days, dry_run=is_dry_run)
        if options["json"]:
            document = {"days": days, "dry_run": is_dry_run, **dataclasses.asdict(counts)}
            self.stdout.write(json.dumps(document))
            return
        verb = "to delete" if is_dry_run else "deleted"
        self.stdout.write(
            f"Sessions whose tokens are {verb}: {counts.tokens_deleted}. "
            f"Rows {verb}: {counts.rows_deleted}. "
            f"Sessions that continue after their end: {counts.continuing}. "
            f"Rows left for the next run: {counts.in_use}."
        )


def _days(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) <= _MAX_DAYS:
        return int(text)
    raise argparse.ArgumentTypeError(f"is not a number of days from 0 to {_MAX_DAYS}")
