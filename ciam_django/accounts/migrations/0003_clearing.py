from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("ciam_accounts", "0002_sessions"),
    ]

    operations = [
        migrations.AddField(
            model_name="ciamidentity",
            name="last_sign_in_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddIndex(
            model_name="ciamsession",
            index=models.Index(fields=["ends_at", "id"], name="ciam_session_end"),
        ),
    ]
