"""``manage.py ciam_link``: the people whom CIAM knows are users whom the project has already."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import FieldDoesNotExist
from django.core.management.base import BaseCommand, CommandError

from ciam_django.accounts.csv_rows import CsvRow, confirm_changes, duplicates, in_chunks, read_rows
from ciam_django.accounts.models import CiamIdentity
from ciam_django.client.oauth import ciam_app
from ciam_django.client.person import identity_key, is_subject, issuer_of


class Command(BaseCommand):
    """Reads a table and says what is wrong with it; changes all that it names, or nothing."""

    help = (
        "Link users to the people whom CIAM knows them as. FILE is CSV with the columns 'user' and "
        "'subject' (CIAM's id). Says what it would do; does it with --apply."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The file, the user model's field, the issuer."""
        parser.add_argument("file", metavar="FILE", help="CSV with the columns user, subject")
        parser.add_argument(
            "--by",
            metavar="FIELD",
            help="the unique field of the user model; default: its USERNAME_FIELD",
        )
        parser.add_argument(
            "--issuer", help="the issuer of the subjects; default: the one of the settings"
        )
        parser.add_argument("--apply", action="store_true", help="link them")

    def handle(self, *args: Any, **options: Any) -> None:
        """Look at the whole table, then link."""
        model = get_user_model()
        by = options["by"] or model.USERNAME_FIELD
        issuer = options["issuer"] or issuer_of(ciam_app())
        _check_unique(model, by)
        rows = list(read_rows(options["file"], "user", "subject"))
        problems = [*duplicates(rows, "subject"), *_subject_problems(rows)]
        new, known = [], 0
        for chunk in in_chunks(rows):
            users = model._default_manager.in_bulk([row["user"] for row in chunk], field_name=by)
            by_text = {str(value): user for value, user in users.items()}
            keys = [identity_key(issuer, row["subject"]) for row in chunk]
            taken = CiamIdentity.objects.in_bulk(keys, field_name="key")
            for row, key in zip(chunk, keys, strict=True):
                user = by_text.get(row["user"])
                if user is None:
                    problems.append(
                        f"line {row.line}: there is no user with the {by} {row['user']!r}"
                    )
                elif key not in taken:
                    new.append(
                        CiamIdentity(user=user, issuer=issuer, subject=row["subject"], key=key)
                    )
                elif taken[key].user_id == user.pk:
                    known += 1
                else:
                    problems.append(
                        f"line {row.line}: {row['subject']!r} is linked to another user"
                    )
        self.stdout.write(f"{known} are linked already; {len(new)} to link, at {issuer}.")
        if confirm_changes(self, problems, apply=options["apply"]):
            CiamIdentity.objects.bulk_create(new, batch_size=500)
            self.stdout.write(f"{len(new)} linked.")


def _check_unique(model: type[AbstractBaseUser], by: str) -> None:
    try:
        is_unique = getattr(model._meta.get_field(by), "unique", False)
    except FieldDoesNotExist:
        is_unique = False
    if not is_unique:
        names = [field.name for field in model._meta.concrete_fields if field.unique]
        raise CommandError(f"--by {by}: is no unique field of the user model. Allowed: {names}.")


def _subject_problems(rows: list[CsvRow]) -> Iterator[str]:
    for row in rows:
        if not is_subject(row["subject"]):
            yield f"line {row.line}: the subject is empty, too long or not printable"
