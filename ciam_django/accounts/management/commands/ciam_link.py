"""``manage.py ciam_link``: link existing users of the project to people of CIAM."""

from __future__ import annotations

import contextlib
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any, cast

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import router
from django.db.models import Field

from ciam_django.accounts.csv_rows import (
    CsvRow,
    confirm_changes,
    current_issuer,
    duplicates,
    in_chunks,
    read_rows,
)
from ciam_django.accounts.models import CiamIdentity
from ciam_django.client.person import identity_key, is_subject


class Command(BaseCommand):
    """Read a table of users, report its problems, and link either all users or no user."""

    help = (
        "Link existing users to people of CIAM. FILE is CSV with the columns 'user' and 'subject' "
        "(the person's id at CIAM). Without --apply, the command only prints the number of changes "
        "and the problems. All users of the file are linked, or none."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the file, the field of the user model, the issuer, and ``--apply``."""
        parser.add_argument("file", metavar="FILE", help="CSV with the columns user, subject")
        parser.add_argument(
            "--by",
            metavar="FIELD",
            help="the unique field of the user model that the column 'user' has, such as email; "
            "default: its USERNAME_FIELD",
        )
        parser.add_argument(
            "--issuer",
            help="the issuer of the subjects; default: the issuer of a sign-in with the settings",
        )
        parser.add_argument("--apply", action="store_true", help="link the users")

    def handle(self, *args: Any, **options: Any) -> None:
        """Check the whole table, then link the users."""
        model = get_user_model()
        by = options["by"] or model.USERNAME_FIELD
        issuer = options["issuer"] or current_issuer()
        _check_unique(model, by)
        rows = list(read_rows(options["file"], "user", "subject"))
        problems = [*duplicates(rows, "subject"), *_subject_problems(rows)]
        new_identities, linked_count = [], 0
        all_users = model._default_manager.using(router.db_for_write(CiamIdentity))
        for chunk in in_chunks(rows):
            values = [_parsed_value(model, by, row["user"]) for row in chunk]
            existing_values = [value for value in values if value is not None]
            users = all_users.in_bulk(existing_values, field_name=by)
            keys = [identity_key(issuer, row["subject"]) for row in chunk]
            identities_by_key = CiamIdentity.objects.in_bulk(keys, field_name="key")
            for row, value, key in zip(chunk, values, keys, strict=True):
                user = users.get(value)
                if user is None:
                    problems.append(
                        f"line {row.line}: there is no user with the {by} {row['user']!r}"
                    )
                elif key not in identities_by_key:
                    new_identities.append(
                        CiamIdentity(user=user, issuer=issuer, subject=row["subject"], key=key)
                    )
                elif identities_by_key[key].user_id == user.pk:
                    linked_count += 1
                else:
                    problems.append(
                        f"line {row.line}: {row['subject']!r} is linked to another user"
                    )
        self.stdout.write(
            f"Users that are linked already: {linked_count}. Users to link: {len(new_identities)}. "
            f"Issuer: {issuer}"
        )
        if confirm_changes(self, problems, apply=options["apply"]):
            CiamIdentity.objects.bulk_create(new_identities, batch_size=500)
            self.stdout.write(f"Linked users: {len(new_identities)}.")


def _check_unique(model: type[AbstractBaseUser], by: str) -> None:
    """Raise ``CommandError`` unless ``by`` names a unique field of the model."""
    try:
        is_unique = getattr(model._meta.get_field(by), "unique", False)
    except FieldDoesNotExist:
        is_unique = False
    if not is_unique:
        names = [field.name for field in model._meta.concrete_fields if field.unique]
        raise CommandError(f"--by {by}: is not a unique field of the user model. Allowed: {names}.")


def _parsed_value(model: type[AbstractBaseUser], by: str, text: str) -> Any:
    """Return the text as a value of the field, such as a number; None if the field refuses it."""
    with contextlib.suppress(ValidationError):
        field = cast("Field[Any, Any]", model._meta.get_field(by))
        return field.to_python(text)
    return None


def _subject_problems(rows: list[CsvRow]) -> Iterator[str]:
    for row in rows:
        if not is_subject(row["subject"]):
            yield f"line {row.line}: the subject is empty, too long or not printable"
