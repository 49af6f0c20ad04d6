"""A trip is written four times, and each time to all indexes, unless nothing changes that they look at and the new row
fits beside the old one. So: indexes of what most trips lack hold those alone that have it, none looks at the step, and
a page keeps room.
"""

import django.db.models.deletion
from django.conf import settings
from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models


def anew(name: str, field: str, condition: models.Q) -> list[migrations.operations.base.Operation]:
    """The index of this name, with another condition. Meanwhile its few queries take longer."""
    index = models.Index(fields=[field], name=name, condition=condition)
    return [
        RemoveIndexConcurrently(model_name="authorization", name=name),
        AddIndexConcurrently(model_name="authorization", index=index),
    ]


def where_known(field: str, *, name: str) -> AddIndexConcurrently:
    index = models.Index(fields=[field], name=name, condition=models.Q(**{f"{field}__isnull": False}))
    return AddIndexConcurrently(model_name="authorization", index=index)


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("credentials", "0007_keys_in_use"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        *anew("authorizations_unclaimed", "expires_at", models.Q(granted_at__isnull=False, code_taken_at__isnull=True)),
        *anew("authorizations_by_token", "access_fingerprint", models.Q(access_fingerprint__isnull=False)),
        *anew("authorizations_by_state", "client_state_fingerprint", models.Q(client_state_fingerprint__isnull=False)),
        where_known("credential", name="authorizations_of_credential"),
        where_known("started_by", name="authorizations_of_user"),
        migrations.AlterField(
            model_name="authorization",
            name="credential",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="authorizations",
                to="credentials.credential",
            ),
        ),
        migrations.AlterField(
            model_name="authorization",
            name="oauth_app",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="authorizations",
                to="oauth_apps.oauthapp",
            ),
        ),
        migrations.AlterField(
            model_name="authorization",
            name="started_by",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.RunSQL(
            "ALTER TABLE credentials_authorization SET (fillfactor = 60)",
            "ALTER TABLE credentials_authorization RESET (fillfactor)",
        ),
    ]
