from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("oauth_apps", "0005_idempotency_by_time")]

    operations = [
        migrations.AddField(
            model_name="process",
            name="queues",
            field=models.CharField(db_default="", default="", max_length=200),
        ),
    ]
