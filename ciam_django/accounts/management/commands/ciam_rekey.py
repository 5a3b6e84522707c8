"""``manage.py ciam_rekey``: the same people under the names of another mode, issuer or client."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from ciam_django.accounts.csv_rows import in_chunks, rows_of, told, unique
from ciam_django.accounts.models import CiamIdentity, identity_key
from ciam_django.client.oauth import ciam_app
from ciam_django.client.person import is_subject, issuer_of


class Command(BaseCommand):
    """Looks at all identities of an issuer; changes all of them, or nothing."""

    help = (
        "Rename the identities of one issuer, where the mode, the issuer or the client has "
        "changed. Says what it would do; does it with --apply."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The two issuers, and the table of subjects."""
        parser.add_argument("--from", dest="old", required=True, help="the issuer that they have")
        parser.add_argument("--to", help="the issuer to give them; default: the settings'")
        parser.add_argument(
            "--subjects",
            metavar="FILE",
            help="CSV with the columns 'old' and 'new'; without it the subjects stay",
        )
        parser.add_argument("--apply", action="store_true", help="rename them")

    def handle(self, *args: Any, **options: Any) -> None:
        """Look at all of them, then rename."""
        old, to = options["old"], options["to"] or issuer_of(ciam_app())
        found = list(CiamIdentity.objects.filter(issuer=old))
        if not found:
            issuers = CiamIdentity.objects.values_list("issuer", flat=True).distinct()
            raise CommandError(f"--from {old}: has no identity. Allowed: {sorted(issuers)}.")
        rows = list(rows_of(options["subjects"], "old", "new")) if options["subjects"] else []
        subjects = {row["old"]: row["new"] for row in rows}
        wrong = [*unique(rows, "old"), *unique(rows, "new")]
        wrong += [
            f"line {row.line}: the new subject is empty, too long or not printable"
            for row in rows
            if not is_subject(row["new"])
        ]
        for identity in found:
            if options["subjects"] and identity.subject not in subjects:
                wrong.append(f"{identity.subject!r} is not in the table")
            identity.issuer = to
            identity.subject = subjects.get(identity.subject, identity.subject)
            identity.key = identity_key(to, identity.subject)
        wrong += _taken(found)
        self.stdout.write(f"{len(found)} to rename, from {old} to {to}.")
        if told(self, wrong, apply=options["apply"]):
            with transaction.atomic():
                CiamIdentity.objects.bulk_update(
                    found, ["issuer", "subject", "key"], batch_size=200
                )
            self.stdout.write(f"{len(found)} renamed.")


def _taken(found: list[CiamIdentity]) -> list[str]:
    """Whose new name somebody else has; swapping names among themselves is refused as well."""
    own = {identity.pk: identity.key for identity in found}
    taken: list[str] = []
    for chunk in in_chunks(found):
        others = CiamIdentity.objects.filter(key__in=[identity.key for identity in chunk])
        taken += [f"{it.subject!r} is taken" for it in others if own.get(it.pk) != it.key]
    return taken
