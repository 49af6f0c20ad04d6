"""So that a start finds a key that is missing without reading every secret."""

from django.contrib.postgres.indexes import BrinIndex
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations

from sequin_auth.lib.encryption import KeyIdOf


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("credentials", "0006_lists_of_a_million")]

    operations = [
        AddIndexConcurrently(
            model_name="token", index=BrinIndex(KeyIdOf("access_token"), autosummarize=True, name="tokens_by_key")
        ),
        AddIndexConcurrently(
            model_name="token",
            index=BrinIndex(KeyIdOf("refresh_token"), autosummarize=True, name="tokens_by_refresh_key"),
        ),
        AddIndexConcurrently(
            model_name="credential", index=BrinIndex(KeyIdOf("secrets"), autosummarize=True, name="credentials_by_key")
        ),
    ]
