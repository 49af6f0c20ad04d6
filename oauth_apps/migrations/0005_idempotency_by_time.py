from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("oauth_apps", "0004_measures")]

    operations = [
        AddIndexConcurrently(
            model_name="idempotencyrecord", index=models.Index(fields=["created_at"], name="idempotency_by_time")
        ),
    ]
