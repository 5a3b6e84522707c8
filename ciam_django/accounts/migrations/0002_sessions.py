from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("ciam_accounts", "0001_identities"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="ciamidentity",
            options={
                "permissions": (
                    ("manage_ciamidentity", "Can unlock, disable and enable people at CIAM"),
                ),
                "verbose_name": "CIAM identity",
                "verbose_name_plural": "CIAM identities",
            },
        ),
        migrations.RemoveField(
            model_name="ciamidentity",
            name="last_sign_in_at",
        ),
        migrations.AddField(
            model_name="ciamidentity",
            name="names",
            field=models.JSONField(default=list, editable=False),
        ),
        migrations.AddField(
            model_name="ciamidentity",
            name="provider",
            field=models.CharField(
                blank=True, editable=False, max_length=64, verbose_name="provider"
            ),
        ),
        migrations.AddField(
            model_name="ciamidentity",
            name="union_id",
            field=models.CharField(
                blank=True, editable=False, max_length=255, verbose_name="union id"
            ),
        ),
        migrations.CreateModel(
            name="CiamSession",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "sid_key",
                    models.CharField(blank=True, db_index=True, editable=False, max_length=64),
                ),
                ("sealed", models.TextField(editable=False)),
                ("renewals", models.PositiveIntegerField(default=0, editable=False)),
                ("renewing_until", models.DateTimeField(editable=False, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="signed in")),
                ("ends_at", models.DateTimeField(verbose_name="ends")),
                (
                    "identity",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="sessions",
                        to="ciam_accounts.ciamidentity",
                        verbose_name="CIAM identity",
                    ),
                ),
            ],
            options={
                "verbose_name": "CIAM session",
                "verbose_name_plural": "CIAM sessions",
            },
        ),
    ]
