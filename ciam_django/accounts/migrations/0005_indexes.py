from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("ciam_accounts", "0004_failures"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="ciamidentity",
            index=models.Index(fields=["issuer"], name="ciam_identity_issuer"),
        ),
        migrations.AddIndex(
            model_name="ciamidentity",
            index=models.Index(fields=["provider"], name="ciam_identity_provider"),
        ),
    ]
