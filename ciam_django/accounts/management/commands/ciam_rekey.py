"""``manage.py ciam_rekey``: rename the identities of one issuer after a change of the settings."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ciam_django.accounts.backends import accounts_transaction
from ciam_django.accounts.csv_rows import (
    confirm_changes,
    current_issuer,
    duplicates,
    in_chunks,
    read_rows,
)
from ciam_django.accounts.models import CiamIdentity
from ciam_django.client.person import identity_key, is_subject


class Command(BaseCommand):
    """Check the new names of all identities of an issuer; with ``--apply``, rename all or none."""

    help = (
        "Rename the identities of one issuer after a change of the mode, the issuer or the client. "
        "Prints the number of changes; makes the changes with --apply."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the two issuers, the table of subjects, and ``--apply``."""
        parser.add_argument("--from", dest="old", required=True, help="the current issuer")
        parser.add_argument("--to", help="the new issuer; default: the issuer of a sign-in")
        parser.add_argument(
            "--subjects",
            metavar="FILE",
            help="CSV with the columns 'old' and 'new'; without a file the subjects stay",
        )
        parser.add_argument("--apply", action="store_true", help="rename the identities")

    def handle(self, *args: Any, **options: Any) -> None:
        """Check all identities and print the problems; with ``--apply``, rename the identities."""
        old_issuer, new_issuer = options["old"], options["to"] or current_issuer()
        identities = list(CiamIdentity.objects.filter(issuer=old_issuer))
        if not identities:
            issuers = CiamIdentity.objects.values_list("issuer", flat=True).distinct()
            raise CommandError(f"--from {old_issuer}: has no identity. Allowed: {sorted(issuers)}.")
        rows = list(read_rows(options["subjects"], "old", "new")) if options["subjects"] else []
        subjects = {row["old"]: row["new"] for row in rows}
        problems = [*duplicates(rows, "old"), *duplicates(rows, "new")]
        problems += [
            f"line {row.line}: the new subject is empty, too long or not printable"
            for row in rows
            if not is_subject(row["new"])
        ]
        for identity in identities:
            if options["subjects"] and identity.subject not in subjects:
                problems.append(f"{identity.subject!r} is not in the table")
            identity.issuer = new_issuer
            identity.subject = subjects.get(identity.subject, identity.subject)
            identity.key = identity_key(new_issuer, identity.subject)
        problems += _conflicts(identities)
        self.stdout.write(f"{len(identities)} to rename, from {old_issuer} to {new_issuer}.")
        if confirm_changes(self, problems, apply=options["apply"]):
            with accounts_transaction():
                CiamIdentity.objects.bulk_update(
                    identities, ["issuer", "subject", "key"], batch_size=200
                )
            self.stdout.write(f"{len(identities)} renamed.")


def _conflicts(identities: list[CiamIdentity]) -> list[str]:
    """Return a problem for each new name that an identity has now.

    The identity may be renamed itself: two identities cannot exchange their names.
    """
    own = {identity.pk: identity.key for identity in identities}
    problems: list[str] = []
    for chunk in in_chunks(identities):
        holders = CiamIdentity.objects.filter(key__in=[identity.key for identity in chunk])
        conflicts = [holder for holder in holders if own.get(holder.pk) != holder.key]
        problems += [f"{holder.subject!r} is taken" for holder in conflicts]
    return problems
