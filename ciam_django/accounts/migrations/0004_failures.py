from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("ciam_accounts", "0003_clearing"),
    ]

    # A proxy has no table: only its content type and its permission are created.
    operations = [
        migrations.CreateModel(
            name="CiamFailure",
            fields=[],
            options={
                "verbose_name": "sign-in failure",
                "verbose_name_plural": "sign-in failures",
                "proxy": True,
                "default_permissions": ("view",),
                "indexes": [],
                "constraints": [],
            },
            bases=("ciam_accounts.ciamidentity",),
        ),
    ]
