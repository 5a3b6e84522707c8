"""``manage.py ciam_rekey``: rename or remove the identities of an issuer of earlier settings."""

from __future__ import annotations

import shlex
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from ciam_django.accounts.backends import accounts_transaction
from ciam_django.accounts.csv_rows import (
    MAX_SHOWN,
    confirm_changes,
    current_issuer,
    duplicates,
    in_chunks,
    read_rows,
)
from ciam_django.accounts.fake_people import find_users_of, forget_users
from ciam_django.accounts.issuers import is_fake_issuer, may_be_fake_issuer
from ciam_django.accounts.models import CiamIdentity
from ciam_django.client.app import ciam_app
from ciam_django.client.person import identity_key, is_subject, issuer_of
from ciam_django.errors import CiamError


class Command(BaseCommand):
    """Check the new names of all identities of an issuer; with ``--apply``, rename all or none.

    With ``--forget-test-people``, remove the identities of fake CIAMs instead.
    """

    help = (
        "Rename the identities of one issuer after a change of the mode, the issuer or the client. "
        "Or, with --forget-test-people, remove what a fake CIAM has left. "
        "Without --apply, the command only prints the number of changes and the problems."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the two issuers, the table of subjects, and ``--apply``."""
        parser.add_argument("--from", dest="old", help="the current issuer of the identities")
        parser.add_argument(
            "--to", help="the new issuer; default: the issuer of a sign-in with the settings"
        )
        parser.add_argument(
            "--subjects",
            metavar="FILE",
            help="CSV with the columns 'old' and 'new', each with a subject; without a file, the "
            "subjects stay",
        )
        parser.add_argument(
            "--forget-test-people",
            action="store_true",
            help="remove the identities of each fake CIAM on this machine (or of the issuer in "
            "--from), their sessions, and the users that only these sign-ins have created",
        )
        parser.add_argument("--apply", action="store_true", help="make the changes")

    def handle(self, *args: Any, **options: Any) -> None:
        """Check all identities and print the problems; with ``--apply``, make the changes."""
        if options["forget_test_people"]:
            self._forget_test_people(options)
        else:
            self._rename_identities(options)

    def _rename_identities(self, options: dict[str, Any]) -> None:
        if not options["old"]:
            raise CommandError(f"--from is missing. {_allowed(_stored_issuers())}")
        old_issuer, new_issuer = options["old"], options["to"] or current_issuer()
        identities = list(CiamIdentity.objects.filter(issuer=old_issuer))
        if not identities:
            raise CommandError(
                f"--from {old_issuer}: no identity has this issuer. {_allowed(_stored_issuers())}"
            )
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
                problems.append(f"the subject {identity.subject!r} is not in the column 'old'")
            identity.issuer = new_issuer
            identity.subject = subjects.get(identity.subject, identity.subject)
            identity.key = identity_key(new_issuer, identity.subject)
        problems += _conflicts(identities)
        self.stdout.write(
            f"Identities to rename: {len(identities)}. From {old_issuer} to {new_issuer}"
        )
        if confirm_changes(self, problems, apply=options["apply"]):
            with accounts_transaction():
                CiamIdentity.objects.bulk_update(
                    identities, ["issuer", "subject", "key"], batch_size=200
                )
            self.stdout.write(f"Renamed identities: {len(identities)}.")

    def _forget_test_people(self, options: dict[str, Any]) -> None:
        if options["to"] or options["subjects"]:
            raise CommandError(
                "--forget-test-people renames nobody: remove --to and --subjects, or remove "
                "--forget-test-people."
            )
        stored = _stored_issuers()
        issuers = [each for each in stored if is_fake_issuer(each)]
        if options["old"]:
            # A wrong --from must never remove the customers of the site.
            candidates = [each for each in stored if may_be_fake_issuer(each)]
            issuers = [each for each in candidates if each == options["old"]]
            if not issuers:
                raise CommandError(
                    f"--from {options['old']}: is no issuer of a fake CIAM with identities. Such "
                    f"an issuer begins with http:// or names this machine. {_allowed(candidates)}"
                )
        elif not settings.DEBUG and (used := _used_issuers().intersection(issuers)):
            # A site can reach its tenant through a proxy on this machine.
            issuer = min(used)
            raise CommandError(
                f"This site signs its users in at {issuer}, and DEBUG is off: the users can be "
                f"customers. If they are test people, name the issuer: --from {shlex.quote(issuer)}"
            )
        users = find_users_of(issuers)
        identity_count = sum(len(each.identities) for each in users)
        deleted = [each for each in users if not each.reason_to_keep]
        kept = [each for each in users if each.reason_to_keep]
        self.stdout.write(
            f"Identities to remove: {identity_count}. Users to delete: {len(deleted)}. Users to "
            f"keep: {len(kept)}. Issuers: {', '.join(issuers) or 'none'}"
        )
        for each in kept[:MAX_SHOWN]:
            user = each.user
            self.stdout.write(f"kept: {type(user).__name__} {user.pk} {each.reason_to_keep}.")
        if confirm_changes(self, [], apply=options["apply"]):
            forget_users(users)
            self.stdout.write(
                f"Removed identities: {identity_count}. Deleted users: {len(deleted)}."
            )


def _used_issuers() -> set[str]:
    """The possible issuers of a sign-in, from the settings alone; empty without a client."""
    try:
        app = ciam_app()
    except CiamError:
        return set()
    return {*app.issuers} if app.is_oidc else {issuer_of(app)}


def _stored_issuers() -> list[str]:
    return sorted(CiamIdentity.objects.values_list("issuer", flat=True).distinct())


def _allowed(issuers: list[str]) -> str:
    listed = ", ".join(issuers)
    return f"Allowed: {listed}" if listed else "The database has no identity that is allowed."


def _conflicts(identities: list[CiamIdentity]) -> list[str]:
    """Return a problem for each new name that an identity has now.

    The identity may be renamed itself: two identities cannot exchange their names.
    """
    own = {identity.pk: identity.key for identity in identities}
    problems: list[str] = []
    for chunk in in_chunks(identities):
        holders = CiamIdentity.objects.filter(key__in=[identity.key for identity in chunk])
        conflicts = [holder for holder in holders if own.get(holder.pk) != holder.key]
        problems += [
            f"the new subject {holder.subject!r} belongs to another identity"
            for holder in conflicts
        ]
    return problems
