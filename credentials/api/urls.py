"""Below `/v1/`."""

from credentials.api import views
from sequin_auth.lib.api.paths import with_and_without_slash as both

app_name = "credentials"
urlpatterns = [
    *both("credentials/start-auth", views.StartAuth.as_view(), name="start-auth"),
]
