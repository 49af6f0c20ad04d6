"""Below `/v1/`."""

from credentials.api import reads, views
from credentials.api.access_token import access_token
from credentials.api.reconnect import Reconnect
from credentials.api.start_auth import StartAuth
from sequin_auth.lib.api.paths import with_and_without_slash as both

ONE = "credentials/<canonical_uuid:credential_id>"

app_name = "credentials"
urlpatterns = [
    *both("credentials", views.CredentialList.as_view(), name="credentials"),
    *both("credentials/start-auth", StartAuth.as_view(), name="start-auth"),
    *both("credentials/export", views.CredentialExport.as_view(), name="credentials-export"),
    *both("credentials/import", views.CredentialImport.as_view(), name="credentials-import"),
    *both("events/reads", reads.ReadList.as_view(), name="reads"),
    *both(ONE, views.CredentialDetail.as_view(), name="credential"),
    *both(f"{ONE}/access-token", access_token, name="access-token"),
    *both(f"{ONE}/check", views.CredentialCheck.as_view(), name="credential-check"),
    *both(f"{ONE}/reconnect", Reconnect.as_view(), name="credential-reconnect"),
]
