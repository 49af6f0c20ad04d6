from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("sandbox", "0002_rotating_outcome")]

    operations = [
        migrations.AddField(
            model_name="grant",
            name="records",
            field=models.PositiveIntegerField(default=250),
        ),
        migrations.AlterField(
            model_name="grant",
            name="outcome",
            field=models.CharField(
                choices=[
                    ("approve", "Approve"),
                    ("approve_fewer", "Approve fewer scopes"),
                    ("deny", "Deny"),
                    ("provider_error", "Provider error"),
                    ("slow", "Slow provider"),
                    ("short_lived", "Short-lived token"),
                    ("refresh_fails", "Refresh that fails"),
                    ("rotating", "Rotating refresh tokens"),
                    ("rate_limited", "Rate-limited API"),
                    ("api_fails", "API that fails"),
                ],
                max_length=20,
            ),
        ),
    ]
