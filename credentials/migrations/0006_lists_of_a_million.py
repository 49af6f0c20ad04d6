"""Indexes for each filter of the list of credentials and for the purge, built while the product runs; those that they
make superfluous go.
"""

import django.contrib.postgres.indexes
import django.db.models.deletion
from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("credentials", "0005_syncs"),
        ("oauth_apps", "0003_audit_chains_limits_webhooks"),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="credential",
            index=models.Index(fields=["account", "provider", "-created_at", "-id"], name="credentials_by_provider"),
        ),
        AddIndexConcurrently(
            model_name="credential",
            index=models.Index(fields=["account", "kind", "-created_at", "-id"], name="credentials_by_kind"),
        ),
        AddIndexConcurrently(
            model_name="credential",
            index=models.Index(fields=["oauth_app", "-created_at", "-id"], name="credentials_by_oauth_app"),
        ),
        AddIndexConcurrently(
            model_name="credential",
            index=models.Index(
                condition=models.Q(("health_status", "ok"), _negated=True),
                fields=["account", "health_status", "-created_at", "-id"],
                name="credentials_by_health",
            ),
        ),
        AddIndexConcurrently(
            model_name="credential",
            index=django.contrib.postgres.indexes.GinIndex(
                fields=["metadata"], name="credentials_by_metadata", opclasses=["jsonb_path_ops"]
            ),
        ),
        AddIndexConcurrently(
            model_name="authorization",
            index=models.Index(
                condition=models.Q(("step", "granted")), fields=["expires_at"], name="authorizations_unclaimed"
            ),
        ),
        AddIndexConcurrently(
            model_name="startlink", index=models.Index(fields=["expires_at"], name="start_links_by_expiry")
        ),
        RemoveIndexConcurrently(model_name="credential", name="credentials_unwell"),
        migrations.AlterField(
            model_name="credential",
            name="account",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="credentials",
                to="oauth_apps.account",
            ),
        ),
        migrations.AlterField(
            model_name="credential",
            name="oauth_app",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.RESTRICT,
                related_name="credentials",
                to="oauth_apps.oauthapp",
            ),
        ),
    ]
